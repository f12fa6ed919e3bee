//! The conversion of bytes into the inputs of a network: per channel, (byte/255 − mean) / standard deviation.

use crate::{Error, Result};

/// The mean and standard deviation of every channel, in \[0, 1\] units.
///
/// **Definition** a byte b of channel c becomes (b/255 − meanᶜ)/stdᶜ, evaluated in f64 and rounded once to f32.
///
/// **Units** the derivative with respect to the network's input times 1/stdᶜ is the derivative with respect to the pixel in
/// \[0, 1\] units.
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
    /// The normalisation by one mean and one standard deviation per channel.
    ///
    /// **Errors** [`Error::InvalidOption`] if the lengths differ or are 0, a value is not finite, or a standard deviation is
    /// not above 0.
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

    /// Mean 0 and standard deviation 1 in every channel. Pixels are then in \[0, 1\].
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

    /// The normalised value of every byte in every channel, for images of this shape, \[channels, height, width\].
    ///
    /// **Errors** [`Error::InvalidOption`] if the images have another number of channels.
    pub(crate) fn table(&self, shape: [usize; 3]) -> Result<Table> {
        let expected = self.mean.len();
        if shape[0] != expected {
            return Err(Error::InvalidOption { option: "images", problem: wrong_channels(shape, expected) });
        }
        let value =
            |byte: usize, mean: f32, std: f32| ((byte as f64 / 255.0 - f64::from(mean)) / f64::from(std)) as f32;
        let channel = |(&mean, &std): (&f32, &f32)| std::array::from_fn(|byte| value(byte, mean, std));
        Ok(Table { channels: self.mean.iter().zip(&self.std).map(channel).collect() })
    }
}

/// Why images of this shape do not fit a normalisation of `expected` channels, and what to change.
fn wrong_channels(shape: [usize; 3], expected: usize) -> String {
    let [channels, ..] = shape;
    let reason = match (channels, expected) {
        _ if is_channels_last(shape, expected) => {
            "the shape is height, width, channels: permute the pixels to channels, height, width".to_owned()
        }
        (1, 3) => "all of them are grey: read them with 3 channels, or normalise by 1 mean and deviation".to_owned(),
        (3, 1) => "they have colour: read them with 1 channel, or normalise by 3 means and deviations".to_owned(),
        _ => format!("normalise by {channels} means and deviations"),
    };
    format!("their shape is {shape:?} with {channels} channels, the normalisation has {expected}; {reason}")
}

/// Whether a shape that should be \[channels, height, width\] is evidently \[height, width, channels\].
pub(crate) fn is_channels_last(shape: [usize; 3], channels: usize) -> bool {
    let [first, second, last] = shape;
    last == channels && first != channels && first.min(second) > last
}

/// The 256 normalised values of every channel.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    channels: Vec<[f32; 256]>,
}

impl Table {
    /// Normalises one image, stored channel by channel.
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
    fn invalid_values_are_refused() {
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
    }

    #[test]
    fn a_mismatch_of_channels_is_explained_by_the_images() {
        let message = |shape, channels| Normalisation::identity(channels).table(shape).unwrap_err().to_string();
        for (shape, channels, expected) in [
            ([1, 8, 9], 3, "all of them are grey"),
            ([3, 8, 9], 1, "they have colour"),
            ([32, 32, 3], 3, "height, width, channels"),
            ([28, 28, 1], 1, "height, width, channels"),
            ([4, 8, 9], 3, "normalise by 4 means"),
        ] {
            let message = message(shape, channels);
            assert!(message.starts_with("images: their shape is") && message.contains(expected), "{message}");
        }
        assert!(Normalisation::identity(3).table([3, 8, 9]).is_ok());
    }
}
