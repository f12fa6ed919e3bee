//! Position embeddings of images, resampled for another image size.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::WeightsFile;
use super::names::without_prefixes;
use crate::zoo::ImagePositions;
use crate::{Architecture, Error, Result};

/// The position embeddings that [`WeightsFile::interpolate_positions`] replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InterpolatedPositions {
    /// The name of the tensor in the file.
    pub name: String,
    /// Rows and columns of patches in the file.
    pub from: [usize; 2],
    /// Rows and columns of patches of the architecture.
    pub to: [usize; 2],
}

impl std::fmt::Display for InterpolatedPositions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, from: [rows, columns], to: [new_rows, new_columns] } = self;
        write!(f, "`{name}` was interpolated from {rows}×{columns} to {new_rows}×{new_columns} patches")
    }
}

impl WeightsFile {
    /// Resamples the position embeddings of a vision transformer to the image size of `architecture`.
    ///
    /// The positions of a file belong to one image size. Those of the patches are a grid of vectors, which is resampled here; the
    /// class token keeps its position. `None` where the architecture has no positions, or those of the file fit.
    ///
    /// **Definition** separable cubic convolution (Keys 1981, a = −1/2) with half-pixel centres, widened by the ratio of the
    /// sizes where the grid shrinks, weights normalised to sum 1: timm's `resample_abs_pos_embed`, which is PyTorch's `interpolate`
    /// with `mode="bicubic", antialias=True`. Computed in f64.
    ///
    /// **Errors** [`Error::Setting`] for positions that are no square grid in the file.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Architecture, Initialisation, Network, WeightsFile};
    /// let vit = |side: usize| {
    ///     let text = "family = 'vit'\npatch = 2\nwidth = 4\ndepth = 1\nheads = 2\nclasses = 3\ninput_size = [8, 8]";
    ///     Ok::<_, models::Error>(Architecture::from_toml(text)?.with_input(3, [side, side]))
    /// };
    /// let network = |side| Network::new(&vit(side)?, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu);
    /// let path = std::env::temp_dir().join(format!("positions-{}.safetensors", std::process::id()));
    /// network(8)?.params().save(&path)?;
    /// let (mut file, larger) = (WeightsFile::open(&path)?, network(12)?);
    /// assert!(larger.params().load_file(&file).is_err());
    /// let positions = file.interpolate_positions(&vit(12)?)?.unwrap();
    /// assert_eq!((positions.from, positions.to), ([4, 4], [6, 6]));
    /// assert!(larger.params().load_file(&file)?.is_clean());
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn interpolate_positions(&mut self, architecture: &Architecture) -> Result<Option<InterpolatedPositions>> {
        let Some(positions) = architecture.image_positions() else { return Ok(None) };
        let found = self.tensors.iter_mut().find(|(name, _)| without_prefixes(name) == positions.name);
        let Some((name, tensor)) = found else { return Ok(None) };
        let [1, count, width] = *tensor.dims() else { return Err(no_grid(name, tensor)) };
        let patches = count.checked_sub(positions.tokens_before).filter(|patches| *patches > 0);
        let side = patches.map_or(0, usize::isqrt);
        if patches == Some(positions.grid.iter().product()) {
            return Ok(None);
        }
        if patches != Some(side * side) {
            return Err(no_grid(name, tensor));
        }
        *tensor = resampled(tensor, &positions, [side, side], width)?;
        Ok(Some(InterpolatedPositions { name: name.clone(), from: [side, side], to: positions.grid }))
    }
}

fn no_grid(name: &str, tensor: &Tensor) -> Error {
    let rule = "positions to be interpolated are [1, class token + side · side, width] in the file; set `input_size` to that of \
                the weights";
    Error::Setting {
        op: "interpolating positions",
        name: "shape",
        value: format!("`{name}` {:?}", tensor.dims()),
        rule,
    }
}

fn resampled(tensor: &Tensor, positions: &ImagePositions, from: [usize; 2], width: usize) -> Result<Tensor> {
    let numbers = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let before = numbers.narrow(1, 0, positions.tokens_before)?;
    let patches = from.iter().product();
    let grid = numbers.narrow(1, positions.tokens_before, patches)?.reshape((from[0], from[1] * width))?;
    let [rows, columns] = positions.grid;
    let by_row = weights(from[0], rows)?.matmul(&grid.contiguous()?)?;
    // [rows, from[1], width] to [from[1], rows · width], so that columns are resampled by a product too.
    let turned =
        by_row.reshape((rows, from[1], width))?.transpose(0, 1)?.contiguous()?.reshape((from[1], rows * width))?;
    let by_column = weights(from[1], columns)?.matmul(&turned)?.reshape((columns, rows, width))?;
    let resampled = by_column.transpose(0, 1)?.contiguous()?.reshape((1, rows * columns, width))?;
    Ok(Tensor::cat(&[before, resampled], 1)?.to_dtype(tensor.dtype())?.to_device(tensor.device())?)
}

/// The weights `[to, from]` of each of `from` values in each of `to` values.
fn weights(from: usize, to: usize) -> Result<Tensor> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let row = |index: usize| -> Vec<f64> {
        let centre = (index as f64 + 0.5) * scale;
        let (first, last) = ((centre - 2.0 * stretch + 0.5).floor(), (centre + 2.0 * stretch + 0.5).floor());
        let weight = |source: usize| {
            let inside = (first..last).contains(&(source as f64));
            if inside { cubic((source as f64 + 0.5 - centre) / stretch) } else { 0.0 }
        };
        let weights: Vec<f64> = (0..from).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    };
    let all: Vec<f64> = (0..to).flat_map(row).collect();
    Ok(Tensor::from_vec(all, (to, from), &Device::Cpu)?)
}

/// The kernel of R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29, 1981, eq. 4 with
/// a = −1/2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(values: &[f64], side: usize) -> Tensor {
        Tensor::from_vec(values.to_vec(), (1, side * side, 1), &Device::Cpu).unwrap()
    }

    fn resample(values: &[f64], side: usize, to: [usize; 2]) -> Vec<f64> {
        let positions = ImagePositions { name: "pos_embed", tokens_before: 0, grid: to };
        let new = resampled(&grid(values, side), &positions, [side, side], 1).unwrap();
        new.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn constants_stay_and_a_grid_of_its_own_size_is_unchanged() {
        for (side, to) in [(3, [5, 2]), (4, [4, 7]), (1, [3, 3]), (6, [2, 3])] {
            let new = resample(&vec![2.5; side * side], side, to);
            assert!(new.iter().all(|value| (value - 2.5).abs() < 1e-14), "{side} to {to:?}: {new:?}");
        }
        let values: Vec<f64> = (0..9).map(|n| f64::from(n * n)).collect();
        let same = resample(&values, 3, [3, 3]);
        assert!(same.iter().zip(&values).all(|(new, old)| (new - old).abs() < 1e-13));
    }

    /// Values of Pillow 12's `Image.resize(…, BICUBIC)` in mode F (f32), the algorithm that PyTorch's antialiased bicubic copies, on
    /// sin(1 + 3i + 5j).
    #[test]
    fn larger_and_smaller_grids_are_those_of_pillow() {
        let values: Vec<f64> = (0..16).map(|n| (1.0 + 3.0 * f64::from(n / 4) + 5.0 * f64::from(n % 4)).sin()).collect();
        let smaller = [0.104116775, -0.099672958, -0.089882903, -0.026408661, 0.135192096, 0.007102457];
        let larger = [
            1.001638651,
            0.089390665,
            -0.858291984,
            -0.959859669,
            -0.281472862,
            0.002039965,
            0.078554876,
            0.090437554,
            0.013165786,
            -0.077923305,
            -0.708027840,
            0.009111136,
            0.691741347,
            0.692444265,
            0.127609402,
            0.581984818,
            -0.173112720,
            -0.763411343,
            -0.601129591,
            0.058569737,
            0.107281066,
            0.063688792,
            -0.028275864,
            -0.092365831,
            -0.083555669,
            -0.681509078,
            0.327147782,
            1.040322781,
            0.727934599,
            -0.191393167,
        ];
        for (to, expected) in [([2, 3], &smaller[..]), ([6, 5], &larger[..])] {
            let new = resample(&values, 4, to);
            assert_eq!(new.len(), expected.len());
            // Absolute: Pillow computes in f32.
            assert!(new.iter().zip(expected).all(|(new, old)| (new - old).abs() < 5e-7), "{to:?}: {new:?}");
        }
    }

    #[test]
    fn rows_and_columns_are_not_exchanged() {
        // Values that depend on the row alone: so do the resampled ones, on a grid that is not square.
        let new = resample(&[0.0, 0.0, 1.0, 1.0], 2, [3, 5]);
        let row = |index: usize| &new[5 * index..5 * index + 5];
        assert!((0..3).all(|index| row(index).iter().all(|value| (value - row(index)[0]).abs() < 1e-14)), "{new:?}");
        assert!(row(0)[0] < row(1)[0] && row(1)[0] < row(2)[0]);
        assert!((row(1)[0] - 0.5).abs() < 1e-14);
    }
}
