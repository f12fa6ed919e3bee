//! `Einsum`: operands are contracted in pairs, each pair as one product of matrices.

use candle_core::Tensor;

use super::linear::product;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::value::Value;

/// A tensor with a letter for each dimension, each once.
struct Labelled {
    tensor: Tensor,
    letters: Vec<char>,
}

/// An equation: the letters of each operand and of the result. The dimensions of an ellipsis have Greek letters.
struct Equation {
    terms: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Equation {
    fn read(text: &str, ranks: &[usize]) -> Result<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (terms, output) = match text.split_once("->") {
            Some((terms, output)) => (terms, Some(output)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = terms.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(operand(format!("the equation {text} for {} operands", ranks.len())));
        }
        let free = |(term, rank): (&&str, &usize)| {
            let rest = (rank + 3).checked_sub(term.chars().count());
            if term.contains("...") { rest } else { Some(0) }
        };
        let free: Vec<usize> = terms.iter().zip(ranks).map(free).collect::<Option<_>>().ok_or_else(|| {
            operand(format!("the equation {text} has more indices than its operands have dimensions"))
        })?;
        let most = free.iter().copied().max().unwrap_or(0);
        // An ellipsis of fewer dimensions has the last ones.
        let greek = |count: usize| ('\u{3b1}'..).take(most).skip(most - count).collect::<String>();
        let spelled = |(term, free): (&&str, &usize)| term.replace("...", &greek(*free)).chars().collect::<Vec<char>>();
        let terms: Vec<Vec<char>> = terms.iter().zip(&free).map(spelled).collect();
        let output: Vec<char> = match output {
            Some(output) => output.replace("...", &greek(most)).chars().collect(),
            None => greek(most).chars().chain(once(&terms)).collect(),
        };
        if let Some(wrong) = output.iter().find(|letter| !terms.iter().any(|term| term.contains(letter))) {
            return Err(operand(format!("the equation {text} has `{wrong}` in the result alone")));
        }
        Ok(Self { terms, output })
    }
}

/// The letters of the alphabet that stand once, in its order: the result of an equation without an arrow.
fn once(terms: &[Vec<char>]) -> impl Iterator<Item = char> {
    let all = terms.concat();
    let mut letters: Vec<char> = all.iter().copied().filter(char::is_ascii).collect();
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().filter(move |letter| all.iter().filter(|other| *other == letter).count() == 1)
}

/// `Einsum`.
pub(super) fn einsum(call: &Call) -> Result<Vec<Value>> {
    let operands: Vec<&Tensor> = call.inputs.iter().flatten().map(Value::float).collect::<Result<_>>()?;
    let ranks: Vec<usize> = operands.iter().map(|x| x.rank()).collect();
    let equation = Equation::read(call.node.text("equation", "")?, &ranks)?;
    let mut rest: Vec<Labelled> =
        operands.iter().zip(&equation.terms).map(|(x, term)| Labelled::new(x, term)).collect::<Result<_>>()?;
    without_broadcast(&mut rest)?;
    rest.reverse();
    let mut result = rest.pop().ok_or_else(|| operand("there is no operand"))?;
    while let Some(next) = rest.pop() {
        let is_needed = |letter: char| {
            equation.output.contains(&letter) || rest.iter().any(|other| other.letters.contains(&letter))
        };
        result = pair(result, next, &is_needed)?;
    }
    let result = result.summed(|letter| equation.output.contains(&letter))?;
    one(result.ordered(&equation.output)?)
}

impl Labelled {
    fn new(x: &Tensor, term: &[char]) -> Result<Self> {
        if term.len() != x.rank() {
            return Err(operand(format!("{} indices for {} dimensions", term.len(), x.rank())));
        }
        let mut own = Self { tensor: x.clone(), letters: term.to_vec() };
        while let Some((first, second)) = own.repeated() {
            own = own.diagonal(first, second)?;
        }
        Ok(own)
    }

    /// Two dimensions with the same letter.
    fn repeated(&self) -> Option<(usize, usize)> {
        let again = |first: usize| (first + 1..self.letters.len()).find(|at| self.letters[*at] == self.letters[first]);
        (0..self.letters.len()).find_map(|first| Some((first, again(first)?)))
    }

    fn diagonal(mut self, first: usize, second: usize) -> Result<Self> {
        let size = self.tensor.dim(first)?;
        if self.tensor.dim(second)? != size {
            return Err(operand(format!("`{}` has two sizes", self.letters[first])));
        }
        let mask: Vec<f64> = (0..size * size).map(|at| f64::from(at / size == at % size)).collect();
        let mut dims = vec![1; self.tensor.rank()];
        (dims[first], dims[second]) = (size, size);
        let mask = Tensor::from_vec(mask, dims, &candle_core::Device::Cpu)?;
        let mask = mask.to_dtype(self.tensor.dtype())?.to_device(self.tensor.device())?;
        self.tensor = self.tensor.broadcast_mul(&mask)?.contiguous()?.sum(second)?;
        self.letters.remove(second);
        Ok(self)
    }

    fn size(&self, letter: char) -> Option<usize> {
        self.letters.iter().position(|own| *own == letter).map(|at| self.tensor.dims()[at])
    }

    /// The sum over the letters that are not kept.
    fn summed(self, is_kept: impl Fn(char) -> bool) -> Result<Self> {
        let gone: Vec<usize> = (0..self.letters.len()).filter(|at| !is_kept(self.letters[*at])).collect();
        if gone.is_empty() {
            return Ok(self);
        }
        let letters = self.letters.iter().copied().filter(|letter| is_kept(*letter)).collect();
        Ok(Self { tensor: self.tensor.contiguous()?.sum(gone)?, letters })
    }

    /// The tensor with its dimensions in this order, with a dimension of size 1 for a letter that it does not have.
    fn ordered(&self, order: &[char]) -> Result<Tensor> {
        let at = |letter: &char| self.letters.iter().position(|own| own == letter);
        let present: Vec<usize> = order.iter().filter_map(at).collect();
        let dims: Vec<usize> = order.iter().map(|letter| self.size(*letter).unwrap_or(1)).collect();
        Ok(self.tensor.permute(present)?.contiguous()?.reshape(dims)?)
    }
}

/// Removes dimensions of size 1 that broadcast to those of another operand. Refuses other sizes that differ.
fn without_broadcast(operands: &mut [Labelled]) -> Result<()> {
    let mut sizes: Vec<(char, usize)> = Vec::new();
    for own in operands.iter() {
        for (letter, size) in own.letters.iter().zip(own.tensor.dims()) {
            match sizes.iter_mut().find(|(known, _)| known == letter) {
                None => sizes.push((*letter, *size)),
                Some((_, known)) if *known == *size || *size == 1 => {}
                Some((_, known)) if *known == 1 => *known = *size,
                Some((_, known)) => return Err(operand(format!("`{letter}` has the sizes {known} and {size}"))),
            }
        }
    }
    for own in operands {
        let broadcasts = |letter: char, size: usize| size == 1 && !sizes.contains(&(letter, 1));
        let gone: Vec<usize> =
            (0..own.letters.len()).filter(|at| broadcasts(own.letters[*at], own.tensor.dims()[*at])).collect();
        for at in gone.into_iter().rev() {
            own.tensor = own.tensor.squeeze(at)?;
            own.letters.remove(at);
        }
    }
    Ok(())
}

/// The product of two operands, summed over the letters that are not needed any more.
fn pair(a: Labelled, b: Labelled, is_needed: &dyn Fn(char) -> bool) -> Result<Labelled> {
    let (in_a, in_b) = (a.letters.clone(), b.letters.clone());
    let a = a.summed(|letter| is_needed(letter) || in_b.contains(&letter))?;
    let b = b.summed(|letter| is_needed(letter) || in_a.contains(&letter))?;
    let both = |needed: bool| -> Vec<char> {
        a.letters.iter().copied().filter(|letter| b.letters.contains(letter) && is_needed(*letter) == needed).collect()
    };
    let only = |own: &Labelled, other: &Labelled| -> Vec<char> {
        own.letters.iter().copied().filter(|letter| !other.letters.contains(letter)).collect()
    };
    let (batch, inner, left, right) = (both(true), both(false), only(&a, &b), only(&b, &a));
    let letters = [batch.as_slice(), &left, &right].concat();
    if inner.is_empty() {
        let tensor = a.ordered(&letters)?.broadcast_mul(&b.ordered(&letters)?)?;
        return Ok(Labelled { tensor, letters });
    }
    let count =
        |own: &Labelled, letters: &[char]| -> usize { letters.iter().filter_map(|letter| own.size(*letter)).product() };
    let matrix = |own: &Labelled, rows: &[char], columns: &[char]| -> Result<Tensor> {
        let x = own.ordered(&[batch.as_slice(), rows, columns].concat())?;
        let sizes = [count(own, rows), count(own, columns)];
        // Without a batch a constant operand is a matrix, which has a cheaper derivative.
        Ok(if batch.is_empty() { x.reshape(&sizes)? } else { x.reshape(&[count(own, &batch), sizes[0], sizes[1]])? })
    };
    let tensor = product(&matrix(&a, &left, &inner)?, &matrix(&b, &inner, &right)?)?;
    let size = |letter: &char| a.size(*letter).or_else(|| b.size(*letter)).unwrap_or(1);
    let dims: Vec<usize> = letters.iter().map(size).collect();
    Ok(Labelled { tensor: tensor.contiguous()?.reshape(dims)?, letters })
}
