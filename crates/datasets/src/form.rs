//! The common form of decoded images: channels and size.

use crate::{Error, Result};

/// The largest accepted height and width of an image, in pixels.
pub(crate) const MAX_SIDE: usize = 16_384;

/// The number of channels and the size of decoded images.
///
/// ```
/// let form = datasets::Form { size: Some([84, 84]), ..datasets::Form::default() };
/// assert_eq!(form.channels, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Form {
    /// 1 for grey, 3 for red, green, blue. None: 1 if all images are grey, else 3.
    pub channels: Option<usize>,
    /// \[height, width\], each from 1 to 16384. Each image is scaled, keeping its proportions, to just cover this size
    /// (bilinear, averaging when it shrinks) and cropped around its centre. None: all images must have the same size.
    pub size: Option<[usize; 2]>,
}

impl Form {
    /// **Errors** [`Error::InvalidOption`] for another number of channels than 1 and 3, and for a size out of range.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some([height, width]) = self.size
            && ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side))
        {
            let problem = format!("height {height} and width {width} must be from 1 to {MAX_SIDE} pixels");
            return Err(Error::InvalidOption { option: "size", problem });
        }
        match self.channels {
            None | Some(1 | 3) => Ok(()),
            Some(channels) => {
                let problem = format!("{channels} channels; images are read with 1 (grey) or 3 (red, green, blue)");
                Err(Error::InvalidOption { option: "channels", problem })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_out_of_range_and_other_channels_are_refused() {
        for size in [[0, 8], [8, 0], [8, MAX_SIDE + 1], [usize::MAX, usize::MAX]] {
            let form = Form { size: Some(size), ..Form::default() };
            assert!(matches!(form.check(), Err(Error::InvalidOption { option: "size", .. })), "{size:?}");
            let source = crate::Source { form, ..crate::Source::of_hub(crate::Hub::new("", "")) };
            assert!(crate::load("mnist", &source).is_err());
        }
        for channels in [0, 2, 4] {
            let form = Form { channels: Some(channels), size: None };
            assert!(matches!(form.check(), Err(Error::InvalidOption { option: "channels", .. })));
        }
        assert!(Form { channels: Some(3), size: Some([1, MAX_SIDE]) }.check().is_ok());
    }
}
