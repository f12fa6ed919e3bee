//! Operators of convolutional networks with VJPs of several cotangents per sample.
//!
//! Row r of a cotangent belongs to sample r mod n. Images are `[n, h, w, c]`.

use candle_core::{Tensor, Var};
use ops::nhwc::{self, FollowedBy, ReluMasks};
use ops::{Activation, ConvSettings, PoolSettings};

use super::activation::{value_and_slope, with_slope_rule};
use super::windows::Windows;
use super::{Call, apply};
use crate::Result;
use crate::linearization::{Entry, Pass, Vjp};
use crate::message::Kind;
use crate::node::{Id, Node};
use crate::value::{Value, Whole, axis};

/// Operators with a rule here, beside elementwise functions and integer operators.
const OPERATORS: [&str; 23] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Conv",
    "Div",
    "Dropout",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "MatMul",
    "MaxPool",
    "Mul",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Squeeze",
    "Sub",
    "Clip",
    "Cast",
    "Shape",
    "Unsqueeze",
];

/// Operators on shapes, evaluated as they are.
const INTEGERS: [&str; 3] = ["Gather", "Slice", "Constant"];

/// Whether a node may have a rule; [`step`] decides by its sizes.
pub(crate) fn has_rule(node: &Node) -> bool {
    let op = node.op.as_str();
    node.domain.is_empty() && (OPERATORS.contains(&op) || INTEGERS.contains(&op) || with_slope_rule(op))
}

/// Evaluates a node and records its VJP. False if this form of the node has no rule.
pub(crate) fn step(node: &Node, pass: &mut Pass) -> Result<bool> {
    let Some(&Some(output)) = node.outputs.first() else { return Ok(true) };
    if node.inputs.iter().all(|id| id.is_none() || pass.known(Some(id)).is_some()) {
        return integers(node, output, pass);
    }
    let done = match node.op.as_str() {
        "Conv" => convolution(node, output, pass)?,
        "Relu" => relu(node, output, pass)?,
        "MaxPool" => max_pool(node, output, pass)?,
        "AveragePool" => average_pool(node, output, pass)?,
        "GlobalAveragePool" => mean(node, output, true, pass)?,
        "ReduceMean" => spatial_mean(node, output, pass)?,
        "BatchNormalization" => batch_norm(node, output, pass)?,
        "Flatten" | "Reshape" | "Squeeze" => flatten(node, output, pass)?,
        "Gemm" | "MatMul" => linear(node, output, pass)?,
        "Concat" => concat(node, output, pass)?,
        "Add" | "Sub" | "Mul" | "Div" => binary(node, output, pass)?,
        "Identity" | "Dropout" | "Cast" => pass_through(node, output, pass),
        "Shape" => shape(node, output, pass)?,
        op if op == "Clip" || with_slope_rule(op) => elementwise(node, output, pass)?,
        _ => None,
    };
    Ok(done.is_some())
}

/// A node on constants and shapes.
fn integers(node: &Node, output: Id, pass: &mut Pass) -> Result<bool> {
    let inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| pass.known(Some(id)).cloned()).collect();
    let value = apply(&Call { node, inputs: &inputs, context: pass.context })?.into_iter().next();
    if let Some(value) = value {
        pass.set_known(output, value);
    }
    Ok(true)
}

/// The one input with a derivative, and its number.
fn input<'a>(node: &Node, pass: &'a Pass) -> Option<(Id, &'a Entry)> {
    Some((node.inputs.first().copied().flatten()?, pass.entry(node.inputs.first())?))
}

/// The windows of an image's node, if the padding is the same on both sides.
fn symmetric(node: &Node, pass: &Pass, sizes: &[usize], kernel: Option<&[usize]>) -> Result<Option<Windows>> {
    let windows = Windows::of(&Call { node, inputs: &[], context: pass.context }, sizes, kernel)?;
    let plain = windows.pads.iter().all(|[before, after]| before == after) && !node.flag("ceil_mode", false)?;
    Ok(plain.then_some(windows))
}

fn pair(values: &[usize]) -> [usize; 2] {
    [values.first().copied().unwrap_or(1), values.get(1).copied().unwrap_or(1)]
}

fn convolution(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some((id, entry)), Some(Value::Float(weight))) = (input(node, pass), pass.known(node.inputs.get(1))) else {
        return Ok(None);
    };
    let (&[n, h, w, c], 4) = (entry.tensor.dims(), weight.rank()) else { return Ok(None) };
    let Some(windows) = symmetric(node, pass, &[h, w], Some(&weight.dims()[2..]))? else { return Ok(None) };
    let groups = usize::try_from(node.integer("group", 1)?).unwrap_or(1);
    let settings = ConvSettings {
        stride: pair(&windows.strides),
        padding: [windows.pads[0][0], windows.pads[1][0]],
        dilation: pair(&windows.dilations),
        groups,
        ..ConvSettings::default()
    };
    let bias = match pass.known(node.inputs.get(2)) {
        Some(value) => Some(value.float()?.clone()),
        None => None,
    };
    let (x, weight, shape) = (entry.tensor.clone(), weight.clone(), [n, h, w, c]);
    let preceding = entry.is_relu.then(|| x.clone());
    let mut result = output;
    let (y, followed_by) =
        match pass.only_consumer(output, "Relu").map(|(at, relu)| (at, relu.outputs.first().copied().flatten())) {
            Some((at, Some(after))) => {
                let bias = match bias {
                    Some(bias) => bias,
                    None => Tensor::zeros(weight.dim(0)?, x.dtype(), x.device())?,
                };
                let y = nhwc::conv2d_relu(&x, &weight, &bias, settings)?;
                pass.skip(at);
                result = after;
                match fused_pool(after, &y, pass)? {
                    Some((pooled, positions, last)) => {
                        result = last;
                        (pooled.clone(), FollowedBy::ReluMaxPool(positions, pooled))
                    }
                    None => (y.clone(), FollowedBy::Relu(y)),
                }
            }
            _ => (nhwc::conv2d(&x, &weight, bias.as_ref(), settings)?, FollowedBy::Nothing),
        };
    let is_relu = !matches!(followed_by, FollowedBy::Nothing);
    let vjp: Vjp = Box::new(move |g| {
        let masks = ReluMasks { followed_by: &followed_by, preceding_relu: preceding.as_ref() };
        Ok(vec![nhwc::conv2d_input_gradient_masked(g, &weight, &shape, masks, settings)?])
    });
    pass.push(vec![id], result, Entry { is_relu, ..Entry::new(y, true) }, vjp);
    Ok(Some(()))
}

/// The max pool that alone takes the output `y` of a ReLU: its output, positions and the number of its output.
fn fused_pool(id: Id, y: &Tensor, pass: &mut Pass) -> Result<Option<(Tensor, nhwc::MaxPositions, Id)>> {
    let Some((at, pool)) = pass.only_consumer(id, "MaxPool") else { return Ok(None) };
    let (Some(&Some(output)), &[_, h, w, _]) = (pool.outputs.first(), y.dims()) else { return Ok(None) };
    let Some(settings) = pool_settings(pool, pass, [h, w])? else { return Ok(None) };
    let (pooled, positions) = nhwc::max_pool2d_with_positions(y, settings)?;
    pass.skip(at);
    Ok(Some((pooled, positions, output)))
}

fn pool_settings(node: &Node, pass: &Pass, sizes: [usize; 2]) -> Result<Option<PoolSettings>> {
    let Some(windows) = symmetric(node, pass, &sizes, None)? else { return Ok(None) };
    let padding = [windows.pads[0][0], windows.pads[1][0]];
    let (kernel, stride) = (pair(&windows.kernel), pair(&windows.strides));
    // The operations require that a window holds at least one pixel.
    let fits = windows.dilations == [1, 1] && padding[0] < kernel[0] && padding[1] < kernel[1];
    Ok(fits.then_some(PoolSettings { kernel, stride, padding, ..PoolSettings::default() }))
}

fn relu(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let y = Activation::Relu.forward(&entry.tensor)?;
    let entry = Entry { is_relu: true, ..Entry::new(y.clone(), entry.is_image) };
    pass.push(vec![id], output, entry, Box::new(move |g| Ok(vec![ops::relu_mask_rows(g, &y)?])));
    Ok(Some(()))
}

fn max_pool(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let &[_, h, w, _] = entry.tensor.dims() else { return Ok(None) };
    let Some(settings) = pool_settings(node, pass, [h, w])? else { return Ok(None) };
    let (y, positions) = nhwc::max_pool2d_with_positions(&entry.tensor, settings)?;
    let entry = Entry { is_relu: entry.is_relu, ..Entry::new(y, true) };
    pass.push(vec![id], output, entry, Box::new(move |g| Ok(vec![positions.scatter(g)?])));
    Ok(Some(()))
}

fn average_pool(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let &[_, h, w, c] = entry.tensor.dims() else { return Ok(None) };
    let Some(settings) = pool_settings(node, pass, [h, w])? else { return Ok(None) };
    if settings.padding != [0; 2] && node.flag("count_include_pad", false)? {
        return Ok(None);
    }
    let y = nhwc::avg_pool2d(&entry.tensor, settings)?;
    let vjp: Vjp = Box::new(move |g| {
        // The pool is linear: its VJP is the same at every input.
        let x = Var::zeros((g.dim(0)?, h, w, c), g.dtype(), g.device())?;
        let product = nhwc::avg_pool2d(x.as_tensor(), settings)?.mul(&g.detach())?.sum_all()?;
        Ok(product.backward()?.get(x.as_tensor()).cloned().into_iter().collect())
    });
    pass.push(vec![id], output, Entry::new(y, true), vjp);
    Ok(Some(()))
}

/// A mean over height and width.
fn spatial_mean(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let axes = match (node.integers("axes")?, pass.known(node.inputs.get(1))) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(value)) => value.whole()?.data.to_vec(),
        (None, None) => return Ok(None),
    };
    let mut axes: Vec<usize> = axes.iter().filter_map(|at| axis(*at, 4).ok()).collect();
    axes.sort_unstable();
    let keeps = node.flag("keepdims", true)?;
    if axes != [2, 3] { Ok(None) } else { mean(node, output, keeps, pass) }
}

fn mean(node: &Node, output: Id, keeps: bool, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass).filter(|(_, entry)| entry.is_image) else { return Ok(None) };
    let &[n, h, w, c] = entry.tensor.dims() else { return Ok(None) };
    let y = nhwc::global_avg_pool2d(&entry.tensor)?;
    let entry = if keeps { Entry::new(y.reshape((n, 1, 1, c))?, true) } else { Entry::new(y, false) };
    let vjp: Vjp = Box::new(move |g| {
        let rows = g.dim(0)?;
        Ok(vec![nhwc::global_avg_pool2d_vjp(&g.reshape((rows, c))?, [h, w])?])
    });
    pass.push(vec![id], output, entry, vjp);
    Ok(Some(()))
}

fn batch_norm(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let mut values = Vec::new();
    for at in 1..5 {
        let Some(Value::Float(value)) = pass.known(node.inputs.get(at)) else { return Ok(None) };
        values.push(value);
    }
    let [gamma, beta, mean, variance] = values[..] else { return Ok(None) };
    let (factor, summand) = nhwc::batch_norm_eval_affine(gamma, beta, mean, variance, node.float("epsilon", 1e-5)?)?;
    let y = nhwc::channel_affine(&entry.tensor, &factor.detach(), &summand.detach())?;
    let entry = Entry::new(y, entry.is_image);
    pass.push(vec![id], output, entry, Box::new(move |g| Ok(vec![g.broadcast_mul(&factor)?])));
    Ok(Some(()))
}

/// One row of features per sample, in the order of the standard.
fn flatten(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let dims = entry.dims();
    let features: usize = dims[1..].iter().product();
    let flattens = match node.op.as_str() {
        "Flatten" => node.integer("axis", 1)? == 1,
        "Squeeze" => dims.len() == 4 && dims[2..] == [1, 1] && squeezes_pixels(node, pass)?,
        _ => match pass.known(node.inputs.get(1)) {
            Some(Value::Whole(target)) => flattens(&target.data, features, pass),
            _ => false,
        },
    };
    if !flattens {
        return Ok(None);
    }
    let is_image = entry.is_image;
    let standard = if is_image { entry.tensor.permute((0, 3, 1, 2))?.contiguous()? } else { entry.tensor.clone() };
    let entry = Entry { is_relu: entry.is_relu && !is_image, ..Entry::new(standard.flatten_from(1)?, false) };
    let vjp: Vjp = Box::new(move |g| {
        let shape: Vec<usize> = std::iter::once(g.dim(0)?).chain(dims[1..].iter().copied()).collect();
        let g = g.reshape(shape)?;
        Ok(vec![if is_image { g.permute((0, 2, 3, 1))?.contiguous()? } else { g }])
    });
    pass.push(vec![id], output, entry, vjp);
    Ok(Some(()))
}

/// Whether the target of a reshape is one row per sample.
fn flattens(target: &[i64], features: usize, pass: &Pass) -> bool {
    let &[rows, columns] = target else { return false };
    let is = |value: i64, size: usize| usize::try_from(value) == Ok(size);
    let is_samples = rows == 0 || is(rows, pass.samples) || pass.stated.is_some_and(|stated| is(rows, stated));
    (is_samples && (columns == -1 || is(columns, features))) || (rows == -1 && is(columns, features))
}

fn squeezes_pixels(node: &Node, pass: &Pass) -> Result<bool> {
    let axes = match (node.integers("axes")?, pass.known(node.inputs.get(1))) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(value)) => value.whole()?.data.to_vec(),
        (None, None) => return Ok(false),
    };
    let mut axes: Vec<usize> = axes.iter().filter_map(|at| axis(*at, 4).ok()).collect();
    axes.sort_unstable();
    Ok(axes == [2, 3])
}

fn linear(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some((id, entry)), Some(Value::Float(weight))) = (input(node, pass), pass.known(node.inputs.get(1))) else {
        return Ok(None);
    };
    let is_plain = !node.flag("transA", false)? && node.float("alpha", 1.0)? == 1.0 && node.float("beta", 1.0)? == 1.0;
    if entry.is_image || entry.tensor.rank() != 2 || weight.rank() != 2 || !is_plain {
        return Ok(None);
    }
    let weight = if node.flag("transB", false)? { weight.t()? } else { weight.clone() };
    let mut y = entry.tensor.matmul(&weight)?;
    if let Some(bias) = pass.known(node.inputs.get(2)) {
        y = y.broadcast_add(bias.float()?)?;
    }
    pass.push(vec![id], output, Entry::new(y, false), Box::new(move |g| Ok(vec![g.matmul(&weight.t()?)?])));
    Ok(Some(()))
}

fn concat(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let mut parts: Vec<(Id, Entry)> = Vec::new();
    for id in &node.inputs {
        let (Some(number), Some(entry)) = (*id, pass.entry(Some(id))) else { return Ok(None) };
        parts.push((number, entry.clone()));
    }
    let Some((_, first)) = parts.first() else { return Ok(None) };
    let (is_image, rank) = (first.is_image, first.tensor.rank());
    let along = axis(node.integer("axis", 0)?, rank)?;
    if along != 1 || parts.iter().any(|(_, part)| part.is_image != is_image || part.tensor.rank() != rank) {
        return Ok(None);
    }
    let own = if is_image { 3 } else { 1 };
    let tensors: Vec<&Tensor> = parts.iter().map(|(_, part)| &part.tensor).collect();
    let y = Tensor::cat(&tensors, own)?.contiguous()?;
    let sizes: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[own]).collect();
    let is_relu = parts.iter().all(|(_, part)| part.is_relu);
    let vjp: Vjp = Box::new(move |g| {
        let mut start = 0;
        let mut gradients = Vec::with_capacity(sizes.len());
        for size in &sizes {
            gradients.push(g.narrow(own, start, *size)?.contiguous()?);
            start += size;
        }
        Ok(gradients)
    });
    let ids = parts.iter().map(|(id, _)| *id).collect();
    pass.push(ids, output, Entry { is_relu, ..Entry::new(y, is_image) }, vjp);
    Ok(Some(()))
}

/// A constant operand in the layout of the pass.
fn constant(value: &Value, is_image: bool) -> Result<Option<Tensor>> {
    let Value::Float(tensor) = value else { return Ok(None) };
    if !is_image || tensor.elem_count() == 1 {
        return Ok(Some(if tensor.elem_count() == 1 { tensor.reshape(1)? } else { tensor.clone() }));
    }
    if tensor.rank() > 4 {
        return Ok(None);
    }
    let dims: Vec<usize> = std::iter::repeat_n(1, 4 - tensor.rank()).chain(tensor.dims().iter().copied()).collect();
    Ok(Some(tensor.reshape(dims)?.permute((0, 2, 3, 1))?.contiguous()?))
}

fn binary(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (a, b) = (pass.entry(node.inputs.first()).cloned(), pass.entry(node.inputs.get(1)).cloned());
    let (ids, op) = ([node.inputs[0], node.inputs.get(1).copied().flatten()], node.op.as_str());
    match (a, b, ids) {
        (Some(a), Some(b), [Some(first), Some(second)]) => two(op, [(first, a), (second, b)], output, pass),
        (Some(entry), None, [Some(id), _]) => {
            let Some(value) = pass.known(node.inputs.get(1)).cloned() else { return Ok(None) };
            with_constant(op, id, &entry, &value, false, output, pass)
        }
        (None, Some(entry), [_, Some(id)]) => {
            let Some(value) = pass.known(node.inputs.first()).cloned() else { return Ok(None) };
            with_constant(op, id, &entry, &value, true, output, pass)
        }
        _ => Ok(None),
    }
}

/// x ∘ c, or c ∘ x if `reversed`.
fn with_constant(
    op: &str,
    id: Id,
    entry: &Entry,
    value: &Value,
    reversed: bool,
    output: Id,
    pass: &mut Pass,
) -> Result<Option<()>> {
    let Some(constant) = constant(value, entry.is_image)? else { return Ok(None) };
    let x = &entry.tensor;
    let (y, factor) = match (op, reversed) {
        ("Add", _) => (x.broadcast_add(&constant)?, None),
        ("Sub", false) => (x.broadcast_sub(&constant)?, None),
        ("Sub", true) => (constant.broadcast_sub(x)?, Some(Tensor::new(&[-1f64], x.device())?.to_dtype(x.dtype())?)),
        ("Mul", _) => (x.broadcast_mul(&constant)?, Some(constant.clone())),
        ("Div", false) => (x.broadcast_div(&constant)?, Some(constant.recip()?)),
        _ => return Ok(None),
    };
    // A constant with more dimensions or rows of its own is left to candle's graph.
    let has_rows = factor.as_ref().is_some_and(|factor| factor.rank() == x.rank() && factor.dims().first() != Some(&1));
    if y.dims() != x.dims() || has_rows {
        return Ok(None);
    }
    let vjp: Vjp = Box::new(move |g| match &factor {
        None => Ok(vec![g.clone()]),
        Some(factor) => Ok(vec![g.broadcast_mul(factor)?]),
    });
    pass.push(vec![id], output, Entry::new(y, entry.is_image), vjp);
    Ok(Some(()))
}

/// Sums and products of two tensors that depend on the input. One may have one pixel where the other is an image.
fn two(op: &str, [(first, a), (second, b)]: [(Id, Entry); 2], output: Id, pass: &mut Pass) -> Result<Option<()>> {
    if a.is_image != b.is_image || a.tensor.rank() != b.tensor.rank() {
        return Ok(None);
    }
    let same = a.tensor.dims() == b.tensor.dims();
    let ids = vec![first, second];
    match op {
        "Add" if same => {
            let relu =
                pass.only_consumer(output, "Relu").map(|(at, relu)| (at, relu.outputs.first().copied().flatten()));
            if let Some((at, Some(after))) = relu {
                pass.skip(at);
                let y = ops::add_detached(&a.tensor, &b.tensor, true)?;
                let entry = Entry { is_relu: true, ..Entry::new(y.clone(), a.is_image) };
                let vjp: Vjp = Box::new(move |g| {
                    let masked = ops::relu_mask_rows(g, &y)?;
                    Ok(vec![masked.clone(), masked])
                });
                pass.push(ids, after, entry, vjp);
                return Ok(Some(()));
            }
            let y = ops::add_detached(&a.tensor, &b.tensor, false)?;
            pass.push(ids, output, Entry::new(y, a.is_image), Box::new(|g| Ok(vec![g.clone(), g.clone()])));
        }
        "Mul" => {
            let y = a.tensor.broadcast_mul(&b.tensor)?;
            let vjp: Vjp = Box::new(move |g| {
                let to = |other: &Tensor, own: &Tensor| summed(&times_rows(g, other)?, own);
                Ok(vec![to(&b.tensor, &a.tensor)?, to(&a.tensor, &b.tensor)?])
            });
            pass.push(ids, output, Entry::new(y, a.is_image), vjp);
        }
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// Cotangents `[k·n, …]` times a tensor `[n, …]` that broadcasts to one sample's cotangent.
fn times_rows(g: &Tensor, stored: &Tensor) -> Result<Tensor> {
    let (rows, n) = (g.dim(0)?, stored.dim(0)?);
    if rows == n {
        return Ok(g.broadcast_mul(stored)?);
    }
    let mut dims = g.dims().to_vec();
    dims[0] = n;
    dims.insert(0, rows / n.max(1));
    Ok(g.reshape(dims)?.broadcast_mul(&stored.unsqueeze(0)?)?.flatten_to(1)?)
}

/// The sum over the dimensions in which `own` has size 1 and was broadcast; the rows stay.
fn summed(g: &Tensor, own: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (1..own.rank()).filter(|at| own.dims()[*at] == 1 && g.dims()[*at] != 1).collect();
    if axes.is_empty() { Ok(g.clone()) } else { Ok(g.sum_keepdim(axes)?) }
}

fn elementwise(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((id, entry)) = input(node, pass) else { return Ok(None) };
    let bounds: Vec<Option<Value>> = node.inputs.iter().skip(1).map(|id| pass.known(Some(id)).cloned()).collect();
    let (x, is_image) = (entry.tensor.clone(), entry.is_image);
    let mut inputs = vec![Some(Value::from(x.clone()))];
    inputs.extend(bounds);
    let (y, slope) = value_and_slope(&Call { node, inputs: &inputs, context: pass.context }, &x)?;
    pass.push(vec![id], output, Entry::new(y, is_image), Box::new(move |g| Ok(vec![times_rows(g, &slope)?])));
    Ok(Some(()))
}

fn pass_through(node: &Node, output: Id, pass: &mut Pass) -> Option<()> {
    let (id, entry) = input(node, pass)?;
    let is_float =
        node.op != "Cast" || node.integer("to", 0).ok().and_then(|to| Kind::of(to).ok()).is_some_and(Kind::is_float);
    let entry = entry.clone();
    pass.push(vec![id], output, entry, Box::new(|g| Ok(vec![g.clone()])));
    is_float.then_some(())
}

fn shape(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some((_, entry)) = input(node, pass) else { return Ok(None) };
    if node.attribute("start").is_some() || node.attribute("end").is_some() {
        return Ok(None);
    }
    let dims = entry.dims().into_iter().map(|size| size as i64).collect();
    pass.set_known(output, Whole::list(dims).into());
    Ok(Some(()))
}
