//! ONNX nodes as differentiable operations. Images between nodes are `[n, c, h, w]`, as in the ONNX standard.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use candle_onnx::onnx::NodeProto;
use models::ops::{self, Activation, ConvSettings, PoolSettings};

use super::attributes::{float, integer, integers, padding, pair, tensor};

/// Node types whose derivative is checked against finite differences.
pub(super) const SUPPORTED: [&str; 27] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Exp",
    "Flatten",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "MatMul",
    "MaxPool",
    "Mul",
    "Neg",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softplus",
    "Sqrt",
    "Sub",
    "Tanh",
    "Transpose",
];

/// The first output of a node.
pub(super) fn apply(node: &NodeProto, inputs: &[&Tensor]) -> Result<Tensor> {
    let at = |index: usize| inputs.get(index).copied().with_context(|| format!("input {index} is missing"));
    if node.op_type == "Constant" {
        return tensor(node, "value");
    }
    let x = at(0)?;
    Ok(match node.op_type.as_str() {
        "Add" => x.broadcast_add(at(1)?)?,
        "Sub" => x.broadcast_sub(at(1)?)?,
        "Mul" => x.broadcast_mul(at(1)?)?,
        "Div" => x.broadcast_div(at(1)?)?,
        "Neg" => x.neg()?,
        "Exp" => x.exp()?,
        "Sqrt" => x.sqrt()?,
        "Relu" => ops::relu(x)?,
        "Tanh" => Activation::Tanh.forward(x)?,
        "Softplus" => Activation::Softplus.forward(x)?,
        // 1/(1 + e⁻ˣ) = (1 + tanh(x/2))/2, which does not overflow.
        "Sigmoid" => Activation::Tanh.forward(&x.affine(0.5, 0.0)?)?.affine(0.5, 0.5)?,
        "Gelu" => gelu(node, x)?,
        "Identity" | "Dropout" => x.clone(),
        "Conv" => convolution(node, x, at(1)?, inputs.get(2).copied())?,
        "BatchNormalization" => batch_norm(node, x, [at(1)?, at(2)?, at(3)?, at(4)?])?,
        "MaxPool" | "AveragePool" => pool(node, x)?,
        "GlobalAveragePool" => {
            let (n, c, ..) = x.dims4()?;
            ops::nhwc::global_avg_pool2d(&inside(x)?)?.reshape((n, c, 1, 1))?
        }
        "MatMul" => x.broadcast_matmul(at(1)?)?,
        "Gemm" => linear(node, x, at(1)?, inputs.get(2).copied())?,
        "Flatten" => flatten(node, x)?,
        "Reshape" => reshape(node, x, at(1)?)?,
        "Transpose" => transpose(node, x)?,
        "Concat" => Tensor::cat(inputs, axis(integer(node, "axis", 0), x.rank())?)?,
        "ReduceMean" => mean(node, x, inputs.get(1).copied())?,
        other => bail!("there is no operation for `{other}`"),
    })
}

/// Permutes `[n, c, h, w]` to `[n, h, w, c]`, the layout of the operations.
fn inside(x: &Tensor) -> Result<Tensor> {
    x.dims4().context("expected images [n, c, h, w]")?;
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

fn outside(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
}

fn gelu(node: &NodeProto, x: &Tensor) -> Result<Tensor> {
    match super::attributes::text(node, "approximate").as_deref() {
        None | Some("none" | "") => Ok(Activation::Gelu.forward(x)?),
        Some(other) => bail!("approximate = {other}: only the exact form is supported"),
    }
}

fn convolution(node: &NodeProto, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let groups = usize::try_from(integer(node, "group", 1)).context("`group` is negative")?;
    let settings = ConvSettings {
        stride: pair(node, "strides", 1)?,
        padding: padding(node)?,
        dilation: pair(node, "dilations", 1)?,
        groups,
        ..ConvSettings::default()
    };
    outside(&ops::nhwc::conv2d(&inside(x)?, weight, bias, settings)?)
}

fn batch_norm(node: &NodeProto, x: &Tensor, [gamma, beta, mean, variance]: [&Tensor; 4]) -> Result<Tensor> {
    if integer(node, "training_mode", 0) != 0 {
        bail!("training_mode = 1 mixes the samples of a batch; export the graph in evaluation mode");
    }
    let (factor, summand) =
        ops::nhwc::batch_norm_eval_affine(gamma, beta, mean, variance, float(node, "epsilon", 1e-5))?;
    if x.rank() == 2 {
        return Ok(x.broadcast_mul(&factor)?.broadcast_add(&summand)?);
    }
    outside(&ops::nhwc::channel_affine(&inside(x)?, &factor, &summand)?)
}

fn pool(node: &NodeProto, x: &Tensor) -> Result<Tensor> {
    if integer(node, "ceil_mode", 0) != 0 || pair(node, "dilations", 1)? != [1; 2] {
        bail!("ceil_mode and dilations of pooling are not supported");
    }
    let settings = PoolSettings {
        kernel: pair(node, "kernel_shape", 1)?,
        stride: pair(node, "strides", 1)?,
        padding: padding(node)?,
        ..PoolSettings::default()
    };
    if node.op_type == "MaxPool" {
        return outside(&ops::nhwc::max_pool2d(&inside(x)?, settings)?);
    }
    if settings.padding != [0; 2] && integer(node, "count_include_pad", 0) != 0 {
        bail!("count_include_pad = 1 with padding is not supported");
    }
    outside(&ops::nhwc::avg_pool2d(&inside(x)?, settings)?)
}

fn linear(node: &NodeProto, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = if integer(node, "transA", 0) != 0 { x.t()? } else { x.clone() };
    let weight = if integer(node, "transB", 0) != 0 { weight.t()? } else { weight.clone() };
    let product = x.matmul(&weight)?.affine(float(node, "alpha", 1.0), 0.0)?;
    match bias {
        None => Ok(product),
        Some(bias) => Ok(product.broadcast_add(&bias.affine(float(node, "beta", 1.0), 0.0)?)?),
    }
}

fn flatten(node: &NodeProto, x: &Tensor) -> Result<Tensor> {
    let axis = axis(integer(node, "axis", 1), x.rank() + 1)?;
    let rows: usize = x.dims()[..axis].iter().product();
    Ok(x.reshape((rows, x.elem_count() / rows.max(1)))?)
}

/// The shape of `Reshape`: 0 keeps a dimension and −1 is inferred. The first dimension is always the number of samples,
/// also where the graph was exported with a fixed number.
fn reshape(node: &NodeProto, x: &Tensor, shape: &Tensor) -> Result<Tensor> {
    let wanted: Vec<i64> = shape.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?;
    let keeps = integer(node, "allowzero", 0) == 0;
    let mut dims: Vec<Option<usize>> = Vec::with_capacity(wanted.len());
    for (index, size) in wanted.iter().enumerate() {
        dims.push(match *size {
            0 if keeps => Some(x.dim(index)?),
            -1 => None,
            size => Some(usize::try_from(size).with_context(|| format!("a shape of {wanted:?}"))?),
        });
    }
    let known: usize = dims.iter().flatten().product();
    let free = dims.iter().filter(|size| size.is_none()).count();
    if free > 1 || known == 0 || !x.elem_count().is_multiple_of(known) {
        bail!("cannot give {:?} the shape {wanted:?}", x.dims());
    }
    let rest = x.elem_count() / known;
    Ok(x.reshape(dims.into_iter().map(|size| size.unwrap_or(rest)).collect::<Vec<_>>())?)
}

fn transpose(node: &NodeProto, x: &Tensor) -> Result<Tensor> {
    let order: Vec<usize> = match integers(node, "perm") {
        Some(order) => order.iter().map(|at| axis(*at, x.rank())).collect::<Result<_>>()?,
        None => (0..x.rank()).rev().collect(),
    };
    Ok(x.permute(order)?.contiguous()?)
}

fn mean(node: &NodeProto, x: &Tensor, axes: Option<&Tensor>) -> Result<Tensor> {
    let axes = match axes {
        Some(axes) => Some(axes.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?),
        None => integers(node, "axes"),
    };
    let axes = axes.context("a mean over everything would mix the samples of a batch")?;
    let axes: Vec<usize> = axes.iter().map(|at| axis(*at, x.rank())).collect::<Result<_>>()?;
    if axes.contains(&0) {
        bail!("a mean over the first dimension mixes the samples of a batch");
    }
    Ok(if integer(node, "keepdims", 1) != 0 { x.mean_keepdim(axes)? } else { x.mean(axes)? })
}

/// A dimension, counted from the end where it is negative.
fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .with_context(|| format!("no dimension {axis} of {rank}"))
}
