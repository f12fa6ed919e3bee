//! The typefaces of `glyphs`, and which of them draw training and test images.

use std::sync::OnceLock;

use ttf_parser::{Face, name_id};

use crate::{Error, Result};

/// The training or the test images of a class. They are drawn with different typefaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum GlyphPart {
    /// Drawn with the training faces.
    Train,
    /// Drawn with the test faces.
    Test,
}

/// A typeface of the embedded set, by its PostScript name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Typeface {
    pub(crate) name: &'static str,
    /// The images that it draws.
    pub(crate) part: GlyphPart,
}

const fn train(name: &'static str) -> Typeface {
    Typeface { name, part: GlyphPart::Train }
}

const fn test(name: &'static str) -> Typeface {
    Typeface { name, part: GlyphPart::Test }
}

/// All typefaces. Each family is in both parts, because some scripts are in one family only. No face is in both parts.
///
/// Faces that draw some script with the same outlines (Libertinus Bold and Semibold: Hebrew) are in the same part.
pub(crate) const TYPEFACES: [Typeface; 17] = [
    train("LibertinusSerif-Regular"),
    train("LibertinusSerif-BoldItalic"),
    train("LibertinusSerif-SemiboldItalic"),
    test("LibertinusSerif-Bold"),
    test("LibertinusSerif-Semibold"),
    test("LibertinusSerif-Italic"),
    train("NewCM10-Regular"),
    train("NewCM10-BoldItalic"),
    test("NewCM10-Bold"),
    test("NewCM10-Italic"),
    train("NewCMMath-Book"),
    train("NewCMMath-Regular"),
    test("NewCMMath-Bold"),
    train("DejaVuSansMono"),
    train("DejaVuSansMono-BoldOblique"),
    test("DejaVuSansMono-Bold"),
    test("DejaVuSansMono-Oblique"),
];

/// The parsed fonts, in the order of [`TYPEFACES`].
pub(crate) fn fonts() -> Result<&'static [Face<'static>]> {
    static FONTS: OnceLock<std::result::Result<Vec<Face<'static>>, String>> = OnceLock::new();
    let fonts = FONTS.get_or_init(load);
    fonts.as_deref().map_err(|reason| Error::Font { reason: reason.clone() })
}

fn load() -> std::result::Result<Vec<Face<'static>>, String> {
    let mut faces: Vec<Option<Face<'static>>> = TYPEFACES.iter().map(|_| None).collect();
    for data in typst_assets::fonts() {
        let face = Face::parse(data, 0).map_err(|error| format!("an embedded font cannot be read ({error})"))?;
        let name = postscript_name(&face);
        if let Some(index) = TYPEFACES.iter().position(|typeface| Some(typeface.name) == name.as_deref()) {
            faces[index] = Some(face);
        }
    }
    let missing = |index: usize| format!("the embedded font {} is missing", TYPEFACES[index].name);
    faces.into_iter().enumerate().map(|(index, face)| face.ok_or_else(|| missing(index))).collect()
}

fn postscript_name(face: &Face<'_>) -> Option<String> {
    face.names().into_iter().filter(|name| name.name_id == name_id::POST_SCRIPT_NAME).find_map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_typeface_is_found() {
        assert_eq!(fonts().unwrap().len(), TYPEFACES.len());
    }
}
