//! From bytes to the numbers that a network sees: per channel, (byte/255 − mean) / standard deviation.

use crate::{Error, Result};

/// Mean and standard deviation of every channel, in \[0, 1\] units.
///
/// **Definition** a byte b of channel c becomes (b/255 − meanᶜ)/stdᶜ, evaluated in f64 and rounded once to f32.
///
/// **Units** a derivative by the network's input times 1/stdᶜ is the derivative by the pixel in \[0, 1\] units.
///
/// ```
/// let normalisation = datasets::Normalisation::new(&[0.5], &[0.25])?;
/// assert_eq!(normalisation.std(), [0.25]);
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Normalisation {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalisation {
    /// Takes one mean and one standard deviation a channel.
    ///
    /// **Errors** [`Error::InvalidOption`] where the lengths differ or are 0, a value is not finite, or a standard
    /// deviation is not above 0.
    pub fn new(mean: &[f32], std: &[f32]) -> Result<Self> {
        let invalid = |problem: String| Err(Error::InvalidOption { option: "normalisation", problem });
        if mean.is_empty() || mean.len() != std.len() {
            return invalid(format!("{} means but {} standard deviations", mean.len(), std.len()));
        }
        if !mean.iter().all(|value| value.is_finite()) || !std.iter().all(|value| value.is_finite() && *value > 0.0) {
            return invalid(format!("means {mean:?} must be finite and deviations {std:?} finite and above 0"));
        }
        Ok(Self { mean: mean.to_vec(), std: std.to_vec() })
    }

    /// Mean 0 and standard deviation 1 in every channel: pixels in \[0, 1\].
    pub fn identity(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// The mean of every channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of every channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// The value of every byte in every channel.
    pub(crate) fn table(&self, channels: usize) -> Result<Table> {
        if channels != self.mean.len() {
            let problem = format!("made for {} channels, the images have {channels}", self.mean.len());
            return Err(Error::InvalidOption { option: "normalisation", problem });
        }
        let value =
            |byte: usize, mean: f32, std: f32| ((byte as f64 / 255.0 - f64::from(mean)) / f64::from(std)) as f32;
        let channel = |(&mean, &std): (&f32, &f32)| std::array::from_fn(|byte| value(byte, mean, std));
        Ok(Table { channels: self.mean.iter().zip(&self.std).map(channel).collect() })
    }
}

/// All values that [`Normalisation`] can give: 256 a channel.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    channels: Vec<[f32; 256]>,
}

impl Table {
    /// Normalises one image, channel by channel.
    pub(crate) fn apply(&self, image: &[u8], values: &mut [f32]) {
        let plane = image.len() / self.channels.len();
        for (table, (bytes, out)) in
            self.channels.iter().zip(image.chunks_exact(plane).zip(values.chunks_exact_mut(plane)))
        {
            for (value, &byte) in out.iter_mut().zip(bytes) {
                *value = table[usize::from(byte)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_values_are_refused() {
        for (mean, std) in [
            (&[0.5][..], &[][..]),
            (&[], &[]),
            (&[0.5], &[0.0]),
            (&[0.5], &[-1.0]),
            (&[f32::NAN], &[1.0]),
            (&[0.5], &[f32::INFINITY]),
        ] {
            assert!(matches!(Normalisation::new(mean, std), Err(Error::InvalidOption { .. })), "{mean:?} {std:?}");
        }
        assert!(matches!(Normalisation::identity(3).table(1), Err(Error::InvalidOption { .. })));
    }
}
