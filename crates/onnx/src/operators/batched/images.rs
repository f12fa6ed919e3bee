//! Operators on images `[n, h, w, c]`.

use candle_core::Tensor;
use ops::nhwc::{self, FollowedBy, ReluMasks};
use ops::{Activation, ConvSettings, PoolSettings};

use super::super::Call;
use super::super::windows::Windows;
use super::axes;
use crate::Result;
use crate::layout::{Layout, Rows};
use crate::linearization::{Entry, Pass, Vjp};
use crate::node::{Id, Node};
use crate::value::Value;

/// The windows of an image's node, if the padding is the same on both sides.
fn symmetric(node: &Node, pass: &Pass, sizes: &[usize], kernel: Option<&[usize]>) -> Result<Option<Windows>> {
    let windows = Windows::of(&Call { node, inputs: &[], context: pass.context }, sizes, kernel)?;
    let plain = windows.pads.iter().all(|[before, after]| before == after) && !node.flag("ceil_mode", false)?;
    Ok(plain.then_some(windows))
}

fn pair(values: &[usize]) -> [usize; 2] {
    [values.first().copied().unwrap_or(1), values.get(1).copied().unwrap_or(1)]
}

pub(super) fn convolution(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some(operand), Some(Value::Float(weight))) = (pass.image(node, 0)?, pass.known(node.inputs.get(1))) else {
        return Ok(None);
    };
    let (&[n, h, w, c], 4) = (operand.tensor.dims(), weight.rank()) else { return Ok(None) };
    let Some(windows) = symmetric(node, pass, &[h, w], Some(&weight.dims()[2..]))? else { return Ok(None) };
    let settings = ConvSettings {
        stride: pair(&windows.strides),
        padding: [windows.pads[0][0], windows.pads[1][0]],
        dilation: pair(&windows.dilations),
        groups: usize::try_from(node.integer("group", 1)?).unwrap_or(1),
        ..ConvSettings::default()
    };
    let bias = match pass.known(node.inputs.get(2)) {
        Some(value) => Some(value.float()?.clone()),
        None => None,
    };
    let (x, shape, back) = (operand.tensor.clone(), [n, h, w, c], operand.back);
    let preceding = operand.is_relu.then(|| x.clone());
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
        Ok(vec![back.apply(nhwc::conv2d_input_gradient_masked(g, &weight, &shape, masks, settings)?)?])
    });
    pass.push(vec![operand.id], result, Entry { is_relu, ..Entry::new(y, Layout::Image) }, vjp);
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

pub(super) fn relu(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    let y = Activation::Relu.forward(&operand.tensor)?;
    let entry = Entry { is_relu: true, ..Entry::new(y.clone(), operand.layout) };
    pass.push(vec![operand.id], output, entry, Box::new(move |g| Ok(vec![ops::relu_mask_rows(g, &y)?])));
    Ok(Some(()))
}

pub(super) fn max_pool(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.image(node, 0)? else { return Ok(None) };
    let (&[_, h, w, _], back) = (operand.tensor.dims(), operand.back) else { return Ok(None) };
    let Some(settings) = pool_settings(node, pass, [h, w])? else { return Ok(None) };
    let (y, positions) = nhwc::max_pool2d_with_positions(&operand.tensor, settings)?;
    let entry = Entry { is_relu: operand.is_relu, ..Entry::new(y, Layout::Image) };
    let vjp: Vjp = Box::new(move |g| Ok(vec![back.apply(positions.scatter(g)?)?]));
    pass.push(vec![operand.id], output, entry, vjp);
    Ok(Some(()))
}

pub(super) fn average_pool(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.image(node, 0)? else { return Ok(None) };
    let (&[_, h, w, _], back) = (operand.tensor.dims(), operand.back) else { return Ok(None) };
    let Some(settings) = pool_settings(node, pass, [h, w])? else { return Ok(None) };
    if settings.padding != [0; 2] && node.flag("count_include_pad", false)? {
        return Ok(None);
    }
    let y = nhwc::avg_pool2d(&operand.tensor, settings)?;
    let vjp: Vjp = Box::new(move |g| Ok(vec![back.apply(nhwc::avg_pool2d_vjp(&g.detach(), [h, w], settings)?)?]));
    pass.push(vec![operand.id], output, Entry::new(y, Layout::Image), vjp);
    Ok(Some(()))
}

/// A mean over dimensions without the samples; over height and width of an image by its kernel.
pub(super) fn reduce_mean(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(rank) = pass.operand(node, 0).map(|operand| operand.dims().len()) else { return Ok(None) };
    let Some(mut axes) = axes(node, pass, rank)? else { return Ok(None) };
    axes.sort_unstable();
    let keeps = node.flag("keepdims", true)?;
    if axes == [2, 3] && pass.operand(node, 0).is_some_and(|operand| operand.layout == Layout::Image) {
        return global_mean(node, output, keeps, pass);
    }
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let Layout::Rows(rows) = operand.layout else { return Ok(None) };
    let Some(places) = axes.iter().map(|axis| rows.place(*axis)).collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    let (dims, back) = (operand.tensor.dims().to_vec(), operand.back);
    let factor = 1.0 / places.iter().map(|place| dims[*place]).product::<usize>().max(1) as f64;
    let mean = operand.tensor.sum_keepdim(places.as_slice())?.affine(factor, 0.0)?;
    let kept = mean.dims().to_vec();
    let (y, layout) = if keeps {
        (mean, operand.layout)
    } else {
        let left = kept.iter().enumerate().filter(|(place, _)| !places.contains(place)).map(|(_, size)| *size);
        (mean.reshape(left.collect::<Vec<_>>())?, Layout::Rows(Rows::without(rows, &axes)))
    };
    let vjp: Vjp = Box::new(move |g| {
        let (mut kept, mut dims) = (kept.clone(), dims.clone());
        (kept[0], dims[0]) = (g.dim(0)?, g.dim(0)?);
        let spread = g.reshape(kept)?.affine(factor, 0.0)?.broadcast_as(dims)?.contiguous()?;
        Ok(vec![back.apply(spread)?])
    });
    pass.push(vec![operand.id], output, Entry::new(y, layout), vjp);
    Ok(Some(()))
}

pub(super) fn global_mean(node: &Node, output: Id, keeps: bool, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.image(node, 0)? else { return Ok(None) };
    let (&[n, h, w, c], back) = (operand.tensor.dims(), operand.back) else { return Ok(None) };
    let y = nhwc::global_avg_pool2d(&operand.tensor)?;
    let entry = if keeps { Entry::new(y.reshape((n, 1, 1, c))?, Layout::Image) } else { Entry::new(y, Layout::FIRST) };
    let vjp: Vjp = Box::new(move |g| {
        let rows = g.dim(0)?;
        Ok(vec![back.apply(nhwc::global_avg_pool2d_vjp(&g.reshape((rows, c))?, [h, w])?)?])
    });
    pass.push(vec![operand.id], output, entry, vjp);
    Ok(Some(()))
}

/// Batch norm with running statistics, of an image or of vectors.
pub(super) fn batch_norm(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    if operand.layout != Layout::Image && (operand.layout != Layout::FIRST || operand.tensor.rank() != 2) {
        return Ok(None);
    }
    let mut values = Vec::new();
    for at in 1..5 {
        let Some(Value::Float(value)) = pass.known(node.inputs.get(at)) else { return Ok(None) };
        values.push(value);
    }
    let [gamma, beta, mean, variance] = &values[..] else { return Ok(None) };
    let (factor, summand) = nhwc::batch_norm_eval_affine(gamma, beta, mean, variance, node.float("epsilon", 1e-5)?)?;
    let (factor, summand) = (factor.detach(), summand.detach());
    let y = nhwc::channel_affine(&operand.tensor, &factor, &summand)?;
    let vjp: Vjp = Box::new(move |g| Ok(vec![nhwc::channel_scale(&g.detach(), &factor)?]));
    pass.push(vec![operand.id], output, Entry::new(y, operand.layout), vjp);
    Ok(Some(()))
}
