//! Evaluates a graph that was exported with a fixed batch on batches of other sizes.
//!
//! Exporters write the batch size of the example into shapes: `Reshape` to `[1, 12, 197, 64]`, `Expand` to `[4, 1, 192]`, a
//! class token of four equal rows. The graph is first evaluated at the batch size of the file, B, and the shapes of all
//! inputs of nodes are recorded. At another batch size n, the dimension of an input that differs from its record is the
//! batch, and what the file states for B is stated for n.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::Tensor;

use crate::Result;
use crate::error::operand;
use crate::node::{Id, Node};
use crate::operators::ELEMENTWISE;
use crate::value::{Value, Whole, axis};

/// The shapes of all values at the batch size of the file.
#[derive(Debug)]
pub(crate) struct Reference {
    /// The batch size of the file.
    pub(crate) stated: usize,
    /// The batch size to evaluate.
    pub(crate) samples: usize,
    /// The shape of each value.
    pub(crate) shapes: HashMap<Id, Vec<usize>>,
    /// Small integer values.
    pub(crate) wholes: HashMap<Id, Whole>,
    /// The elements of the batch dimension that are outside the batch, where they are: 5 for [5, n] reshaped to [5·n].
    pub(crate) outer: RefCell<HashMap<Id, usize>>,
}

impl Reference {
    /// The inputs of a node, with the numbers that the file states for its own batch size replaced.
    pub(crate) fn adapted(&self, node: &Node, mut inputs: Vec<Option<Value>>) -> Result<Vec<Option<Value>>> {
        if node.op == "Reshape" {
            if let Some((target, outer)) = self.reshape(node, &inputs)? {
                inputs[1] = Some(Whole::list(target).into());
                self.set_outer(node, outer);
            }
            return Ok(inputs);
        }
        self.set_outer(node, node.inputs.iter().flatten().map(|id| self.outer_of(*id)).max().unwrap_or(1));
        match node.op.as_str() {
            "Gather" => {
                if let Some(indices) = self.gather(node, &inputs)? {
                    inputs[1] = Some(indices.into());
                }
            }
            "Expand" => {
                if let Some(target) = self.expand(node, &inputs) {
                    inputs[1] = Some(Whole::list(target).into());
                }
            }
            "Resize" => {
                if let Some(sizes) = self.sizes(node, &inputs) {
                    inputs[3] = Some(Whole::list(sizes).into());
                }
            }
            "GridSample" => self.repeat_along(&mut inputs, 1, 0)?,
            "LSTM" | "GRU" | "RNN" => {
                for at in [5, 6] {
                    self.repeat_along(&mut inputs, at, 1)?;
                }
            }
            "Concat" => {
                let rank = inputs.first().and_then(Option::as_ref).map_or(0, |value| value.dims().len());
                let along = axis(node.integer("axis", 0)?, rank)?;
                self.match_rows(node, &mut inputs, Some(along))?;
            }
            op if op == "MatMul" || ELEMENTWISE.contains(&op) => self.match_rows(node, &mut inputs, None)?,
            _ => {}
        }
        Ok(inputs)
    }

    fn outer_of(&self, id: Id) -> usize {
        self.outer.borrow().get(&id).copied().unwrap_or(1)
    }

    fn set_outer(&self, node: &Node, outer: usize) {
        if outer > 1 {
            self.outer.borrow_mut().extend(node.outputs.iter().flatten().map(|id| (*id, outer)));
        }
    }

    /// The indices of a `Gather` on a dimension that holds the batch and other elements, such as a flattened tensor: those of
    /// the first sample, repeated for each sample.
    fn gather(&self, node: &Node, inputs: &[Option<Value>]) -> Result<Option<Whole>> {
        let (Some(Some(x)), Some(Some(Value::Whole(indices))), Some(recorded)) =
            (inputs.first(), inputs.get(1), self.shape(node, 0))
        else {
            return Ok(None);
        };
        let axis = axis(node.integer("axis", 0)?, recorded.len())?;
        let inner = recorded[axis] / self.stated.max(1);
        if self.batch_axis(recorded, x.dims()) != Some(axis) || inner < 2 || indices.dims.first() != Some(&self.stated)
        {
            return Ok(None);
        }
        let first = indices.data.len() / self.stated.max(1);
        let own = |at: usize| at / first.max(1) * inner..(at / first.max(1) + 1) * inner;
        let fits = |(at, index): (usize, &i64)| usize::try_from(*index).is_ok_and(|index| own(at).contains(&index));
        if node.inputs.first().copied().flatten().map_or(1, |id| self.outer_of(id)) > 1
            || !indices.data.iter().enumerate().all(fits)
        {
            return Err(operand("indices into the file's batch; export the graph with a dynamic batch"));
        }
        let mut dims = indices.dims.clone();
        dims[0] = self.samples;
        let row = &indices.data[..first];
        let data =
            (0..self.samples as i64).flat_map(|at| row.iter().map(move |index| index + at * inner as i64)).collect();
        Ok(Some(Whole::new(indices.kind, dims, data)))
    }

    /// The recorded shape of an input.
    fn shape(&self, node: &Node, at: usize) -> Option<&Vec<usize>> {
        self.shapes.get(node.inputs.get(at)?.as_ref()?)
    }

    /// The dimension of an input that is the batch, if it has one.
    fn batch_axis(&self, recorded: &[usize], actual: &[usize]) -> Option<usize> {
        if recorded.len() != actual.len() {
            return None;
        }
        let at = recorded.iter().zip(actual).position(|(recorded, actual)| recorded != actual)?;
        (recorded[at] * self.samples == actual[at] * self.stated).then_some(at)
    }

    /// The target of a reshape at this batch size, where the file's target has the file's batch size.
    ///
    /// The batch is a block of the row-major order: P elements before it, S after it. In the target it belongs to the
    /// dimension at which the product of the dimensions before divides P and that of the dimensions after divides S. The second
    /// number is how many of the elements before the batch are in its dimension.
    fn reshape(&self, node: &Node, inputs: &[Option<Value>]) -> Result<Option<(Vec<i64>, usize)>> {
        let (Some(Some(x)), Some(Some(target)), Some(recorded)) = (inputs.first(), inputs.get(1), self.shape(node, 0))
        else {
            return Ok(None);
        };
        let Some(at) = self.batch_axis(recorded, x.dims()) else { return Ok(None) };
        let target_id = node.inputs.get(1).copied().flatten();
        let stated = match target_id.and_then(|id| self.wholes.get(&id)) {
            Some(stated) => stated.data.to_vec(),
            None => target.whole()?.data.to_vec(),
        };
        // A target that was computed from the actual batch needs no change.
        if target.whole()?.data[..] != stated[..] {
            return Ok(None);
        }
        let keeps_zero = !node.flag("allowzero", false)?;
        let Some(output) = resolve(&stated, recorded, keeps_zero) else { return Ok(None) };
        let outer = node.inputs.first().copied().flatten().map_or(1, |id| self.outer_of(id));
        let before: usize = recorded[..at].iter().product::<usize>() * outer;
        let after: usize = recorded[at + 1..].iter().product();
        let inner = recorded[at] / (self.stated.max(1) * outer);
        let Some((chosen, outer)) = place_of(&output, self.stated, before, inner * after) else {
            return Err(operand(format!(
                "the target {stated:?} does not say where the batch of {} samples goes; export the graph with a dynamic batch",
                self.stated
            )));
        };
        let mut freed: Vec<i64> = output.iter().map(|size| *size as i64).collect();
        freed[chosen] = (output[chosen] / self.stated.max(1) * self.samples) as i64;
        Ok(Some((freed, outer)))
    }

    /// The target of an expansion: where the input has the batch, the output has it too.
    fn expand(&self, node: &Node, inputs: &[Option<Value>]) -> Option<Vec<i64>> {
        let (Some(Some(x)), Some(Some(target))) = (inputs.first(), inputs.get(1)) else { return None };
        let at = self.batch_axis(self.shape(node, 0)?, x.dims())?;
        let mut target = target.whole().ok()?.data.to_vec();
        let own = (at + target.len()).checked_sub(x.dims().len())?;
        *target.get_mut(own)? = x.dims()[at] as i64;
        Some(target)
    }

    /// The sizes of a `Resize`, with the actual batch.
    fn sizes(&self, node: &Node, inputs: &[Option<Value>]) -> Option<Vec<i64>> {
        let (Some(Some(x)), Some(Some(sizes))) = (inputs.first(), inputs.get(3)) else { return None };
        let recorded = self.shape(node, 0)?;
        let at = self.batch_axis(recorded, x.dims())?;
        let mut sizes = sizes.whole().ok()?.data.to_vec();
        let size = sizes.get_mut(at)?;
        if *size != recorded[at] as i64 {
            return None;
        }
        *size = x.dims()[at] as i64;
        Some(sizes)
    }

    /// Repeats the rows of operands that have the file's batch size where another operand has the actual one.
    fn match_rows(&self, node: &Node, inputs: &mut [Option<Value>], except: Option<usize>) -> Result<()> {
        // The batch, as a dimension counted from the end.
        let found = inputs.iter().enumerate().find_map(|(at, input)| {
            let dims = input.as_ref()?.dims();
            let axis = self.batch_axis(self.shape(node, at)?, dims)?;
            Some((dims.len() - axis, dims[axis], self.shape(node, at)?[axis]))
        });
        let Some((from_end, actual, stated)) = found else { return Ok(()) };
        for at in 0..inputs.len() {
            let Some(value) = &inputs[at] else { continue };
            let Some(axis) = value.dims().len().checked_sub(from_end) else { continue };
            let constant = self.shape(node, at).is_some_and(|recorded| recorded == value.dims());
            let broadcasts = except.is_none() && stated == 1;
            if constant && !broadcasts && Some(axis) != except && value.dims()[axis] == stated && stated != actual {
                self.repeat(inputs, at, axis, actual)?;
            }
        }
        Ok(())
    }

    /// Repeats the rows of an operand whose size along `axis` is the file's batch size.
    fn repeat_along(&self, inputs: &mut [Option<Value>], at: usize, axis: usize) -> Result<()> {
        let size = inputs.get(at).and_then(Option::as_ref).and_then(|value| value.dims().get(axis).copied());
        match size {
            Some(size) if size == self.stated && size != self.samples => self.repeat(inputs, at, axis, self.samples),
            _ => Ok(()),
        }
    }

    /// Replaces an operand of equal rows along `axis` by `rows` such rows.
    fn repeat(&self, inputs: &mut [Option<Value>], at: usize, axis: usize, rows: usize) -> Result<()> {
        let Some(Some(Value::Float(tensor))) = inputs.get(at) else {
            return Err(operand("integers with the file's batch size; export the graph with a dynamic batch"));
        };
        let first = tensor.narrow(axis, 0, 1)?;
        let difference = tensor.broadcast_sub(&first)?.abs()?.sum_all()?.to_dtype(candle_core::DType::F64)?;
        if difference.to_scalar::<f64>()? != 0.0 {
            return Err(operand(format!(
                "a constant of shape {:?} has other values for each of the file's {} samples; export the graph with a dynamic batch",
                tensor.dims(),
                self.stated
            )));
        }
        let mut dims = tensor.dims().to_vec();
        dims[axis] = rows;
        let repeated: Tensor = first.broadcast_as(dims)?.contiguous()?;
        inputs[at] = Some(repeated.into());
        Ok(())
    }
}

/// The shape that a reshape of `from` to `target` gives; `None` if it does not fit.
fn resolve(target: &[i64], from: &[usize], keeps_zero: bool) -> Option<Vec<usize>> {
    let count: usize = from.iter().product();
    let mut output = Vec::with_capacity(target.len());
    for (at, size) in target.iter().enumerate() {
        output.push(match *size {
            0 if keeps_zero => *from.get(at)?,
            -1 => 0,
            size => usize::try_from(size).ok()?,
        });
    }
    if let Some(free) = target.iter().position(|size| *size == -1) {
        output[free] = 1;
        let known: usize = output.iter().product();
        output[free] = count.checked_div(known)?;
    }
    (output.iter().product::<usize>() == count).then_some(output)
}

/// The dimension of `output` that holds the batch: `stated` samples with `before` elements before and `after` behind it; and
/// how many of the elements before it are in that dimension.
///
/// Several dimensions can qualify, as sizes of 1 do where the file has one sample. The first of these rules decides: a dimension
/// of the batch alone; the batch outside other elements, but not those of the last dimension, which are features; the batch
/// inside others; the first.
pub(crate) fn place_of(output: &[usize], stated: usize, before: usize, after: usize) -> Option<(usize, usize)> {
    let fits = |at: usize| -> Option<(usize, usize, usize)> {
        let (prefix, suffix) = (output[..at].iter().product::<usize>(), output[at + 1..].iter().product::<usize>());
        let divides = prefix > 0 && suffix > 0 && before.is_multiple_of(prefix) && after.is_multiple_of(suffix);
        let (outer, inner) = if divides { (before / prefix, after / suffix) } else { return None };
        (stated > 0 && output[at] == outer * stated * inner).then_some((at, outer, inner))
    };
    let candidates: Vec<(usize, usize, usize)> = (0..output.len()).filter_map(fits).collect();
    let last = output.len().saturating_sub(1);
    let alone = candidates.iter().find(|(_, outer, inner)| *outer == 1 && *inner == 1);
    let outside = candidates.iter().find(|(at, outer, _)| *outer == 1 && *at != last);
    let inside = candidates.iter().find(|(.., inner)| *inner == 1);
    alone.or(outside).or(inside).or(candidates.first()).map(|(at, outer, _)| (*at, *outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_of_a_reshape_is_found_by_its_place_in_row_major_order() {
        // [2, 6] to [2, 3, 2]: the first dimension.
        assert_eq!(place_of(&[2, 3, 2], 2, 1, 6), Some((0, 1)));
        // Windows of 4 per sample: [2·4, 9] has the batch outside.
        assert_eq!(place_of(&[8, 9], 2, 1, 36), Some((0, 1)));
        // And back.
        assert_eq!(place_of(&[2, 2, 2, 9], 2, 1, 36), Some((0, 1)));
        // [3, n, 5] to [3, n, 5, 1]: the second.
        assert_eq!(place_of(&[3, 2, 5, 1], 2, 3, 5), Some((1, 1)));
        // One sample: of several dimensions of size 1 the first.
        assert_eq!(place_of(&[1, 1, 64], 1, 1, 64), Some((0, 1)));
        // [5, n, 8] to [5·n, 8] keeps the features, and back.
        assert_eq!(place_of(&[5, 8], 1, 5, 8), Some((0, 5)));
        assert_eq!(place_of(&[5, 1, 8], 1, 5, 8), Some((1, 1)));
        // [5, n, 8] to [5, n·2, 4] folds the heads into the batch.
        assert_eq!(place_of(&[5, 2, 4], 1, 5, 8), Some((1, 1)));
        // The batch is mixed with what follows it.
        assert_eq!(place_of(&[3, 4], 2, 1, 6), None);
    }

    #[test]
    fn targets_with_free_and_kept_dimensions() {
        assert_eq!(resolve(&[0, -1], &[2, 3, 4], true), Some(vec![2, 12]));
        assert_eq!(resolve(&[4, 6], &[2, 3, 4], true), Some(vec![4, 6]));
        assert_eq!(resolve(&[5, -1], &[2, 3, 4], true), None);
    }
}
