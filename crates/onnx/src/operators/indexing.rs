//! Elements at positions: slices, gathers, splits, sorting.

use candle_core::Tensor;

use super::{Call, one, sizes};
use crate::Result;
use crate::error::operand;
use crate::message::Kind;
use crate::node::Node;
use crate::value::{Value, Whole, axis, checked_count};

/// The elements at these indices of one dimension.
pub(super) fn select(x: &Value, axis: usize, indices: &[usize]) -> Result<Value> {
    let size = x.dims()[axis];
    if let Some(wrong) = indices.iter().find(|index| **index >= size) {
        return Err(operand(format!("index {wrong} of a dimension of size {size}")));
    }
    match x {
        Value::Float(tensor) => {
            if indices.is_empty() {
                let mut dims = tensor.dims().to_vec();
                dims[axis] = 0;
                return Ok(Tensor::zeros(dims, tensor.dtype(), tensor.device())?.into());
            }
            let consecutive = indices.windows(2).all(|pair| pair[1] == pair[0] + 1);
            if consecutive {
                return Ok(tensor.narrow(axis, indices[0], indices.len())?.into());
            }
            Ok(tensor.contiguous()?.index_select(&positions_tensor(indices, tensor)?, axis)?.into())
        }
        Value::Whole(whole) => {
            let outer: usize = whole.dims[..axis].iter().product();
            let inner: usize = whole.dims[axis + 1..].iter().product();
            let mut dims = whole.dims.clone();
            dims[axis] = indices.len();
            let mut data = Vec::with_capacity(checked_count(&dims)?);
            for row in 0..outer {
                for index in indices {
                    let start = (row * size + index) * inner;
                    data.extend_from_slice(&whole.data[start..start + inner]);
                }
            }
            Ok(Whole::new(whole.kind, dims, data).into())
        }
    }
}

fn positions_tensor(positions: &[usize], like: &Tensor) -> Result<Tensor> {
    let positions: Vec<i64> = positions.iter().map(|at| *at as i64).collect();
    let count = positions.len();
    Ok(Tensor::from_vec(positions, count, &candle_core::Device::Cpu)?.to_device(like.device())?)
}

/// The elements at these positions in row-major order, in the shape `dims`.
pub(super) fn take(x: &Value, positions: &[usize], dims: Vec<usize>) -> Result<Value> {
    match x {
        Value::Float(tensor) => {
            if positions.is_empty() {
                return Ok(Tensor::zeros(dims, tensor.dtype(), tensor.device())?.into());
            }
            let flat = tensor.flatten_all()?.contiguous()?;
            Ok(flat.index_select(&positions_tensor(positions, tensor)?, 0)?.reshape(dims)?.into())
        }
        Value::Whole(whole) => {
            let number = |at: &usize| whole.data.get(*at).copied().ok_or_else(|| operand(format!("position {at}")));
            Ok(Whole::new(whole.kind, dims, positions.iter().map(number).collect::<Result<_>>()?).into())
        }
    }
}

/// An index, counted from the end where it is negative.
fn index(value: i64, size: usize) -> Result<usize> {
    let from_start = if value < 0 { value.saturating_add(size as i64) } else { value };
    usize::try_from(from_start)
        .ok()
        .filter(|index| *index < size)
        .ok_or_else(|| operand(format!("index {value} of a dimension of size {size}")))
}

pub(super) fn gather(call: &Call) -> Result<Vec<Value>> {
    let (x, at) = (call.at(0)?, call.at(1)?.whole()?);
    let axis = call.axis(0, x.dims().len())?;
    let indices: Vec<usize> = at.data.iter().map(|at| index(*at, x.dims()[axis])).collect::<Result<_>>()?;
    let mut dims = x.dims()[..axis].to_vec();
    dims.extend(&at.dims);
    dims.extend(&x.dims()[axis + 1..]);
    one(select(x, axis, &indices)?.reshaped(dims)?)
}

/// The multi-index of each element of a shape, in row-major order.
fn multi_indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count: usize = dims.iter().product();
    (0..count).map(move |at| {
        let mut rest = at;
        let mut index = vec![0; dims.len()];
        for (own, size) in index.iter_mut().zip(dims).rev() {
            *own = rest % size;
            rest /= size;
        }
        index
    })
}

fn position(index: &[usize], dims: &[usize]) -> usize {
    index.iter().zip(dims).fold(0, |position, (index, size)| position * size + index)
}

/// The position in `x` of each element of `at`, whose numbers replace the index of `axis`.
pub(super) fn element_positions(at: &Whole, dims: &[usize], axis: usize) -> Result<Vec<usize>> {
    if at.dims.len() != dims.len() || (0..dims.len()).any(|k| k != axis && at.dims[k] > dims[k]) {
        return Err(operand(format!("indices of shape {:?} for a tensor of shape {dims:?}", at.dims)));
    }
    let positions = multi_indices(&at.dims).zip(at.data.iter()).map(|(mut own, value)| {
        own[axis] = index(*value, dims[axis])?;
        Ok(position(&own, dims))
    });
    positions.collect()
}

pub(super) fn gather_elements(call: &Call) -> Result<Vec<Value>> {
    let (x, at) = (call.at(0)?, call.at(1)?.whole()?);
    let axis = call.axis(0, x.dims().len())?;
    one(take(x, &element_positions(at, x.dims(), axis)?, at.dims.clone())?)
}

/// The first positions of the blocks that `GatherND` and `ScatterND` index, and the shape of a block.
pub(super) fn blocks(at: &Whole, dims: &[usize], batch: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let Some((&depth, outer)) = at.dims.split_last() else { return Err(operand("indices without dimensions")) };
    if batch + depth > dims.len() || batch > outer.len() || at.dims[..batch] != dims[..batch] {
        return Err(operand(format!("indices of shape {:?} for a tensor of shape {dims:?}", at.dims)));
    }
    let block = dims[batch + depth..].to_vec();
    let size: usize = block.iter().product();
    let mut positions = Vec::new();
    for (row, own) in multi_indices(outer).enumerate() {
        let mut full = own[..batch].to_vec();
        for k in 0..depth {
            full.push(index(at.data[row * depth + k], dims[batch + k])?);
        }
        positions.push(position(&full, &dims[..batch + depth]) * size);
    }
    Ok((positions, block))
}

pub(super) fn gather_nd(call: &Call) -> Result<Vec<Value>> {
    let (x, at) = (call.at(0)?, call.at(1)?.whole()?);
    let batch = usize::try_from(call.node.integer("batch_dims", 0)?).map_err(|_| operand("batch_dims is negative"))?;
    let (starts, block) = blocks(at, x.dims(), batch)?;
    let size: usize = block.iter().product();
    let mut dims = at.dims[..at.dims.len() - 1].to_vec();
    dims.extend(&block);
    checked_count(&dims)?;
    let positions: Vec<usize> = starts.into_iter().flat_map(|start| start..start + size).collect();
    one(take(x, &positions, dims)?)
}

/// `Slice`, with attributes up to operator set 9, then with inputs.
pub(super) fn slice(call: &Call) -> Result<Vec<Value>> {
    let mut x = call.at(0)?.clone();
    let rank = x.dims().len();
    let missing = || operand("the starts or ends are missing");
    let starts = call.list_or_attribute("starts", 1)?.ok_or_else(missing)?;
    let ends = call.list_or_attribute("ends", 2)?.ok_or_else(missing)?;
    let axes = call.list_or_attribute("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.optional(4).map(Value::whole).transpose()?.map(|steps| steps.data.to_vec());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(operand("starts, ends, axes and steps have different lengths"));
    }
    for (at, (start, end)) in starts.iter().zip(&ends).enumerate() {
        let axis = axis(axes[at], rank)?;
        let (size, step) = (x.dims()[axis] as i64, steps[at]);
        let counted = |value: i64| if value < 0 { value.saturating_add(size) } else { value };
        let indices: Vec<usize> = match step {
            0 => return Err(operand("a step of 0")),
            1.. => {
                let (start, end) = (counted(*start).clamp(0, size), counted(*end).clamp(0, size));
                (start..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(|at| at as usize).collect()
            }
            _ => {
                let (start, end) = (counted(*start).clamp(-1, size - 1), counted(*end).clamp(-1, size - 1));
                let by = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
                (end + 1..=start).rev().step_by(by).map(|at| at as usize).collect()
            }
        };
        let whole_dimension = indices.len() as i64 == size && step == 1;
        if !whole_dimension {
            x = select(&x, axis, &indices)?;
        }
    }
    one(x)
}

pub(super) fn split(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let axis = call.axis(0, x.dims().len())?;
    let size = x.dims()[axis];
    let parts = match call.list_or_attribute("split", 1)? {
        Some(parts) => sizes(&parts)?,
        None => {
            let count = call.node.integer("num_outputs", call.node.outputs.len() as i64)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| operand("no outputs"))?;
            let part = size.div_ceil(count);
            (0..count).map(|at| part.min(size.saturating_sub(at * part))).collect()
        }
    };
    if parts.iter().sum::<usize>() != size {
        return Err(operand(format!("the parts {parts:?} of a dimension of size {size}")));
    }
    let mut start = 0;
    let mut outputs = Vec::new();
    for part in parts {
        let indices: Vec<usize> = (start..start + part).collect();
        outputs.push(select(x, axis, &indices)?);
        start += part;
    }
    Ok(outputs)
}

/// The order of the elements of each line along a dimension.
struct Lines {
    inner: usize,
    size: usize,
    numbers: Vec<f64>,
}

impl Lines {
    fn of(x: &Value, axis: usize) -> Result<Self> {
        Ok(Self { inner: x.dims()[axis + 1..].iter().product(), size: x.dims()[axis], numbers: x.numbers()? })
    }

    /// The position of element `at` of the line that starts at `start`.
    fn position(&self, start: usize, at: usize) -> usize {
        start + at * self.inner
    }

    /// The positions at which lines start.
    fn starts(&self) -> Vec<usize> {
        let outer = self.numbers.len() / (self.size * self.inner).max(1);
        (0..outer).flat_map(|row| (0..self.inner).map(move |column| row * self.size * self.inner + column)).collect()
    }
}

/// The positions of the largest elements (or smallest) along a dimension, the first of equal ones.
pub(super) fn extreme_positions(x: &Value, axis: usize, largest: bool, last: bool) -> Result<Vec<(usize, usize)>> {
    let lines = Lines::of(x, axis)?;
    if lines.size == 0 {
        return Err(operand("a dimension of size 0"));
    }
    let best = |start: usize| {
        let mut best = 0;
        for at in 1..lines.size {
            let (new, old) = (lines.numbers[lines.position(start, at)], lines.numbers[lines.position(start, best)]);
            let better = if largest { new > old } else { new < old };
            // NaN is an extreme, as in PyTorch.
            if better || (last && new == old) || (new.is_nan() && !old.is_nan()) {
                best = at;
            }
        }
        (lines.position(start, best), best)
    };
    Ok(lines.starts().into_iter().map(best).collect())
}

/// `ArgMax` and `ArgMin`.
pub(super) fn arg_extreme(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let axis = call.axis(0, x.dims().len())?;
    let last = call.node.flag("select_last_index", false)?;
    let found = extreme_positions(x, axis, call.node.op == "ArgMax", last)?;
    let mut dims = x.dims().to_vec();
    if call.node.flag("keepdims", true)? {
        dims[axis] = 1;
    } else {
        dims.remove(axis);
    }
    one(Whole::new(Kind::I64, dims, found.into_iter().map(|(_, index)| index as i64).collect()))
}

/// `TopK`: values and indices.
pub(super) fn top_k(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let axis = call.axis(-1, x.dims().len())?;
    let count = match call.optional(1) {
        Some(value) => value.whole()?.data.first().copied().unwrap_or(0),
        None => call.node.integer("k", 0)?,
    };
    let largest = call.node.flag("largest", true)?;
    let lines = Lines::of(x, axis)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= lines.size);
    let count = count.ok_or_else(|| operand(format!("more elements than the dimension's {}", lines.size)))?;
    let mut dims = x.dims().to_vec();
    dims[axis] = count;
    let total = checked_count(&dims)?;
    let (mut positions, mut indices) = (vec![0; total], vec![0i64; total]);
    for (line, start) in lines.starts().into_iter().enumerate() {
        let number = |at: &usize| lines.numbers[lines.position(start, *at)];
        let mut order: Vec<usize> = (0..lines.size).collect();
        order.sort_by(|a, b| {
            let order = number(a).total_cmp(&number(b));
            if largest { order.reverse().then(a.cmp(b)) } else { order.then(a.cmp(b)) }
        });
        let (row, column) = (line / lines.inner, line % lines.inner);
        for (rank, at) in order.into_iter().take(count).enumerate() {
            let to = (row * count + rank) * lines.inner + column;
            positions[to] = lines.position(start, at);
            indices[to] = at as i64;
        }
    }
    Ok(vec![take(x, &positions, dims.clone())?, Whole::new(Kind::I64, dims, indices).into()])
}

pub(super) fn refuses_unsorted(node: &Node) -> Option<String> {
    (!node.flag("sorted", true).ok()?).then(|| "sorted = 0".to_owned())
}

/// `Compress`: the elements where a condition holds.
pub(super) fn compress(call: &Call) -> Result<Vec<Value>> {
    let (x, condition) = (call.at(0)?, call.at(1)?.whole()?);
    let held: Vec<usize> = (0..condition.data.len()).filter(|at| condition.data[*at] != 0).collect();
    if call.node.attribute("axis").is_none() {
        return one(take(x, &held, vec![held.len()])?);
    }
    one(select(x, call.axis(0, x.dims().len())?, &held)?)
}

/// `NonZero`: the indices of the elements that are not 0.
pub(super) fn non_zero(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let numbers = x.numbers()?;
    let found: Vec<Vec<usize>> =
        multi_indices(x.dims()).zip(numbers).filter(|(_, number)| *number != 0.0).map(|(index, _)| index).collect();
    let rank = x.dims().len();
    let data = (0..rank).flat_map(|axis| found.iter().map(move |index| index[axis] as i64)).collect();
    one(Whole::new(Kind::I64, vec![rank, found.len()], data))
}

/// `ReverseSequence`: the first elements of each sequence in reverse order.
pub(super) fn reverse_sequence(call: &Call) -> Result<Vec<Value>> {
    let (x, lengths) = (call.at(0)?, call.list(1)?);
    let rank = x.dims().len();
    let (time, batch) =
        (axis(call.node.integer("time_axis", 0)?, rank)?, axis(call.node.integer("batch_axis", 1)?, rank)?);
    let mut positions = Vec::with_capacity(x.count());
    for mut own in multi_indices(x.dims()) {
        let length = lengths.get(own[batch]).copied().unwrap_or(0);
        let length = usize::try_from(length).ok().filter(|length| *length <= x.dims()[time]);
        let length = length.ok_or_else(|| operand(format!("sequence lengths {lengths:?}")))?;
        if own[time] < length {
            own[time] = length - 1 - own[time];
        }
        positions.push(position(&own, x.dims()));
    }
    one(take(x, &positions, x.dims().to_vec())?)
}
