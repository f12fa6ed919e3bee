//! Matrix products.

use candle_core::Tensor;

use super::arithmetic::{add, broadcast_dims};
use super::differentiable::with_rule;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::value::{Value, Whole};

/// `[…, k]` times a constant matrix `[k, m]`. Only the derivative by `x` is computed.
pub(super) fn by_constant(x: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (&[k, m], Some(&last)) = (matrix.dims(), x.dims().last()) else {
        return Err(operand("expected a matrix"));
    };
    if last != k {
        return Err(operand(format!("{:?} times {:?}", x.dims(), matrix.dims())));
    }
    let rows = x.elem_count() / k.max(1);
    let matrix = matrix.detach();
    let product = x.detach().contiguous()?.reshape((rows, k))?.matmul(&matrix)?;
    let mut dims = x.dims().to_vec();
    let inner = dims.clone();
    if let Some(last) = dims.last_mut() {
        *last = m;
    }
    with_rule(x, product.reshape(dims)?, move |g| {
        g.contiguous()?.reshape((rows, m))?.matmul(&matrix.t()?)?.reshape(inner.as_slice())
    })
}

/// The product of the last two dimensions; the others broadcast, and vectors get a dimension as in NumPy.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(operand("a matrix product of a number"));
    }
    let (left, right) = (a.rank() == 1, b.rank() == 1);
    let a = if left { a.unsqueeze(0)? } else { a.clone() };
    let b = if right { b.unsqueeze(1)? } else { b.clone() };
    let mut y = if b.rank() == 2 && !b.track_op() {
        by_constant(&a, &b)?
    } else {
        let batch = broadcast_dims(&[&a.dims()[..a.rank() - 2], &b.dims()[..b.rank() - 2]])?;
        let full = |x: &Tensor| -> Result<Tensor> {
            let mut dims = batch.clone();
            dims.extend(&x.dims()[x.rank() - 2..]);
            if dims == x.dims() { Ok(x.contiguous()?) } else { Ok(x.broadcast_as(dims)?.contiguous()?) }
        };
        let (a, b) = (full(&a)?, full(&b)?);
        match (a.track_op(), b.track_op()) {
            (true, false) => {
                let constant = b.detach();
                with_rule(&a, a.detach().matmul(&constant)?, move |g| {
                    g.contiguous()?.matmul(&constant.transpose(constant.rank() - 2, constant.rank() - 1)?)
                })?
            }
            (false, true) => {
                let constant = a.detach();
                with_rule(&b, constant.matmul(&b.detach())?, move |g| {
                    constant.transpose(constant.rank() - 2, constant.rank() - 1)?.matmul(&g.contiguous()?)
                })?
            }
            _ => a.matmul(&b)?,
        }
    };
    if left {
        y = y.squeeze(y.rank() - 2)?;
    }
    if right {
        y = y.squeeze(y.rank() - 1)?;
    }
    Ok(y)
}

pub(super) fn mat_mul(call: &Call) -> Result<Vec<Value>> {
    match (call.at(0)?, call.at(1)?) {
        (Value::Float(a), Value::Float(b)) => one(product(a, b)?),
        (Value::Whole(a), Value::Whole(b)) => {
            // Integers are small: through floats of 53 bits.
            let to = |whole: &Whole| whole.to_tensor(candle_core::DType::F64, &candle_core::Device::Cpu);
            let y = product(&to(a)?, &to(b)?)?;
            let data = Value::from(y.clone()).numbers()?.into_iter().map(|value| value as i64).collect();
            one(Whole::new(a.kind, y.dims().to_vec(), data))
        }
        _ => Err(operand("one operand has floats and the other integers")),
    }
}

/// `Gemm`: α·A·B + β·C.
pub(super) fn gemm(call: &Call) -> Result<Vec<Value>> {
    let oriented = |x: &Tensor, name: &str| -> Result<Tensor> {
        if x.rank() != 2 {
            return Err(operand("expected matrices"));
        }
        if call.node.flag(name, false)? { Ok(x.t()?) } else { Ok(x.clone()) }
    };
    let (a, b) = (oriented(call.float(0)?, "transA")?, oriented(call.float(1)?, "transB")?);
    let scaled = |x: Tensor, factor: f64| if factor == 1.0 { Ok(x) } else { x.affine(factor, 0.0) };
    let y = scaled(product(&a, &b)?, call.node.float("alpha", 1.0)?)?;
    match call.optional_float(2)? {
        None => one(y),
        Some(c) => one(add(&y, &scaled(c.clone(), call.node.float("beta", 1.0)?)?)?),
    }
}

/// `Einsum` of one to three operands: the operands are broadcast to all indices, multiplied and summed.
pub(super) fn einsum(call: &Call) -> Result<Vec<Value>> {
    let equation: String = call.node.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (terms, output) = match equation.split_once("->") {
        Some((terms, output)) => (terms.to_owned(), Some(output.to_owned())),
        None => (equation.clone(), None),
    };
    let operands: Vec<&Tensor> = call.inputs.iter().flatten().map(Value::float).collect::<Result<_>>()?;
    let terms: Vec<&str> = terms.split(',').collect();
    if terms.len() != operands.len() {
        return Err(operand(format!("the equation {equation} for {} operands", operands.len())));
    }
    // The dimensions of an ellipsis get Greek letters.
    let free = terms
        .iter()
        .zip(&operands)
        .filter(|(term, _)| term.contains("..."))
        .map(|(term, x)| x.rank() + 3 - term.len().min(x.rank() + 3))
        .max()
        .unwrap_or(0);
    let greek = |count: usize| ('\u{3b1}'..).take(free).skip(free.saturating_sub(count)).collect::<String>();
    let spelled = |term: &str, rank: usize| {
        let count = (rank + 3).saturating_sub(term.len()).min(free);
        term.replace("...", &greek(count))
    };
    let terms: Vec<Vec<char>> =
        terms.iter().zip(&operands).map(|(term, x)| spelled(term, x.rank()).chars().collect()).collect();
    let mut letters: Vec<char> = terms.concat();
    letters.sort_unstable();
    letters.dedup();
    let output: Vec<char> = match output {
        Some(output) => output.replace("...", &greek(free)).chars().collect(),
        None => {
            let once = |letter: &char| terms.concat().iter().filter(|other| *other == letter).count() == 1;
            let implied = letters.iter().copied().filter(|letter| !letter.is_ascii() || once(letter));
            greek(free).chars().chain(implied.filter(char::is_ascii)).collect()
        }
    };
    let order: Vec<char> =
        output.iter().copied().chain(letters.iter().copied().filter(|letter| !output.contains(letter))).collect();
    let mut result: Option<Tensor> = None;
    for (term, x) in terms.iter().zip(&operands) {
        let x = spread(x, term, &order)?;
        result = Some(match result {
            None => x,
            Some(known) => known.broadcast_mul(&x)?,
        });
    }
    let mut y = result.ok_or_else(|| operand("there is no operand"))?;
    let summed: Vec<usize> = (output.len()..order.len()).collect();
    if !summed.is_empty() {
        y = y.contiguous()?.sum(summed)?;
    }
    one(y)
}

/// The operand with one dimension for each letter of `order`, of size 1 where it does not have the letter.
fn spread(x: &Tensor, term: &[char], order: &[char]) -> Result<Tensor> {
    if term.len() != x.rank() {
        return Err(operand(format!("{} indices for {} dimensions", term.len(), x.rank())));
    }
    let (mut x, mut term) = (x.clone(), term.to_vec());
    // A letter twice is a diagonal.
    while let Some((first, second)) =
        (0..term.len()).find_map(|a| Some((a, (a + 1..term.len()).find(|b| term[*b] == term[a])?)))
    {
        let size = x.dim(first)?;
        let mask: Vec<f64> = (0..size * size).map(|at| f64::from(at / size == at % size)).collect();
        let mut dims = vec![1; x.rank()];
        (dims[first], dims[second]) = (size, size);
        let mask =
            Tensor::from_vec(mask, dims, &candle_core::Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?;
        x = x.broadcast_mul(&mask)?.contiguous()?.sum(second)?;
        term.remove(second);
    }
    let present: Vec<usize> = order.iter().filter_map(|letter| term.iter().position(|own| own == letter)).collect();
    let dims: Vec<usize> =
        order.iter().map(|letter| term.iter().position(|own| own == letter).map_or(1, |at| x.dims()[at])).collect();
    Ok(x.permute(present)?.contiguous()?.reshape(dims)?)
}
