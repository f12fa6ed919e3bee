//! `Attention` and `RotaryEmbedding` of operator set 23.

use candle_core::Tensor;
use ops::AttentionSettings;

use super::arithmetic::{add, multiply};
use super::linear::product;
use super::softmax::softmax_along;
use super::{Call, one};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::message::Kind;
use crate::node::Node;
use crate::value::{Value, Whole};

/// `[n, heads, t, d]` of a tensor `[n, t, heads·d]`, or the tensor itself.
fn by_head(x: &Tensor, heads: i64) -> Result<Tensor> {
    if x.rank() == 4 {
        return Ok(x.clone());
    }
    let (n, t, width) = x.dims3()?;
    let heads = usize::try_from(heads).ok().filter(|heads| *heads > 0 && width % heads == 0);
    let heads = heads.ok_or_else(|| operand(format!("the number of heads for a width of {width}")))?;
    Ok(x.reshape((n, t, heads, width / heads))?.transpose(1, 2)?.contiguous()?)
}

/// The settings of an attention without mask, past keys, cap and other outputs, for queries of these sizes; none for other forms.
pub(super) fn plain_settings(node: &Node, queries: &[usize]) -> Result<Option<AttentionSettings>> {
    let (heads, width) = match *queries {
        [_, heads, _, width] => (heads, width),
        [_, _, columns] => {
            let heads = usize::try_from(node.integer("q_num_heads", 0)?).unwrap_or(0);
            if heads == 0 || columns % heads != 0 || node.integer("kv_num_heads", 0)? != heads as i64 {
                return Ok(None);
            }
            (heads, columns / heads)
        }
        _ => return Ok(None),
    };
    let has_more = node.inputs.iter().skip(3).any(Option::is_some) || node.outputs.iter().flatten().count() > 1;
    if has_more || width == 0 || node.float("softcap", 0.0)? != 0.0 {
        return Ok(None);
    }
    let scale = match node.attribute("scale") {
        Some(_) => node.float("scale", 1.0)?,
        None => 1.0 / (width as f64).sqrt(),
    };
    let causal = node.flag("is_causal", false)?;
    Ok(Some(AttentionSettings { causal, scale: Some(scale), ..AttentionSettings::new(heads) }))
}

/// Attention by the operation of the crate `ops`, for queries, keys and values of one shape.
fn fused(q: &Tensor, k: &Tensor, v: &Tensor, settings: AttentionSettings) -> Result<Tensor> {
    let flat = |x: &Tensor| -> Result<Tensor> {
        if x.rank() == 3 { Ok(x.clone()) } else { Ok(x.transpose(1, 2)?.contiguous()?.flatten_from(2)?) }
    };
    let y = ops::attention(&Tensor::cat(&[flat(q)?, flat(k)?, flat(v)?], 2)?, None, None, settings)?;
    if q.rank() == 3 {
        return Ok(y);
    }
    let (n, tokens, width) = y.dims3()?;
    Ok(y.reshape((n, tokens, settings.heads, width / settings.heads.max(1)))?.transpose(1, 2)?.contiguous()?)
}

/// Scaled dot-product attention: softmax(scale·Q·Kᵀ + mask)·V, by head. Past keys and values come before the given ones.
pub(super) fn attention(call: &Call) -> Result<Vec<Value>> {
    let node = call.node;
    let (q, k, v) = (call.float(0)?, call.float(1)?, call.float(2)?);
    if let Some(settings) = plain_settings(node, q.dims())?
        && q.dims() == k.dims()
        && q.dims() == v.dims()
        && q.elem_count() > 0
    {
        return one(fused(q, k, v, settings)?);
    }
    let is_flat = q.rank() == 3;
    let (heads, shared) = (node.integer("q_num_heads", 0)?, node.integer("kv_num_heads", 0)?);
    let q = by_head(call.float(0)?, heads)?;
    let (given_k, given_v) = (by_head(call.float(1)?, shared)?, by_head(call.float(2)?, shared)?);
    if call.optional(6).is_some() {
        return Err(unsupported("attention with numbers of valid keys"));
    }
    let with_past = |past: Option<&Tensor>, given: Tensor| -> Result<Tensor> {
        match past {
            Some(past) => Ok(Tensor::cat(&[past, &given], 2)?),
            None => Ok(given),
        }
    };
    let past = call.optional_float(4)?.map_or(0, |past| past.dims().get(2).copied().unwrap_or(0));
    let present = [with_past(call.optional_float(4)?, given_k)?, with_past(call.optional_float(5)?, given_v)?];
    let (n, heads, tokens, width) = q.dims4()?;
    let (_, groups, keys, _) = present[0].dims4()?;
    if groups == 0 || heads % groups != 0 {
        return Err(operand(format!("{heads} heads share {groups} keys")));
    }
    // Each key serves heads / groups neighbouring heads.
    let repeated = |x: &Tensor| -> Result<Tensor> {
        if groups == heads {
            return Ok(x.clone());
        }
        let (n, groups, t, d) = x.dims4()?;
        Ok(x.unsqueeze(2)?.broadcast_as((n, groups, heads / groups, t, d))?.contiguous()?.reshape((n, heads, t, d))?)
    };
    let (k, v) = (repeated(&present[0])?, repeated(&present[1])?);
    let scale = match node.attribute("scale") {
        Some(_) => node.float("scale", 1.0)?,
        None => 1.0 / (width as f64).sqrt(),
    };
    let mut scores = product(&q.affine(scale, 0.0)?, &k.transpose(2, 3)?.contiguous()?)?;
    let cap = node.float("softcap", 0.0)?;
    if cap > 0.0 {
        scores = ops::Activation::Tanh.forward(&scores.affine(1.0 / cap, 0.0)?)?.affine(cap, 0.0)?;
    }
    let mut summands = Vec::new();
    if let Some(mask) = call.optional(3) {
        summands.push(bias(call, mask, keys)?);
    }
    if node.flag("is_causal", false)? {
        let seen = (0..tokens * keys).map(|at| i64::from(at % keys <= at / keys + past)).collect();
        summands.push(bias(call, &Whole::new(Kind::Bool, vec![tokens, keys], seen).into(), keys)?);
    }
    let y = product(&masked_softmax(&scores, summands)?, &v)?;
    let y = if is_flat {
        let (_, _, _, width) = y.dims4()?;
        y.transpose(1, 2)?.contiguous()?.reshape((n, tokens, heads * width))?
    } else {
        y
    };
    let [k, v] = present;
    Ok(vec![y.into(), k.into(), v.into()])
}

/// Softmax of the scores plus summands over the keys. The probabilities of a row without a visible key are 0.
fn masked_softmax(scores: &Tensor, summands: Vec<Tensor>) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for summand in summands {
        total = Some(match total {
            None => summand,
            Some(total) => add(&total, &summand)?,
        });
    }
    let Some(total) = total.filter(|total| total.rank() > 0) else { return softmax_along(scores, 3) };
    let last = total.rank() - 1;
    let hidden = total.detach().max_keepdim(last)?;
    let hidden =
        hidden.eq(&Tensor::full(f64::NEG_INFINITY, hidden.dims(), hidden.device())?.to_dtype(hidden.dtype())?)?;
    let rows = hidden.broadcast_as(total.dims())?.contiguous()?;
    let visible = rows.where_cond(&total.detach().zeros_like()?, &total)?;
    let kept = hidden.to_dtype(total.dtype())?.affine(-1.0, 1.0)?;
    multiply(&softmax_along(&add(scores, &visible)?, 3)?, &kept)
}

/// A mask as a summand of the scores: −∞ where a boolean mask is false.
fn bias(call: &Call, mask: &Value, keys: usize) -> Result<Tensor> {
    let tensor = match mask {
        Value::Float(tensor) => tensor.clone(),
        Value::Whole(mask) => {
            let allowed = mask.to_mask(call.context.device)?;
            let dims = mask.dims.as_slice();
            let fill = |number: f64| super::shape::full(call, number, dims);
            allowed.where_cond(&fill(0.0)?, &fill(f64::NEG_INFINITY)?)?
        }
    };
    // A shorter mask hides the keys beyond it.
    let given = tensor.dims().last().copied().unwrap_or(0);
    if given >= keys || tensor.rank() == 0 {
        return Ok(tensor);
    }
    let last = tensor.rank() - 1;
    Ok(super::padding::pad_constant(&tensor.into(), last, [0, (keys - given) as i64], f64::NEG_INFINITY)?
        .float()?
        .clone())
}

pub(super) fn refuses(node: &Node) -> Option<String> {
    let mode = node.integer("qk_matmul_output_mode", 0).ok()?;
    (mode != 0 && node.outputs.len() > 3).then(|| format!("qk_matmul_output_mode = {mode}"))
}

/// `RotaryEmbedding`: pairs of coordinates rotated by position.
pub(super) fn rotary(call: &Call) -> Result<Vec<Value>> {
    let node = call.node;
    let input = call.float(0)?;
    let is_flat = input.rank() == 3;
    let x = by_head(input, node.integer("num_heads", 0)?)?;
    let (n, heads, tokens, width) = x.dims4()?;
    let rotated = usize::try_from(node.integer("rotary_embedding_dim", 0)?).unwrap_or(0);
    let rotated = if rotated == 0 { width } else { rotated };
    if rotated % 2 != 0 || rotated > width {
        return Err(operand(format!("{rotated} of {width} coordinates are rotated")));
    }
    let half = rotated / 2;
    let table = |at: usize| -> Result<Tensor> {
        let table = Value::from(call.float(at)?.clone());
        let chosen = match call.optional(3) {
            None => table,
            Some(positions) => {
                let positions = positions.whole()?;
                let indices: Vec<usize> = positions
                    .data
                    .iter()
                    .map(|at| usize::try_from(*at).map_err(|_| operand("a negative position")))
                    .collect::<Result<_>>()?;
                super::indexing::select(&table, 0, &indices)?
            }
        };
        let batch = chosen.count() / (tokens * half).max(1);
        Ok(chosen.float()?.contiguous()?.reshape((batch, 1, tokens, half))?)
    };
    let (cosine, sine) = (table(1)?, table(2)?);
    let interleaved = node.flag("interleaved", false)?;
    let pairs = x.narrow(3, 0, rotated)?.contiguous()?;
    let (a, b) = if interleaved {
        let pairs = pairs.reshape((n, heads, tokens, half, 2))?;
        (pairs.narrow(4, 0, 1)?.squeeze(4)?.contiguous()?, pairs.narrow(4, 1, 1)?.squeeze(4)?.contiguous()?)
    } else {
        (pairs.narrow(3, 0, half)?.contiguous()?, pairs.narrow(3, half, half)?.contiguous()?)
    };
    let real = multiply(&a, &cosine)?.sub(&multiply(&b, &sine)?)?;
    let imaginary = multiply(&a, &sine)?.add(&multiply(&b, &cosine)?)?;
    let turned = if interleaved {
        Tensor::stack(&[&real, &imaginary], 4)?.reshape((n, heads, tokens, rotated))?
    } else {
        Tensor::cat(&[&real, &imaginary], 3)?
    };
    let y = if rotated < width { Tensor::cat(&[&turned, &x.narrow(3, rotated, width - rotated)?], 3)? } else { turned };
    if !is_flat {
        return one(y);
    }
    one(y.transpose(1, 2)?.contiguous()?.reshape((n, tokens, heads * width))?)
}
