//! The embedded data set `glyphs`: characters drawn from real typefaces, with no download.

mod classes;
mod faces;
mod outline;
mod render;
#[cfg(test)]
mod shape;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

pub use classes::Script;
use outline::Outline;
use render::Renderer;

use crate::{ClassSplit, Error, LabelledImages, Result};

/// Which images of a class: those to learn from or those to test on. Their typefaces differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Part {
    /// Drawn with the training faces.
    Train,
    /// Drawn with the test faces.
    Test,
}

/// How much images of one class differ. Lengths are fractions of the image's side.
///
/// **Conventions** every pair \[low, high\] is a uniform range; every single number m is the uniform range \[−m, m\] unless it
/// says otherwise. The default is the documented difficulty of `glyphs`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Variation {
    /// Longer side of the ink before it is deformed.
    pub size: [f32; 2],
    /// How far the ink leaves the centre, as a fraction (0 to 1) of the room that it has.
    pub position: f32,
    /// Turning, in degrees.
    pub rotation: f32,
    /// Horizontal shift per unit of height.
    pub shear: f32,
    /// Wider by 1 + s and lower by the same factor.
    pub stretch: f32,
    /// Curving of straight lines: shift at the ends, four times, as a fraction of the length, along both axes.
    pub bend: f32,
    /// Widening of every stroke on each side.
    pub stroke: [f32; 2],
    /// Difference of ink and paper, of 1.
    pub contrast: [f32; 2],
    /// Probability of dark ink on light paper.
    pub inversion: f32,
    /// Change of the paper's brightness from one border to the other, along both axes.
    pub gradient: f32,
    /// Largest number of straight strokes in the background, uniform from 0.
    pub clutter: f32,
    /// Standard deviation of the noise of each pixel, of 1; one draw an image.
    pub noise: [f32; 2],
}

impl Default for Variation {
    fn default() -> Self {
        Self {
            size: [0.5, 0.85],
            position: 1.0,
            rotation: 20.0,
            shear: 0.3,
            stretch: 0.2,
            bend: 0.5,
            stroke: [-0.006, 0.018],
            contrast: [0.25, 0.9],
            inversion: 0.5,
            gradient: 0.3,
            clutter: 5.0,
            noise: [0.02, 0.15],
        }
    }
}

impl Variation {
    /// This variation made weaker (below 1) or stronger (above 1).
    ///
    /// **Definition** everything that a clean, upright, centred image of full contrast has at 0 is multiplied by
    /// `difficulty`; size and contrast ranges move away from their upper ends by the same factor; `position` and
    /// `inversion` stay within \[0, 1\].
    pub fn scaled(self, difficulty: f32) -> Self {
        let range = |[low, high]: [f32; 2]| [(high - difficulty * (high - low)).max(0.05), high];
        let around_zero = |[low, high]: [f32; 2]| [difficulty * low, difficulty * high];
        Self {
            size: range(self.size),
            position: (difficulty * self.position).clamp(0.0, 1.0),
            rotation: difficulty * self.rotation,
            shear: difficulty * self.shear,
            stretch: (difficulty * self.stretch).min(0.9),
            bend: difficulty * self.bend,
            stroke: around_zero(self.stroke),
            contrast: range(self.contrast),
            inversion: (difficulty * self.inversion).clamp(0.0, 1.0),
            gradient: difficulty * self.gradient,
            clutter: difficulty * self.clutter,
            noise: around_zero(self.noise),
        }
    }
}

/// The embedded data set: its classes, image size, seed and variation.
///
/// Characters of six scripts in 17 faces of four typeface families (Libertinus Serif, New Computer Modern, its Math
/// companion, DejaVu Sans Mono), shapes that look alike counted once. Image i of a class under a seed is a function of
/// (seed, character, part, i) and of the options: the same bytes on every machine and in any order.
///
/// ```
/// use datasets::{Glyphs, Part};
/// let glyphs = Glyphs::default();
/// let images = glyphs.draw(Part::Train, 2)?;
/// assert_eq!(images.len(), 2 * images.class_count());
/// assert_eq!(images.shape(), [1, 32, 32]);
/// assert!(images.class_count() >= 160);
///
/// // Every knob has a default; here Greek only, three faces, larger and easier images.
/// use datasets::{Script, Variation};
/// let greek = Glyphs {
///     classes: Glyphs::classes_of(&[Script::Greek]),
///     faces: 3,
///     side: 48,
///     variation: Variation::default().scaled(0.5),
///     ..Glyphs::default()
/// };
/// assert_eq!(greek.draw(Part::Test, 1)?.shape(), [1, 48, 48]);
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Glyphs {
    /// What the images are drawn from.
    pub seed: u64,
    /// Height and width of every image. Default 32.
    pub side: usize,
    /// How much the images of a class differ.
    pub variation: Variation,
    /// The names of the classes, in the order of their labels. Default all, script by script.
    pub classes: Vec<String>,
    /// Typefaces of each part that a class is drawn with at most, the first ones that have it. Default all.
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
    /// Classes by script: Latin and Cyrillic to learn from, Greek to choose by, Hebrew, Armenian and Georgian to test on.
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

    /// Draws images 0, …, `per_class` − 1 of every class, in parallel; class by class.
    ///
    /// **Errors** [`Error::InvalidOption`] for a side below 8 or above 1024, no class or no face,
    /// [`Error::UnknownClass`], [`Error::Font`].
    pub fn draw(&self, part: Part, per_class: usize) -> Result<LabelledImages> {
        self.draw_parts(&[(part, per_class)])
    }

    /// Draws training and test images into one block, so that they can be viewed together.
    pub(crate) fn draw_both(&self, train: usize, test: usize) -> Result<(LabelledImages, LabelledImages)> {
        let all = self.draw_parts(&[(Part::Train, train), (Part::Test, test)])?;
        let border = self.classes.len() * train;
        Ok((all.range(0..border), all.range(border..all.len())))
    }

    fn draw_parts(&self, parts: &[(Part, usize)]) -> Result<LabelledImages> {
        self.check()?;
        let characters = self.characters()?;
        let size = self.side * self.side;
        let images: usize = parts.iter().map(|(_, per_class)| per_class * characters.len()).sum();
        let mut pixels = vec![0; images * size];
        let (mut rest, mut labels) = (&mut pixels[..], Vec::with_capacity(images));
        for &(part, per_class) in parts {
            let (block, after) = rest.split_at_mut(per_class * characters.len() * size);
            rest = after;
            self.draw_block(&characters, part, per_class, block)?;
            labels.extend((0..per_class * characters.len()).map(|image| (image / per_class) as u32));
        }
        LabelledImages::new("glyphs", pixels, [1, self.side, self.side], labels, self.classes.clone())
    }

    fn draw_block(&self, characters: &[char], part: Part, per_class: usize, block: &mut [u8]) -> Result<()> {
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

    fn stream(&self, character: char, part: Part, image: u64) -> streams::Stream {
        let part = match part {
            Part::Train => "train",
            Part::Test => "test",
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

/// The outlines of a character in the faces of a part, read once.
fn outlines(character: char, part: Part) -> Result<Arc<[Outline]>> {
    type Known = Mutex<HashMap<(char, Part), Arc<[Outline]>>>;
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
