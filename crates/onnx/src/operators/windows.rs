//! The windows of convolution and pooling: kernel, strides, dilations and padding of every spatial dimension.

use super::Call;
use crate::Result;
use crate::error::operand;
use crate::node::Node;

/// The windows along the spatial dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Windows {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    /// Elements before and after each dimension.
    pub(super) pads: Vec<[usize; 2]>,
    /// The number of windows along each dimension.
    pub(super) counts: Vec<usize>,
}

impl Windows {
    /// The windows of a node on an input with these spatial sizes.
    pub(super) fn of(call: &Call, sizes: &[usize], kernel: Option<&[usize]>) -> Result<Self> {
        let node = call.node;
        let rank = sizes.len();
        let kernel = match (node.integers("kernel_shape")?, kernel) {
            (Some(stated), _) => positive("kernel_shape", stated)?,
            (None, Some(kernel)) => kernel.to_vec(),
            (None, None) => return Err(operand("the kernel's shape is missing")),
        };
        let strides = numbers(node, "strides", rank)?;
        let dilations = numbers(node, "dilations", rank)?;
        if kernel.len() != rank || strides.len() != rank || dilations.len() != rank {
            return Err(operand(format!("windows {kernel:?} with strides {strides:?} in {rank} dimensions")));
        }
        let extents: Vec<usize> = kernel
            .iter()
            .zip(&dilations)
            .map(|(kernel, dilation)| (kernel - 1).saturating_mul(*dilation).saturating_add(1))
            .collect();
        let ceil = node.flag("ceil_mode", false)?;
        let (mut pads, mut counts) = (Vec::new(), Vec::new());
        for at in 0..rank {
            let (size, stride, extent) = (sizes[at], strides[at], extents[at]);
            let pad = match node.text("auto_pad", "NOTSET")? {
                "SAME_UPPER" => same(size, stride, extent, false),
                "SAME_LOWER" => same(size, stride, extent, true),
                "VALID" => [0, 0],
                _ => stated_pads(node, rank, at)?,
            };
            let padded = size.saturating_add(pad[0]).saturating_add(pad[1]);
            let Some(room) = padded.checked_sub(extent) else {
                return Err(operand(format!("a window of {extent} in a padded dimension of {padded}")));
            };
            let mut count = room / stride + 1;
            // A further window, if it starts within the input or the padding before it.
            if ceil && !room.is_multiple_of(stride) && count * stride < size + pad[0] {
                count += 1;
            }
            pads.push(pad);
            counts.push(count);
        }
        Ok(Self { kernel, strides, dilations, pads, counts })
    }

    /// How far a window reaches.
    pub(super) fn extent(&self, at: usize) -> usize {
        (self.kernel[at] - 1) * self.dilations[at] + 1
    }

    /// The elements that the windows need behind a dimension of this size: its padding, and those of a last window beyond it.
    pub(super) fn needed_after(&self, at: usize, size: usize) -> i64 {
        let end = (self.counts[at].max(1) - 1) * self.strides[at] + self.extent(at);
        end as i64 - (size + self.pads[at][0]) as i64
    }
}

/// Padding such that the number of windows is the size divided by the stride, rounded up.
pub(super) fn same(size: usize, stride: usize, extent: usize, lower: bool) -> [usize; 2] {
    let count = size.div_ceil(stride);
    let total = (count.max(1) - 1).saturating_mul(stride).saturating_add(extent).saturating_sub(size);
    let (small, large) = (total / 2, total - total / 2);
    if lower { [large, small] } else { [small, large] }
}

fn stated_pads(node: &Node, rank: usize, at: usize) -> Result<[usize; 2]> {
    let Some(pads) = node.integers("pads")? else { return Ok([0, 0]) };
    let pad = |at: usize| pads.get(at).and_then(|pad| usize::try_from(*pad).ok());
    match (pads.len() == 2 * rank, pad(at), pad(at + rank)) {
        (true, Some(before), Some(after)) => Ok([before, after]),
        _ => Err(operand(format!("pads {pads:?} in {rank} dimensions"))),
    }
}

pub(super) fn numbers(node: &Node, name: &str, rank: usize) -> Result<Vec<usize>> {
    node.integers(name)?.map_or_else(|| Ok(vec![1; rank]), |values| positive(name, values))
}

fn positive(name: &str, values: &[i64]) -> Result<Vec<usize>> {
    let number = |value: &i64| usize::try_from(*value).ok().filter(|value| *value > 0 && *value < 1 << 24);
    values.iter().map(number).collect::<Option<_>>().ok_or_else(|| operand(format!("`{name}` is {values:?}")))
}

/// An `auto_pad` that the standard does not know.
pub(super) fn refuses_auto_pad(node: &Node) -> Option<String> {
    match node.text("auto_pad", "NOTSET").ok()? {
        "NOTSET" | "SAME_UPPER" | "SAME_LOWER" | "VALID" | "" => None,
        other => Some(format!("auto_pad = {other}")),
    }
}
