//! Sliding windows as views: one view per tap, with the pixel that the tap reads at every position of the window.

use candle_core::Tensor;

use crate::Result;

/// The sizes of a sliding window on images `[n, h, w, c]`; pairs are `[vertical, horizontal]`.
pub(super) struct Windows {
    /// Height and width of the images.
    pub(super) image: [usize; 2],
    /// Height and width of the result.
    pub(super) out: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) dilation: [usize; 2],
}

impl Windows {
    /// The taps in row-major order, as (row, column) of the kernel.
    pub(super) fn taps(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [height, width] = self.kernel;
        (0..height).flat_map(move |row| (0..width).map(move |column| [row, column]))
    }

    /// The number of strides that contain every window along an axis.
    fn cells(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] / self.stride[axis] + self.out[axis]
    }

    fn extent(&self, axis: usize) -> usize {
        self.cells(axis) * self.stride[axis]
    }

    /// Pixels of the image along an axis that lie within [`Windows::extent`].
    fn covered(&self, axis: usize) -> usize {
        self.image[axis].min(self.extent(axis) - self.padding[axis])
    }

    /// The images padded with `value`, cropped or extended to whole strides.
    pub(super) fn padded(&self, x: &Tensor, value: f64) -> Result<Tensor> {
        let mut x = x.clone();
        for axis in 0..2 {
            let covered = self.covered(axis);
            let after = self.extent(axis) - self.padding[axis] - covered;
            x = padded_along(&x.narrow(axis + 1, 0, covered)?, axis + 1, self.padding[axis], after, value)?;
        }
        Ok(x.contiguous()?)
    }

    /// The adjoint of [`Windows::padded`] with value 0.
    pub(super) fn unpadded(&self, padded: &Tensor) -> Result<Tensor> {
        let mut x = padded.clone();
        for axis in 0..2 {
            let covered = self.covered(axis);
            x = x.narrow(axis + 1, self.padding[axis], covered)?;
            x = x.pad_with_zeros(axis + 1, 0, self.image[axis] - covered)?;
        }
        Ok(x.contiguous()?)
    }

    /// The pixels that one tap reads: a view `[n, h', w', c]` of padded images.
    pub(super) fn tap(&self, padded: &Tensor, tap: [usize; 2]) -> Result<Tensor> {
        let (batch, _, _, channels) = padded.dims4()?;
        let [rows, columns] = [0, 1].map(|axis| self.cells(axis));
        let [down, across] = self.stride;
        let mut view = padded.reshape(&[batch, rows, down, columns, across, channels])?;
        for (axis, tap) in tap.into_iter().enumerate() {
            let offset = tap * self.dilation[axis];
            view = view.narrow(2 * axis + 1, offset / self.stride[axis], self.out[axis])?;
            view = view.narrow(2 * axis + 2, offset % self.stride[axis], 1)?;
        }
        Ok(view.squeeze(4)?.squeeze(2)?)
    }

    /// The adjoint of [`Windows::tap`]: padded images with `values` `[n, h', w', c]` at the pixels that the tap reads, 0 elsewhere.
    pub(super) fn placed(&self, values: &Tensor, tap: [usize; 2]) -> Result<Tensor> {
        let (batch, _, _, channels) = values.dims4()?;
        let mut cells = values.unsqueeze(2)?.unsqueeze(4)?;
        for (axis, tap) in tap.into_iter().enumerate() {
            let (offset, stride) = (tap * self.dilation[axis], self.stride[axis]);
            let before = offset / stride;
            cells = cells.pad_with_zeros(2 * axis + 1, before, self.cells(axis) - self.out[axis] - before)?;
            cells = cells.pad_with_zeros(2 * axis + 2, offset % stride, stride - 1 - offset % stride)?;
        }
        Ok(cells.contiguous()?.reshape((batch, self.extent(0), self.extent(1), channels))?)
    }
}

/// `x` padded with `value` along an axis.
fn padded_along(x: &Tensor, axis: usize, before: usize, after: usize, value: f64) -> Result<Tensor> {
    let border = |size: usize| -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        if let Some(along) = dims.get_mut(axis) {
            *along = size;
        }
        filled(value, &dims, x)
    };
    let mut parts = Vec::with_capacity(3);
    if before > 0 {
        parts.push(border(before)?);
    }
    parts.push(x.clone());
    if after > 0 {
        parts.push(border(after)?);
    }
    Ok(Tensor::cat(&parts, axis)?)
}

/// A constant tensor with the dtype and device of `like`.
pub(super) fn filled(value: f64, dims: &[usize], like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::ones(dims, like.dtype(), like.device())?.affine(value, 0.0)?)
}
