//! Shifted windows of an image as sequences of tokens, attention in them, and the merging of patches.

use candle_core::{DType, Device, Tensor};
use ops::{AttentionLinearization, AttentionMask, AttentionSettings, Linearized, attention};

use super::operation::{Partial, linearized_through};
use super::{Layer, LayerInput, LayerLinearization, LinearMap};
use crate::params::{Builder, Role};
use crate::{Error, Pass, Result};

/// Square windows that divide images, after a cyclic shift of the images up and to the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// `[height, width]` of the images.
    pub size: [usize; 2],
    /// Side of a window; divides both sides of the images.
    pub window: usize,
    /// Rows and columns of the shift.
    pub shift: usize,
}

/// `x` with its rows and columns moved by `shift` towards the start, those at the start to the end.
fn rolled(x: &Tensor, shift: usize) -> Result<Tensor> {
    let mut x = x.clone();
    for axis in [1, 2] {
        let size = x.dim(axis)?;
        let shift = shift % size.max(1);
        if shift > 0 {
            x = Tensor::cat(&[x.narrow(axis, shift, size - shift)?, x.narrow(axis, 0, shift)?], axis)?;
        }
    }
    Ok(x)
}

impl Windows {
    /// The windows of an image.
    pub fn count(&self) -> usize {
        self.size.iter().map(|side| side / self.window.max(1)).product()
    }

    /// Tokens of a window.
    pub fn tokens(&self) -> usize {
        self.window * self.window
    }

    /// `[n, h, w, c]` to `[n·windows, tokens, c]`.
    fn divide(&self, x: &Tensor) -> Result<Tensor> {
        let (samples, height, width, channels) = x.dims4()?;
        let window = self.window;
        if [height, width] != self.size || window == 0 || self.size.iter().any(|side| !side.is_multiple_of(window)) {
            let rule = "images have the size of the windows, whose side divides it".into();
            let (left, right) = (x.dims().to_vec(), vec![self.size[0], self.size[1], window]);
            return Err(Error::Shape { op: "windows", left, right, rule });
        }
        let x = rolled(x, self.shift)?.contiguous()?;
        let x = x.reshape(&[samples, height / window, window, width / window, window, channels][..])?;
        Ok(x.transpose(2, 3)?.contiguous()?.reshape((samples * self.count(), window * window, channels))?)
    }

    /// The inverse of [`Windows::divide`].
    fn join(&self, x: &Tensor) -> Result<Tensor> {
        let ([height, width], window) = (self.size, self.window);
        let (rows, _, channels) = x.dims3()?;
        let samples = rows / self.count().max(1);
        let x = x.contiguous()?.reshape(&[samples, height / window, width / window, window, window, channels][..])?;
        let x = x.transpose(2, 3)?.contiguous()?.reshape((samples, height, width, channels))?;
        // Moving by the rest of the size is moving back; both sides may differ.
        let mut x = x;
        for (axis, size) in [(1, height), (2, width)] {
            let back = (size - self.shift % size) % size;
            if back > 0 {
                x = Tensor::cat(&[x.narrow(axis, back, size - back)?, x.narrow(axis, 0, back)?], axis)?;
            }
        }
        Ok(x.contiguous()?)
    }

    /// Which tokens of a window see each other after the shift: those that are neighbours in the image. None without a shift.
    ///
    /// # Errors
    /// Those of [`AttentionMask::new`].
    pub fn mask(&self) -> Result<Option<AttentionMask>> {
        if self.shift == 0 {
            return Ok(None);
        }
        let Self { size: [height, width], window, shift } = *self;
        // The shifted image consists of up to three bands along each side, of which the last two are apart in the image.
        let band = |at: usize, size: usize| usize::from(at >= size - window) + usize::from(at >= size - shift);
        let region = |row: usize, column: usize| 3 * band(row, height) + band(column, width);
        let mut visible = Vec::with_capacity(self.count() * self.tokens() * self.tokens());
        for top in (0..height).step_by(window) {
            for left in (0..width).step_by(window) {
                let inside = (0..self.tokens()).map(|token| region(top + token / window, left + token % window));
                let regions: Vec<usize> = inside.collect();
                visible.extend(regions.iter().flat_map(|a| regions.iter().map(move |b| u8::from(a == b))));
            }
        }
        let visible = Tensor::from_vec(visible, (self.count(), self.tokens(), self.tokens()), &Device::Cpu)?;
        Ok(Some(AttentionMask::new(&visible.to_dtype(DType::U8)?)?))
    }
}

/// Images to windows of tokens: `[n, h, w, c]` to `[n·windows, tokens, c]`.
#[derive(Debug, Clone, Copy)]
pub struct DivideWindows(
    /// The windows.
    pub Windows,
);

impl LinearMap for DivideWindows {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.0.divide(x)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        self.0.join(g)
    }
}

/// Windows of tokens back to images, the inverse of [`DivideWindows`].
#[derive(Debug, Clone, Copy)]
pub struct JoinWindows(
    /// The windows.
    pub Windows,
);

impl LinearMap for JoinWindows {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.0.join(x)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        self.0.divide(g)
    }
}

/// Attention in windows with one learned summand of the logits for each relative position and head, timm's `WindowAttention` between
/// its linear layers.
///
/// **Shapes** `[n·windows, tokens, 3·d]` to `[n·windows, tokens, d]`.
pub struct WindowAttention {
    /// `[(2·window − 1)², heads]`.
    table: Tensor,
    /// The row of the table for each query and key.
    positions: Tensor,
    tokens: usize,
    settings: AttentionSettings,
    mask: Option<AttentionMask>,
}

impl WindowAttention {
    /// The attention of this number of heads, with the parameter `relative_position_bias_table`.
    ///
    /// # Errors
    /// [`Error::Shape`] when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, windows: Windows, heads: usize) -> Result<Self> {
        let (window, tokens) = (windows.window, windows.tokens());
        let across = 2 * window - 1;
        let role = Role::TruncatedNormal { deviation: 0.02 };
        let table = builder.tensor("relative_position_bias_table", &[across * across, heads], role)?;
        let apart = |query: usize, key: usize| (query + window - 1 - key) as u32;
        let row = |query: usize, key: usize| {
            let down = apart(query / window, key / window);
            down * across as u32 + apart(query % window, key % window)
        };
        let rows: Vec<u32> = (0..tokens).flat_map(|query| (0..tokens).map(move |key| row(query, key))).collect();
        let positions = Tensor::from_vec(rows, tokens * tokens, table.device())?;
        Ok(Self { table, positions, tokens, settings: AttentionSettings::new(heads), mask: windows.mask()? })
    }

    /// The summands of the logits, `[heads, tokens, tokens]`.
    fn bias(&self, table: &Tensor) -> Result<Tensor> {
        let rows = table.index_select(&self.positions, 0)?;
        Ok(rows.t()?.contiguous()?.reshape((self.settings.heads, self.tokens, self.tokens))?)
    }

    /// The gradient by the table for a gradient by the summands.
    fn by_table(&self, bias: Tensor) -> Result<Tensor> {
        let rows = bias.reshape((self.settings.heads, self.tokens * self.tokens))?.t()?.contiguous()?;
        Ok(self.table.detach().zeros_like()?.index_add(&self.positions, &rows, 0)?)
    }
}

impl Layer for WindowAttention {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(attention(x, Some(&self.bias(&self.table)?), self.mask.as_ref(), self.settings)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let bias = self.bias(&self.table.detach())?;
        let operation = AttentionLinearization::at(&input.x, Some(&bias), self.mask.as_ref(), self.settings)?;
        let by_table = |by_bias: Partial| {
            by_bias.into_iter().map(|bias| bias.map(|bias| self.by_table(bias)).transpose()).collect()
        };
        Ok(linearized_through(operation.value()?, operation, input, vec![self.table.clone()], by_table))
    }
}

/// Four neighbouring pixels as one with four times the channels: `[n, h, w, c]` to `[n, h/2, w/2, 4·c]`, in timm's order (column,
/// row, channel).
#[derive(Debug, Clone, Copy)]
pub struct MergePatches;

impl LinearMap for MergePatches {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (samples, height, width, channels) = x.dims4()?;
        if !height.is_multiple_of(2) || !width.is_multiple_of(2) {
            let rule = "both sides of an image are even".into();
            return Err(Error::Shape { op: "merge patches", left: x.dims().to_vec(), right: Vec::new(), rule });
        }
        let x = x.contiguous()?.reshape(&[samples, height / 2, 2, width / 2, 2, channels][..])?;
        let x = x.permute([0, 1, 3, 4, 2, 5])?.contiguous()?;
        Ok(x.reshape((samples, height / 2, width / 2, 4 * channels))?)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        let (samples, height, width, channels) = g.dims4()?;
        let g = g.contiguous()?.reshape(&[samples, height, width, 2, 2, channels / 4][..])?;
        let g = g.permute([0, 1, 4, 2, 3, 5])?.contiguous()?;
        Ok(g.reshape((samples, 2 * height, 2 * width, channels / 4))?)
    }
}
