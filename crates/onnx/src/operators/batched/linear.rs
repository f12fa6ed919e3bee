//! Matrix products.

use candle_core::Tensor;
use ops::{ConvSettings, linear, nhwc};

use crate::Result;
use crate::layout::Layout;
use crate::linearization::{Entry, Operand, Pass, Vjp};
use crate::node::{Id, Node};
use crate::value::Value;

/// `Gemm` and `MatMul` with a constant matrix, on the last dimension, with the bias that is added next.
pub(super) fn by_constant(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some(operand), Some(Value::Float(weight))) = (pass.rows(node, 0)?, pass.known(node.inputs.get(1))) else {
        return Ok(None);
    };
    let is_plain = !node.flag("transA", false)? && node.float("alpha", 1.0)? == 1.0 && node.float("beta", 1.0)? == 1.0;
    let (rank, Layout::Rows(rows)) = (operand.dims().len(), operand.layout) else { return Ok(None) };
    if weight.rank() != 2 || rank < 2 || rows.at == rank - 1 || !is_plain {
        return Ok(None);
    }
    // The kernels take `[out, in]`.
    let weight = if node.flag("transB", false)? { weight } else { weight.t()?.contiguous()? };
    let (outputs, inputs) = weight.dims2()?;
    let given = pass.known(node.inputs.get(2));
    let (bias, result) = match given {
        Some(value) if value.count() == outputs => (Some(value.float()?.flatten_all()?), output),
        Some(_) => return Ok(None),
        None => match added_next(output, outputs, pass)? {
            Some((bias, result)) => (Some(bias), result),
            None => (None, output),
        },
    };
    let dims = operand.tensor.dims().to_vec();
    let count = operand.tensor.elem_count() / inputs.max(1);
    let y = linear(&operand.tensor.reshape((count, inputs))?, &weight, bias.as_ref())?;
    let entry = Entry::new(y.reshape(with_last(&dims, outputs))?, operand.layout);
    let (weight, back) = (weight.detach().reshape((outputs, inputs, 1, 1))?, operand.back);
    let vjp: Vjp = Box::new(move |g| {
        let count = g.elem_count() / outputs.max(1);
        let row = g.contiguous()?.reshape((1, 1, count, outputs))?;
        let at_input = nhwc::conv2d_input_gradient(&row, &weight, &[1, 1, count, inputs], ConvSettings::default())?;
        Ok(vec![back.apply(at_input.reshape(with_last(g.dims(), inputs))?)?])
    });
    pass.push(vec![operand.id], result, entry, vjp);
    Ok(Some(()))
}

fn with_last(dims: &[usize], last: usize) -> Vec<usize> {
    let kept = dims.len().saturating_sub(1);
    dims.iter().take(kept).copied().chain([last]).collect()
}

/// The vector of this length that the only consumer of a product adds, and the output of that node.
fn added_next(id: Id, length: usize, pass: &mut Pass) -> Result<Option<(Tensor, Id)>> {
    let Some((at, add)) = pass.only_consumer(id, "Add") else { return Ok(None) };
    let other = add.inputs.iter().find(|input| **input != Some(id));
    let (Some(Value::Float(bias)), Some(&Some(result))) = (pass.known(other), add.outputs.first()) else {
        return Ok(None);
    };
    if bias.dims() != [length] {
        return Ok(None);
    }
    pass.skip(at);
    Ok(Some((bias, result)))
}

/// The product of two tensors that depend on the input, of equal sizes but for the last two.
pub(super) fn of_two(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let (Some(a), Some(b)) = (pass.rows(node, 0)?, pass.rows(node, 1)?) else { return Ok(None) };
    let Some(batch) = common_batch(&a, &b) else { return Ok(None) };
    let (left, right) = (Factor::new(&a.tensor, batch)?, Factor::new(&b.tensor, batch)?);
    let y = left.0.matmul(&right.0)?;
    let [rows, columns] = [a.tensor.dim(batch)?, b.tensor.dim(batch + 1)?];
    let dims: Vec<usize> = a.tensor.dims().iter().take(batch).copied().chain([rows, columns]).collect();
    let (shapes, backs) = ([a.tensor.dims().to_vec(), b.tensor.dims().to_vec()], [a.back, b.back]);
    let vjp: Vjp = Box::new(move |g| {
        let each = g.dim(0)? / shapes[0].first().copied().unwrap_or(1).max(1);
        let by_left = left.gradient_of_left(&right, g, each)?;
        let by_right = left.gradient_of_right(g, each)?;
        let shaped = |gradient: Tensor, shape: &[usize]| {
            let rest = shape.iter().skip(1).copied();
            gradient.reshape(std::iter::once(each * shape[0]).chain(rest).collect::<Vec<_>>())
        };
        Ok(vec![backs[0].apply(shaped(by_left, &shapes[0])?)?, backs[1].apply(shaped(by_right, &shapes[1])?)?])
    });
    pass.push(vec![a.id, b.id], output, Entry::new(y.reshape(dims)?, a.layout), vjp);
    Ok(Some(()))
}

/// The number of stored dimensions before the matrices, where they are the same for both and hold the samples.
fn common_batch(a: &Operand, b: &Operand) -> Option<usize> {
    let (rank, Layout::Rows(rows)) = (a.dims().len(), a.layout) else { return None };
    let batch = a.tensor.rank().checked_sub(2)?;
    let same = a.layout == b.layout && a.tensor.rank() == b.tensor.rank();
    let fits = same && rank >= 2 && rows.at < rank - 2 && a.tensor.dims()[..batch] == b.tensor.dims()[..batch];
    fits.then_some(batch)
}

/// The matrices `[m, i, j]` of a product, m for samples and all other dimensions before the last two.
struct Factor(Tensor);

impl Factor {
    fn new(x: &Tensor, batch: usize) -> Result<Self> {
        let [rows, columns] = [x.dim(batch)?, x.dim(batch + 1)?];
        Ok(Self(x.contiguous()?.reshape(((), rows, columns))?))
    }

    /// g·rightᵀ: the cotangents of a sample stand below each other, so that each matrix is used once.
    fn gradient_of_left(&self, right: &Self, g: &Tensor, each: usize) -> Result<Tensor> {
        let (matrices, rows, columns) = (self.0.dim(0)?, self.0.dim(1)?, right.0.dim(2)?);
        let transposed = right.0.transpose(1, 2)?;
        if each == 1 {
            return Ok(g.contiguous()?.reshape((matrices, rows, columns))?.matmul(&transposed)?);
        }
        let below = g.reshape((each, matrices, rows, columns))?.transpose(0, 1)?.contiguous()?;
        let product = below.reshape((matrices, each * rows, columns))?.matmul(&transposed)?;
        Ok(product.reshape((matrices, each, rows, self.0.dim(2)?))?.transpose(0, 1)?.contiguous()?)
    }

    /// leftᵀ·g: the cotangents of a sample stand beside each other.
    fn gradient_of_right(&self, g: &Tensor, each: usize) -> Result<Tensor> {
        let (matrices, rows, inner) = self.0.dims3()?;
        let transposed = self.0.transpose(1, 2)?;
        let columns = g.elem_count() / (each * matrices * rows).max(1);
        if each == 1 {
            return Ok(transposed.matmul(&g.contiguous()?.reshape((matrices, rows, columns))?)?);
        }
        let beside = g.reshape((each, matrices, rows, columns))?.permute((1, 2, 0, 3))?.contiguous()?;
        let product = transposed.matmul(&beside.reshape((matrices, rows, each * columns))?)?;
        Ok(product.reshape((matrices, inner, each, columns))?.permute((2, 0, 1, 3))?.contiguous()?)
    }
}
