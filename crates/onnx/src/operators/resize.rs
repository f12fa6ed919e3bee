//! `Resize` and `Upsample`: each dimension is interpolated by itself.

use super::indexing::select;
use super::joining::along;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::{Value, axis};

/// How an output position is mapped to the input.
#[derive(Clone, Copy)]
struct Coordinates<'a> {
    mode: &'a str,
    scale: f64,
    input: usize,
    output: usize,
    unrounded_lengths: bool,
}

impl Coordinates<'_> {
    fn source(&self, at: usize) -> f64 {
        let (x, scale) = (at as f64, self.scale);
        let (input, output) = (self.input as f64, self.output as f64);
        match self.mode {
            "asymmetric" => x / scale,
            "align_corners" if self.output == 1 => 0.0,
            "align_corners" if self.unrounded_lengths => x * (input - 1.0) / (scale * input - 1.0),
            "align_corners" => x * (input - 1.0) / (output - 1.0),
            "pytorch_half_pixel" if self.output == 1 => 0.0,
            "half_pixel_symmetric" => {
                let adjusted = output / (scale * input);
                input / 2.0 * (1.0 - adjusted) + (x + 0.5) / scale - 0.5
            }
            _ => (x + 0.5) / scale - 0.5,
        }
    }
}

/// Weights of the input positions for one output position.
fn weights(mode: &str, source: f64, coordinates: Coordinates, call: &Call) -> Result<Vec<(i64, f64)>> {
    let antialias = call.node.flag("antialias", false)?;
    // Where the output is smaller, an antialiased filter is as much wider.
    let stretch = if antialias { coordinates.scale.min(1.0) } else { 1.0 };
    let cubic = call.node.float("cubic_coeff_a", -0.75)?;
    let radius = if mode == "cubic" { 2.0 } else { 1.0 };
    let filter = |distance: f64| {
        let d = distance.abs();
        match mode {
            "cubic" if d < 1.0 => (cubic + 2.0) * d * d * d - (cubic + 3.0) * d * d + 1.0,
            "cubic" if d < 2.0 => cubic * (d * d * d - 5.0 * d * d + 8.0 * d - 4.0),
            "cubic" => 0.0,
            _ => (1.0 - d).max(0.0),
        }
    };
    let reach = radius / stretch;
    let (first, last) = ((source - reach).floor() as i64, (source + reach).ceil() as i64);
    let mut taps: Vec<(i64, f64)> = (first..=last).map(|at| (at, filter((at as f64 - source) * stretch))).collect();
    let size = coordinates.input as i64;
    if call.node.flag("exclude_outside", false)? {
        taps.retain(|(at, _)| (0..size).contains(at));
    }
    taps.retain(|(_, weight)| *weight != 0.0);
    let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
    Ok(taps.into_iter().map(|(at, weight)| (at.clamp(0, size - 1), weight / total)).collect())
}

fn nearest(call: &Call, source: f64, size: usize) -> Result<usize> {
    let rounded = match call.node.text("nearest_mode", "round_prefer_floor")? {
        "round_prefer_ceil" => (source + 0.5).floor(),
        "floor" => source.floor(),
        "ceil" => source.ceil(),
        _ => (source - 0.5).ceil(),
    };
    Ok(rounded.clamp(0.0, size as f64 - 1.0) as usize)
}

/// The output sizes and scales of the dimensions that are resized.
fn targets(call: &Call, dims: &[usize]) -> Result<Vec<(usize, usize, f64)>> {
    let node = call.node;
    let axes: Vec<usize> = match node.integers("axes")? {
        Some(axes) => axes.iter().map(|at| axis(*at, dims.len())).collect::<Result<_>>()?,
        None => (0..dims.len()).collect(),
    };
    // Up to operator set 10 the scales are the second input, or an attribute.
    let is_old = node.op == "Upsample" || node.version < 11;
    let scales = match (is_old, node.floats("scales")?) {
        (true, Some(scales)) => Some(scales.iter().map(|scale| f64::from(*scale)).collect()),
        (true, None) => Some(call.at(1)?.numbers()?),
        (false, _) => call.optional(2).map(Value::numbers).transpose()?.filter(|scales| !scales.is_empty()),
    };
    let wrong = || operand("one scale or size for each dimension is expected");
    if let Some(scales) = scales {
        if scales.len() != axes.len() {
            return Err(wrong());
        }
        if scales.iter().any(|scale| !(*scale > 0.0 && *scale < 1e6)) {
            return Err(operand("scales between 0 and 1,000,000 are expected"));
        }
        let target = |(axis, scale): (&usize, &f64)| (*axis, (dims[*axis] as f64 * scale).floor() as usize, *scale);
        return Ok(axes.iter().zip(&scales).map(target).collect());
    }
    let sizes = super::sizes(&call.list(3)?)?;
    if sizes.len() != axes.len() {
        return Err(wrong());
    }
    let ratios: Vec<f64> =
        axes.iter().zip(&sizes).map(|(axis, size)| *size as f64 / dims[*axis].max(1) as f64).collect();
    let common = match node.text("keep_aspect_ratio_policy", "stretch")? {
        "not_larger" => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.iter().copied().fold(0.0, f64::max)),
        _ => None,
    };
    Ok(axes
        .iter()
        .enumerate()
        .map(|(at, axis)| match common {
            None => (*axis, sizes[at], ratios[at]),
            Some(scale) => (*axis, (scale * dims[*axis] as f64).round() as usize, scale),
        })
        .collect())
}

pub(super) fn resize(call: &Call) -> Result<Vec<Value>> {
    let node = call.node;
    let is_old = node.op == "Upsample" || node.version < 11;
    let mut x = call.at(0)?.clone();
    let mode = node.text("mode", "nearest")?;
    let coordinates = if is_old { "asymmetric" } else { node.text("coordinate_transformation_mode", "half_pixel")? };
    let targets = targets(call, x.dims())?;
    let mut dims = x.dims().to_vec();
    for (axis, output, _) in &targets {
        dims[*axis] = *output;
    }
    call.check_count(&dims)?;
    for (axis, output, scale) in targets {
        let input = x.dims()[axis];
        if scale == 1.0 && input == output {
            continue;
        }
        if input == 0 || output == 0 {
            return Err(operand("resizing of or to nothing"));
        }
        let unrounded_lengths = call.context.unrounded_lengths;
        let place = Coordinates { mode: coordinates, scale, input, output, unrounded_lengths };
        if mode == "nearest" {
            let source = |at: usize| {
                if is_old {
                    Ok((place.source(at).floor() as usize).min(input - 1))
                } else {
                    nearest(call, place.source(at), input)
                }
            };
            let indices: Vec<usize> = (0..output).map(source).collect::<Result<_>>()?;
            x = select(&x, axis, &indices)?;
            continue;
        }
        call.check_count(&[input, output])?;
        let mut matrix = vec![0.0; input * output];
        for at in 0..output {
            for (from, weight) in weights(mode, place.source(at), place, call)? {
                matrix[from as usize * output + at] += weight;
            }
        }
        x = along(x.float()?, axis, &matrix, [input, output])?.into();
    }
    one(x)
}

pub(super) fn refuses(node: &Node) -> Option<String> {
    let mode = node.text("mode", "nearest").ok()?;
    if !["nearest", "linear", "cubic", "bilinear"].contains(&mode) {
        return Some(format!("mode = {mode}"));
    }
    let coordinates = node.text("coordinate_transformation_mode", "half_pixel").ok()?;
    let known = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"];
    (!known.contains(&coordinates)).then(|| format!("coordinate_transformation_mode = {coordinates}"))
}
