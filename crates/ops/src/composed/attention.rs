//! Softmax and multi-head self-attention composed of matrix products and sums over rows. The formulas are those of the kernels.

use candle_core::{D, DType, Tensor};

use crate::Result;
use crate::kernels::attention::{Mask, Sizes};

/// The softmax of rows; zeros where a whole row is −∞.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    let largest = x.max_keepdim(D::Minus1)?;
    let infinite = largest.eq(&largest.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?)?;
    let shift = infinite.where_cond(&largest.zeros_like()?, &largest)?;
    let powers = x.broadcast_sub(&shift)?.exp()?;
    let sum = powers.sum_keepdim(D::Minus1)?;
    let divisor = infinite.where_cond(&sum.ones_like()?, &sum)?;
    Ok(powers.broadcast_div(&divisor)?)
}

/// y·(t − Σ y·t) of rows.
pub(crate) fn softmax_product(y: &Tensor, t: &Tensor) -> Result<Tensor> {
    Ok((y * t.broadcast_sub(&(y * t)?.sum_keepdim(D::Minus1)?)?)?)
}

/// The gradient of ⟨g, y·(t − Σ y·t)⟩ by the logits.
pub(crate) fn softmax_term(y: &Tensor, g: &Tensor, t: &Tensor) -> Result<Tensor> {
    let (tangent, cotangent) = ((y * t)?.sum_keepdim(D::Minus1)?, (y * g)?.sum_keepdim(D::Minus1)?);
    softmax_product(y, &((g * t.broadcast_sub(&tangent)?)? - t.broadcast_mul(&cotangent)?)?)
}

/// q, k and v `[n, heads, tokens, d]` of packed rows, and the weights P `[n, heads, tokens, tokens]`.
pub(crate) struct Attention {
    sizes: Sizes,
    operands: [Tensor; 3],
    weights: Tensor,
}

impl Attention {
    pub(crate) fn new(sizes: Sizes, x: &Tensor, bias: Option<&Tensor>, mask: Option<&Mask>) -> Result<Self> {
        let operands = operands(&sizes, x)?;
        let [q, k, _] = &operands;
        let mut logits = q.matmul(&k.t()?.contiguous()?)?.affine(sizes.scale, 0.0)?;
        if let Some(bias) = bias {
            logits = logits.broadcast_add(bias)?;
        }
        if let Some(visible) = visible(&sizes, mask, x, logits.dims())? {
            let hidden = logits.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?;
            logits = visible.where_cond(&logits, &hidden)?;
        }
        Ok(Self { sizes, operands, weights: softmax(&logits)? })
    }

    pub(crate) fn value(&self) -> Result<Tensor> {
        merged(&self.weights.matmul(&self.operands[2])?)
    }

    /// G = g vᵀ and R = P·(G − ⟨G⟩), for the heads of g.
    fn cotangent_squares(&self, g: &Tensor) -> Result<[Tensor; 2]> {
        let squares = g.matmul(&self.operands[2].t()?.contiguous()?)?;
        let by_logits = softmax_product(&self.weights, &squares)?;
        Ok([squares, by_logits])
    }

    /// The gradients by the packed input and by the bias.
    pub(crate) fn gradients(&self, g: &Tensor) -> Result<[Tensor; 2]> {
        let g = heads(&self.sizes, g)?;
        let [q, k, _] = &self.operands;
        let [_, r] = self.cotangent_squares(&g)?;
        let scale = self.sizes.scale;
        let by_q = r.matmul(k)?.affine(scale, 0.0)?;
        let by_k = transposed(&r)?.matmul(q)?.affine(scale, 0.0)?;
        Ok([packed([&by_q, &by_k, &transposed(&self.weights)?.matmul(&g)?])?, r.sum(0)?])
    }

    /// U = scale·(tq kᵀ + q tkᵀ).
    fn logit_tangent(&self, [tq, tk, _]: &[Tensor; 3]) -> Result<Tensor> {
        let [q, k, _] = &self.operands;
        let sum = (tq.matmul(&k.t()?.contiguous()?)? + q.matmul(&tk.t()?.contiguous()?)?)?;
        Ok(sum.affine(self.sizes.scale, 0.0)?)
    }

    fn output_tangent(&self, weights_tangent: &Tensor, tv: &Tensor) -> Result<Tensor> {
        merged(&(weights_tangent.matmul(&self.operands[2])? + self.weights.matmul(tv)?)?)
    }

    pub(crate) fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        let t = operands(&self.sizes, t)?;
        self.output_tangent(&softmax_product(&self.weights, &self.logit_tangent(&t)?)?, &t[2])
    }

    /// The JVP, and the gradients of ⟨g, J t⟩ by the packed input and by the bias.
    pub(crate) fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<[Tensor; 3]> {
        let (g, t) = (heads(&self.sizes, g)?, operands(&self.sizes, t)?);
        let (p, [q, k, _], [tq, tk, tv]) = (&self.weights, &self.operands, &t);
        let u = self.logit_tangent(&t)?;
        let [squares, r] = self.cotangent_squares(&g)?;
        let (tangent, cotangent) = ((p * &u)?.sum_keepdim(D::Minus1)?, (p * &squares)?.sum_keepdim(D::Minus1)?);
        let centred = u.broadcast_sub(&tangent)?;
        let w = ((squares * &centred)? - u.broadcast_mul(&cotangent)?)?;
        let m = softmax_product(p, &(w + g.matmul(&tv.t()?.contiguous()?)?)?)?;
        let weights_tangent = (p * centred)?;
        let scale = self.sizes.scale;
        let by_q = (m.matmul(k)? + r.matmul(tk)?)?.affine(scale, 0.0)?;
        let by_k = (transposed(&m)?.matmul(q)? + transposed(&r)?.matmul(tq)?)?.affine(scale, 0.0)?;
        let by_v = transposed(&weights_tangent)?.matmul(&g)?;
        Ok([self.output_tangent(&weights_tangent, tv)?, packed([&by_q, &by_k, &by_v])?, m.sum(0)?])
    }
}

fn transposed(x: &Tensor) -> Result<Tensor> {
    Ok(x.t()?.contiguous()?)
}

/// `[n, tokens, heads·d]` as `[n, heads, tokens, d]`.
fn heads(sizes: &Sizes, x: &Tensor) -> Result<Tensor> {
    let split = x.contiguous()?.reshape(((), sizes.tokens, sizes.heads, sizes.head_width))?;
    Ok(split.transpose(1, 2)?.contiguous()?)
}

/// The inverse of [`heads`].
fn merged(x: &Tensor) -> Result<Tensor> {
    Ok(x.transpose(1, 2)?.contiguous()?.flatten_from(2)?)
}

fn operands(sizes: &Sizes, x: &Tensor) -> Result<[Tensor; 3]> {
    let part = |which: usize| heads(sizes, &x.narrow(2, which * sizes.width(), sizes.width())?);
    Ok([part(0)?, part(1)?, part(2)?])
}

fn packed(parts: [&Tensor; 3]) -> Result<Tensor> {
    let parts = parts.into_iter().map(merged).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&parts, 2)?)
}

/// Which keys each query sees, shaped as the logits; none if every query sees every key.
fn visible(sizes: &Sizes, mask: Option<&Mask>, like: &Tensor, logits: &[usize]) -> Result<Option<Tensor>> {
    if mask.is_none() && !sizes.causal {
        return Ok(None);
    }
    let (tokens, samples) = (sizes.tokens, logits.first().copied().unwrap_or(0));
    let mut visible = Vec::with_capacity(samples * tokens * tokens);
    for sample in 0..samples {
        for query in 0..tokens {
            let row = mask.map(|mask| (sample % mask.samples * mask.rows + query % mask.rows) * tokens);
            visible.extend((0..tokens).map(|key| {
                let by_mask = row.zip(mask).is_none_or(|(row, mask)| mask.visible.get(row + key) != Some(&0));
                u8::from(by_mask && !(sizes.causal && key > query))
            }));
        }
    }
    let visible = Tensor::from_vec(visible, (samples, 1, tokens, tokens), like.device())?.to_dtype(DType::U8)?;
    Ok(Some(visible.broadcast_as(logits)?.contiguous()?))
}
