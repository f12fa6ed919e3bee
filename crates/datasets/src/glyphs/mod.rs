//! The embedded data set `glyphs`: characters drawn from real typefaces, with no download.

mod classes;
mod faces;
mod outline;
mod render;
#[cfg(test)]
mod shape;
mod variation;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

pub use classes::Script;
pub use faces::GlyphPart;
use outline::Outline;
use render::Renderer;
pub use variation::Variation;

use crate::{ClassSplit, Error, LabelledImages, Result};

/// The embedded data set: its classes, image size, seed and variation.
///
/// Characters of six scripts in 17 faces of four typeface families (Libertinus Serif, New Computer Modern, its Math
/// companion, DejaVu Sans Mono). Characters that look alike are one class. Image i of a class is a function of (seed,
/// character, part, i) and of the options, with the same bytes on every machine and in any order.
///
/// ```
/// use datasets::{GlyphPart, Glyphs};
/// let glyphs = Glyphs::default();
/// let images = glyphs.draw(GlyphPart::Train, 2)?;
/// assert_eq!(images.len(), 2 * images.class_count());
/// assert_eq!(images.shape(), [1, 32, 32]);
/// assert!(images.class_count() >= 160);
///
/// // Greek only, three faces, larger and easier images.
/// use datasets::{Script, Variation};
/// let greek = Glyphs {
///     classes: Glyphs::classes_of(&[Script::Greek]),
///     faces: 3,
///     side: 48,
///     variation: Variation::default().scaled(0.5),
///     ..Glyphs::default()
/// };
/// assert_eq!(greek.draw(GlyphPart::Test, 1)?.shape(), [1, 48, 48]);
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Glyphs {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The height and width of every image in pixels. Default 32.
    pub side: usize,
    /// The variation among the images of a class.
    pub variation: Variation,
    /// The names of the classes, in the order of their labels. Default all, script by script.
    pub classes: Vec<String>,
    /// The largest number of typefaces per class and part. The first ones that have the character are used. Default all.
    pub faces: usize,
}

impl Default for Glyphs {
    fn default() -> Self {
        Self {
            seed: 0,
            side: 32,
            variation: Variation::default(),
            classes: Self::classes_of(&Script::ALL),
            faces: usize::MAX,
        }
    }
}

impl Glyphs {
    /// The class lists by script. Source: Latin and Cyrillic; validation: Greek; target: Hebrew, Armenian and Georgian.
    pub fn split() -> Result<ClassSplit> {
        ClassSplit::new(
            Self::classes_of(&[Script::Latin, Script::Cyrillic]),
            Self::classes_of(&[Script::Greek]),
            Self::classes_of(&[Script::Hebrew, Script::Armenian, Script::Georgian]),
        )
    }

    /// The names of the classes of these scripts, in the order of the scripts.
    pub fn classes_of(scripts: &[Script]) -> Vec<String> {
        let names = |script: &Script| {
            let script = *script;
            script.characters().chars().map(move |character| classes::class_name(script, character))
        };
        scripts.iter().flat_map(names).collect()
    }

    /// Draws images 0, …, `per_class` − 1 of every class in parallel. They are ordered by class.
    ///
    /// **Errors** [`Error::InvalidOption`] for a side below 8 or above 1024, no class or no face, and too many images;
    /// [`Error::OutOfMemory`], [`Error::UnknownClass`], [`Error::Font`].
    pub fn draw(&self, part: GlyphPart, per_class: usize) -> Result<LabelledImages> {
        self.draw_parts(&[(part, per_class)])
    }

    /// Draws training and test images into one block, so that views of both can be joined.
    pub(crate) fn draw_both(&self, train: usize, test: usize) -> Result<(LabelledImages, LabelledImages)> {
        let all = self.draw_parts(&[(GlyphPart::Train, train), (GlyphPart::Test, test)])?;
        let border = self.classes.len() * train;
        Ok((all.range(0..border), all.range(border..all.len())))
    }

    fn draw_parts(&self, parts: &[(GlyphPart, usize)]) -> Result<LabelledImages> {
        self.check()?;
        let characters = self.characters()?;
        let size = self.side * self.side;
        let images = parts
            .iter()
            .try_fold(0usize, |sum, (_, per_class)| sum.checked_add(per_class.checked_mul(characters.len())?));
        let images = images.filter(|images| u32::try_from(*images).is_ok()).ok_or_else(|| Error::InvalidOption {
            option: "glyphs",
            problem: format!("too many images; at most {} can be drawn at once", u32::MAX),
        })?;
        let mut pixels = Vec::new();
        let bytes = images.saturating_mul(size);
        let out_of_memory = |_| Error::OutOfMemory { context: "glyphs".to_owned(), bytes: bytes as u64 };
        pixels.try_reserve_exact(bytes).map_err(out_of_memory)?;
        pixels.resize(bytes, 0);
        let (mut rest, mut labels) = (&mut pixels[..], Vec::with_capacity(images));
        for &(part, per_class) in parts {
            let (block, after) = rest.split_at_mut(per_class * characters.len() * size);
            rest = after;
            self.draw_block(&characters, part, per_class, block)?;
            labels.extend((0..per_class * characters.len()).map(|image| (image / per_class) as u32));
        }
        LabelledImages::new("glyphs", pixels, [1, self.side, self.side], labels, self.classes.clone())
    }

    fn draw_block(&self, characters: &[char], part: GlyphPart, per_class: usize, block: &mut [u8]) -> Result<()> {
        let glyphs: Vec<Arc<[Outline]>> = characters.iter().map(|&c| outlines(c, part)).collect::<Result<_>>()?;
        block.par_chunks_mut(self.side * self.side).enumerate().for_each_init(
            || Renderer::new(self.side, self.variation),
            |renderer, (image, out)| {
                let class = image / per_class;
                let mut stream = self.stream(characters[class], part, (image % per_class) as u64);
                let faces = glyphs[class].len().min(self.faces);
                renderer.draw(&glyphs[class][..faces], &mut stream, out);
            },
        );
        Ok(())
    }

    fn stream(&self, character: char, part: GlyphPart, image: u64) -> streams::Stream {
        let part = match part {
            GlyphPart::Train => "train",
            GlyphPart::Test => "test",
        };
        streams::stream(self.seed, &format!("datasets/glyphs/U+{:04X}/{part}", u32::from(character)), image)
    }

    fn characters(&self) -> Result<Vec<char>> {
        let known = Self::classes_of(&Script::ALL);
        let find = |name: &String| {
            // The character ends the name of its class.
            known.contains(name).then(|| name.chars().next_back()).flatten().ok_or_else(|| Error::UnknownClass {
                dataset: "glyphs".to_owned(),
                name: name.clone(),
                suggestions: crate::error::suggestions(name, known.iter().map(String::as_str)),
            })
        };
        self.classes.iter().map(find).collect()
    }

    fn check(&self) -> Result<()> {
        let problem = match () {
            () if !(8..=1024).contains(&self.side) => format!("side {} must be from 8 to 1024", self.side),
            () if self.classes.is_empty() || self.faces == 0 => "at least one class and one face are needed".to_owned(),
            () => return Ok(()),
        };
        Err(Error::InvalidOption { option: "glyphs", problem })
    }
}

/// The outlines of a character in the faces of a part. They are read once.
fn outlines(character: char, part: GlyphPart) -> Result<Arc<[Outline]>> {
    type Known = Mutex<HashMap<(char, GlyphPart), Arc<[Outline]>>>;
    static KNOWN: OnceLock<Known> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Known::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(outlines) = known.get(&(character, part)) {
        return Ok(outlines.clone());
    }
    let faces = faces::fonts()?.iter().zip(&faces::TYPEFACES).filter(|(_, typeface)| typeface.part == part);
    let read = faces.filter_map(|(face, _)| Outline::read(face, face.glyph_index(character)?));
    let outlines: Arc<[Outline]> = read.collect();
    if outlines.is_empty() {
        return Err(Error::Font { reason: format!("no face draws `{character}`") });
    }
    known.insert((character, part), outlines.clone());
    Ok(outlines)
}

#[cfg(test)]
mod tests;
