//! Rows of active channels and weights, in the order in which the products read them.

use std::mem::MaybeUninit;

use super::active_channels::ActiveChannels;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element, uninitialised};

/// Numbers of a row that one task gathers.
const STRETCH: usize = 512;
/// Multiplications that take as long as moving one number.
pub(super) const MOVING: usize = 8;

/// The weights as `[tap, out, in]`.
pub(super) fn by_tap<T: Element>(g: &ConvGeometry, weight: &[T]) -> Vec<T> {
    let (taps, inputs, outputs) = (g.kernel[0] * g.kernel[1], g.in_channels, g.out_channels);
    let write = |to: &mut [MaybeUninit<T>]| {
        let to = Shared::new(to.as_mut_ptr().cast::<T>());
        for_each_task(outputs, MOVING * weight.len(), |output| {
            let from = &weight[output * inputs * taps..][..inputs * taps];
            for tap in 0..taps {
                let row = to.get().wrapping_add((tap * outputs + output) * inputs).cast::<MaybeUninit<T>>();
                // SAFETY: the row lies within the vector; no other task has this output channel.
                let row = unsafe { std::slice::from_raw_parts_mut(row, inputs) };
                for (to, from) in row.iter_mut().zip(from[tap..].iter().step_by(taps)) {
                    to.write(*from);
                }
            }
        });
    };
    // SAFETY: every tap of every pair of channels is written.
    unsafe { uninitialised::written(weight.len(), write) }
}

/// The values of all cotangents of one image at active channels: `[panel][value][cotangent]`.
pub(super) struct GatheredRows<T> {
    values: Scratch<T>,
    layout: PanelLayout,
}

/// The division of cotangents into panels.
#[derive(Clone, Copy)]
pub(super) struct PanelLayout {
    pub(super) cotangents: usize,
    /// Cotangents per panel.
    pub(super) width: usize,
    /// Values per cotangent.
    values: usize,
}

impl PanelLayout {
    pub(super) fn panels(&self) -> usize {
        self.cotangents.div_ceil(self.width)
    }

    /// Cotangents of this panel.
    pub(super) fn used(&self, panel: usize) -> usize {
        self.width.min(self.cotangents - panel * self.width)
    }

    /// Numbers from the start of this value to the end of its panel.
    pub(super) fn left(&self, value: usize) -> usize {
        (self.values - value) * self.width
    }

    /// The start of a value of a panel.
    pub(super) fn start(&self, panel: usize, value: usize) -> usize {
        (panel * self.values + value) * self.width
    }
}

impl<T: Element> GatheredRows<T> {
    /// Gathers the cotangents of one image.
    pub(super) fn new(set: InstructionSet, g: &ConvGeometry, active: &ActiveChannels, cotangents: &[&[T]]) -> Self {
        let layout = PanelLayout { cotangents: cotangents.len(), width: set.panel::<T>(), values: active.count() };
        let mut values = Scratch::<T>::new(layout.start(layout.panels(), 0));
        let to = Shared::new(values.pointer());
        let (pixels, channels) = (g.out_height() * g.out_width(), g.out_channels);
        let together = (STRETCH / channels).max(1);
        for_each_task(pixels.div_ceil(together), MOVING * layout.values * layout.cotangents, |task| {
            for (cotangent, row) in cotangents.iter().enumerate() {
                let (panel, lane) = (cotangent / layout.width, cotangent % layout.width);
                for pixel in task * together..pixels.min((task + 1) * together) {
                    let row = &row[active.source(pixel) * channels..][..channels];
                    let mut to = to.get().wrapping_add(layout.start(panel, active.start(pixel)) + lane);
                    for channel in active.at(pixel) {
                        // SAFETY: active channels are channels of the row; the address lies within the scratch, at a pixel
                        // of this task.
                        unsafe { to.write(*row.get_unchecked(*channel as usize)) };
                        to = to.wrapping_add(layout.width);
                    }
                }
            }
        });
        Self { values, layout }
    }

    pub(super) fn shared(&mut self) -> SharedRows<T> {
        SharedRows { from: Shared::reading(self.values.pointer()), layout: self.layout }
    }
}

/// [`GatheredRows`] that several tasks read.
#[derive(Clone, Copy)]
pub(super) struct SharedRows<T> {
    pub(super) from: Shared<T>,
    pub(super) layout: PanelLayout,
}
