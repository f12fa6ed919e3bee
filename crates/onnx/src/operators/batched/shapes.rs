//! Operators that move elements.

use candle_core::Tensor;

use crate::Result;
use crate::layout::{Back, Layout, from_image, to_image};
use crate::linearization::{Entry, Operand, Pass, Vjp};
use crate::node::{Id, Node};
use crate::value::{Value, axis};

/// `Reshape` and its relatives: the shape of the output is known.
pub(super) fn reshape(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some(operand), Some(target)) = (pass.rows(node, 0)?, pass.shape(output)) else { return Ok(None) };
    let Layout::Rows(rows) = operand.layout else { return Ok(None) };
    let Some(layout) = rows.reshaped(&operand.dims(), target, pass.samples) else { return Ok(None) };
    let y = operand.tensor.reshape(layout.stored(target, pass.samples))?;
    let (dims, back) = (operand.tensor.dims().to_vec(), operand.back);
    let is_relu = operand.is_relu;
    let vjp: Vjp = Box::new(move |g| {
        let shape: Vec<usize> = std::iter::once(g.dim(0)?).chain(dims.iter().skip(1).copied()).collect();
        Ok(vec![back.apply(g.reshape(shape)?)?])
    });
    pass.push(vec![operand.id], output, Entry { is_relu, ..Entry::new(y, Layout::Rows(layout)) }, vjp);
    Ok(Some(()))
}

pub(super) fn transpose(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    let rank = operand.dims().len();
    let permutation: Vec<usize> = match node.integers("perm")? {
        Some(given) => given.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    // Between [n, c, h, w] and [n, h, w, c] nothing moves.
    let relabelled = match (operand.layout, permutation.as_slice()) {
        (Layout::Image, [0, 2, 3, 1]) => Some(Layout::FIRST),
        (Layout::FIRST, [0, 3, 1, 2]) => Some(Layout::Image),
        _ => None,
    };
    if let Some(layout) = relabelled {
        let entry = Entry { layout, is_relu: operand.is_relu, tensor: operand.tensor };
        pass.push(vec![operand.id], output, entry, Box::new(|g| Ok(vec![g.clone()])));
        return Ok(Some(()));
    }
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let Layout::Rows(rows) = operand.layout else { return Ok(None) };
    let Some((layout, stored)) = rows.transposed(&permutation) else { return Ok(None) };
    let y = operand.tensor.permute(stored.as_slice())?.contiguous()?;
    let mut inverse = vec![0; stored.len()];
    stored.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
    let back = operand.back;
    let vjp: Vjp = Box::new(move |g| Ok(vec![back.apply(g.permute(inverse.as_slice())?.contiguous()?)?]));
    pass.push(vec![operand.id], output, Entry::new(y, Layout::Rows(layout)), vjp);
    Ok(Some(()))
}

/// A part of a stored dimension.
#[derive(Debug, Clone, Copy)]
struct Part {
    place: usize,
    start: usize,
    length: usize,
    /// The whole length of the dimension.
    size: usize,
}

impl Part {
    fn of(self, x: &Tensor) -> Result<Tensor> {
        Ok(x.narrow(self.place, self.start, self.length)?.contiguous()?)
    }

    /// The part with zeros around it.
    fn within(self, g: &Tensor) -> Result<Tensor> {
        let after = self.size - self.start - self.length;
        Ok(g.pad_with_zeros(self.place, self.start, after)?)
    }
}

/// The part of a dimension of the standard; none if it is that of the samples, or the part is not inside it.
fn part(operand: &Operand, axis: usize, start: usize, length: usize) -> Option<Part> {
    let Layout::Rows(rows) = operand.layout else { return None };
    let place = rows.place(axis)?;
    let size = *operand.tensor.dims().get(place)?;
    (length > 0 && start.checked_add(length)? <= size).then_some(Part { place, start, length, size })
}

/// One index of a dimension, or a list of indices in increasing order by 1.
pub(super) fn gather(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some(operand), Some(Value::Whole(indices))) = (pass.rows(node, 0)?, pass.known(node.inputs.get(1))) else {
        return Ok(None);
    };
    let (dims, Layout::Rows(rows)) = (operand.dims(), operand.layout) else { return Ok(None) };
    let axis = axis(node.integer("axis", 0)?, dims.len())?;
    // All elements of a flattened tensor in their order, as exporters write `as_strided`: a reshape.
    let is_whole = indices.data.iter().enumerate().all(|(at, index)| *index == at as i64)
        && pass.shape(output).map(|dims| dims.iter().product()) == Some(operand.tensor.elem_count());
    if is_whole && dims.len() == 1 {
        return reshape(node, output, pass);
    }
    let from_start = |index: &i64| usize::try_from(if *index < 0 { index + dims[axis] as i64 } else { *index }).ok();
    let Some(places) = indices.data.iter().map(from_start).collect::<Option<Vec<usize>>>() else { return Ok(None) };
    let in_order = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let (Some(first), true, true) = (places.first(), in_order, indices.dims.len() < 2) else { return Ok(None) };
    let Some(part) = part(&operand, axis, *first, places.len()) else { return Ok(None) };
    let (y, back, removed) = (part.of(&operand.tensor)?, operand.back, indices.dims.is_empty());
    let (y, layout) = if removed { (y.squeeze(part.place)?, rows.without(&[axis])) } else { (y, rows) };
    let vjp: Vjp = Box::new(move |g| {
        let g = if removed { g.unsqueeze(part.place)? } else { g.clone() };
        Ok(vec![back.apply(part.within(&g)?)?])
    });
    pass.push(vec![operand.id], output, Entry::new(y, Layout::Rows(layout)), vjp);
    Ok(Some(()))
}

/// A slice with steps of 1.
pub(super) fn slice(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let list = |name: &str, at: usize| -> Result<Option<Vec<i64>>> {
        match (node.integers(name)?, pass.known(node.inputs.get(at))) {
            (Some(list), _) => Ok(Some(list.to_vec())),
            (None, Some(value)) => Ok(Some(value.whole()?.data.to_vec())),
            (None, None) => Ok(None),
        }
    };
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else { return Ok(None) };
    let named = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    if ends.len() != starts.len()
        || named.len() != starts.len()
        || list("steps", 4)?.is_some_and(|steps| steps.iter().any(|step| *step != 1))
    {
        return Ok(None);
    }
    let dims = operand.dims();
    let mut parts = Vec::with_capacity(starts.len());
    for ((start, end), named) in starts.iter().zip(&ends).zip(&named) {
        let axis = axis(*named, dims.len())?;
        let size = dims[axis] as i64;
        let clamped = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size) as usize;
        let (start, end) = (clamped(*start), clamped(*end));
        if (start, end) == (0, dims[axis]) {
            continue;
        }
        let Some(part) = part(&operand, axis, start, end.saturating_sub(start)) else { return Ok(None) };
        parts.push(part);
    }
    let y = parts.iter().try_fold(operand.tensor.clone(), |y, part| part.of(&y))?;
    let back = operand.back;
    let vjp: Vjp = Box::new(move |g| {
        let whole = parts.iter().rev().try_fold(g.clone(), |g, part| part.within(&g))?;
        Ok(vec![back.apply(whole)?])
    });
    pass.push(vec![operand.id], output, Entry::new(y, operand.layout), vjp);
    Ok(Some(()))
}

pub(super) fn split(node: &Node, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let axis = axis(node.integer("axis", 0)?, operand.dims().len())?;
    let (mut start, mut parts, mut outputs) = (0, Vec::new(), Vec::new());
    for id in &node.outputs {
        // An output that is not used is not evaluated by name; its length is that of the others.
        let Some(length) = id.and_then(|id| pass.shape(id)).and_then(|dims| dims.get(axis).copied()) else {
            return Ok(None);
        };
        let Some(part) = part(&operand, axis, start, length) else { return Ok(None) };
        start += length;
        parts.push(part);
        outputs.extend(id.map(|id| (id, part)));
    }
    let entry = |(id, part): (Id, Part)| Ok((id, Entry::new(part.of(&operand.tensor)?, operand.layout)));
    let outputs = outputs.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
    let (dims, back) = (operand.tensor.dims().to_vec(), operand.back);
    let joined = move |given: Vec<Option<Tensor>>| -> Result<Tensor> {
        let Some((rows, dtype, device)) =
            given.iter().flatten().next().map(|g| (g.dims().first().copied(), g.dtype(), g.device().clone()))
        else {
            return Err(crate::error::operand("no output of the split is used"));
        };
        let full = |(g, part): (Option<Tensor>, &Part)| -> Result<Tensor> {
            let mut shape = dims.clone();
            (shape[0], shape[part.place]) = (rows.unwrap_or(0), part.length);
            match g {
                Some(g) => Ok(g),
                None => Ok(Tensor::zeros(shape, dtype, &device)?),
            }
        };
        let all = given.into_iter().zip(&parts).map(full).collect::<Result<Vec<_>>>()?;
        let place = parts.first().map_or(0, |part| part.place);
        back.apply(Tensor::cat(&all, place)?.contiguous()?)
    };
    pass.push_several(operand.id, outputs, Box::new(joined));
    Ok(Some(()))
}

/// An expansion that changes nothing.
pub(super) fn expand(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    if pass.shape(output) != Some(operand.dims().as_slice()) {
        return Ok(None);
    }
    super::arithmetic::unchanged(operand, output, pass);
    Ok(Some(()))
}

/// A constant of equal rows for as many samples as there are, as stored with this layout.
fn constant_rows(value: &Value, operand: &Operand, along: usize, samples: usize) -> Result<Option<Tensor>> {
    let (Value::Float(constant), Layout::Rows(rows)) = (value, operand.layout) else { return Ok(None) };
    let dims = operand.dims();
    if rows.outer > 1 || rows.inner > 1 || constant.rank() != dims.len() {
        return Ok(None);
    }
    let first = constant.narrow(rows.at, 0, 1)?;
    let difference = constant.broadcast_sub(&first)?.abs()?.sum_all()?.to_dtype(candle_core::DType::F64)?;
    let other_sizes = (0..dims.len()).any(|at| at != along && at != rows.at && constant.dims()[at] != dims[at]);
    if difference.to_scalar::<f64>()? != 0.0 || other_sizes {
        return Ok(None);
    }
    let mut shape = first.dims().to_vec();
    shape.remove(rows.at);
    shape.insert(0, samples);
    let mut one = shape.clone();
    one[0] = 1;
    Ok(Some(first.reshape(one)?.broadcast_as(shape)?.contiguous()?))
}

/// A part of a concatenation: a tensor that depends on the input, or a constant.
struct Joined {
    id: Option<Id>,
    tensor: Tensor,
    back: Back,
}

pub(super) fn concat(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let dependent: Vec<usize> = (0..node.inputs.len()).filter(|at| pass.operand(node, *at).is_some()).collect();
    let Some(first) = dependent.first().and_then(|at| pass.operand(node, *at)) else { return Ok(None) };
    let is_image = dependent.iter().all(|at| pass.operand(node, *at).is_some_and(|part| part.layout == Layout::Image));
    let as_image = is_image && dependent.len() == node.inputs.len();
    let along = axis(node.integer("axis", 0)?, first.dims().len())?;
    let Some(model) = dependent.first().map(|at| pass.rows(node, *at)).transpose()?.flatten() else { return Ok(None) };
    let layout = if as_image { Layout::Image } else { model.layout };
    let place = match layout {
        Layout::Image => [None, Some(3), Some(1), Some(2)].get(along).copied().flatten(),
        Layout::Rows(rows) => rows.place(along),
    };
    let Some(place) = place else { return Ok(None) };
    let (mut parts, mut is_relu) = (Vec::new(), as_image);
    for (at, id) in node.inputs.iter().enumerate() {
        let found = if as_image { pass.operand(node, at) } else { pass.rows(node, at)? };
        match (found, pass.known(Some(id))) {
            (Some(part), _) if part.layout == layout => {
                is_relu &= part.is_relu;
                parts.push(Joined { id: Some(part.id), tensor: part.tensor, back: part.back });
            }
            (None, Some(value)) => match constant_rows(&value, &model, along, pass.samples)? {
                Some(tensor) => parts.push(Joined { id: None, tensor, back: Back::Same }),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let tensors: Vec<&Tensor> = parts.iter().map(|part| &part.tensor).collect();
    let y = Tensor::cat(&tensors, place)?.contiguous()?;
    let (mut start, mut pieces) = (0, Vec::new());
    for part in &parts {
        let length = part.tensor.dim(place)?;
        if part.id.is_some() {
            pieces.push((start, length, part.back));
        }
        start += length;
    }
    let vjp: Vjp = Box::new(move |g| {
        let piece =
            |(start, length, back): &(usize, usize, Back)| back.apply(g.narrow(place, *start, *length)?.contiguous()?);
        pieces.iter().map(piece).collect()
    });
    let ids = parts.iter().filter_map(|part| part.id).collect();
    pass.push(ids, output, Entry { is_relu, ..Entry::new(y, layout) }, vjp);
    Ok(Some(()))
}

/// An operand of rank 4 with its samples first, in this layout; none if it cannot be.
pub(super) fn in_layout(operand: Operand, layout: Layout) -> Result<Option<Operand>> {
    Ok(match (operand.layout, layout) {
        (own, wanted) if own == wanted => Some(operand),
        (Layout::FIRST, Layout::Image) if operand.tensor.rank() == 4 => {
            Some(Operand { tensor: to_image(&operand.tensor)?, layout, back: Back::FromImage, ..operand })
        }
        (Layout::Image, Layout::FIRST) => {
            Some(Operand { tensor: from_image(&operand.tensor)?, layout, back: Back::ToImage, ..operand })
        }
        _ => None,
    })
}
