//! The rule that decides whether two characters look alike and are therefore one class.

use ab_glyph_rasterizer::Rasterizer;

use super::faces;
use super::outline::Outline;
use crate::Result;

/// The side in pixels of the canvas on which shapes are compared.
const SIDE: usize = 32;

/// The longer side in pixels of a glyph on that canvas.
const INK: f32 = 28.0;

/// Ink at a distance of more than this many pixels from the other shape's ink is unmatched.
const REACH: i32 = 2;

/// Two characters look alike if, averaged over the typefaces that have both, less than this share of their ink is
/// unmatched.
const LOOK_ALIKE: f32 = 0.05;

/// The same for the two cases of one letter, which often differ only in size.
const LOOK_ALIKE_CASES: f32 = 0.1;

/// Two shapes of one typeface are the same if common ink / joint ink is above this.
const SAME: f32 = 0.9;

/// The ink of a character in one typeface, one bit per pixel, centred and scaled to a common size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape([u32; SIDE]);

impl Shape {
    fn of(outline: &Outline) -> Self {
        let mut outline = outline.clone();
        outline.map(|[x, y]| [x * INK + SIDE as f32 / 2.0, y * INK + SIDE as f32 / 2.0]);
        let mut canvas = Rasterizer::new(SIDE, SIDE);
        outline.fill(&mut canvas);
        let mut rows = [0; SIDE];
        canvas.for_each_pixel(|index, coverage| rows[index / SIDE] |= u32::from(coverage > 0.5) << (index % SIDE));
        Self(rows)
    }

    /// All pixels within [`REACH`] of the ink.
    fn neighbourhood(&self) -> Self {
        let mut near = [0; SIDE];
        for down in -REACH..=REACH {
            for right in -REACH..=REACH {
                if down * down + right * right <= REACH * REACH {
                    for (row, out) in near.iter_mut().enumerate() {
                        let source = usize::try_from(row as i32 + down).ok().and_then(|row| self.0.get(row));
                        let bits = source.copied().unwrap_or(0);
                        *out |= if right < 0 { bits >> -right } else { bits << right };
                    }
                }
            }
        }
        Self(near)
    }

    /// The share of this ink at a distance of more than [`REACH`] from the other's.
    fn unmatched(&self, other: &Self) -> f32 {
        let near = other.neighbourhood();
        let count = |rows: &mut dyn Iterator<Item = u32>| rows.map(u32::count_ones).sum::<u32>() as f32;
        let alone = count(&mut self.0.iter().zip(&near.0).map(|(ink, near)| ink & !near));
        alone / count(&mut self.0.iter().copied()).max(1.0)
    }

    /// Common ink / joint ink.
    fn overlap(&self, other: &Self) -> f32 {
        let count = |rows: &mut dyn Iterator<Item = u32>| rows.map(u32::count_ones).sum::<u32>() as f32;
        let common = count(&mut self.0.iter().zip(&other.0).map(|(a, b)| a & b));
        common / count(&mut self.0.iter().zip(&other.0).map(|(a, b)| a | b)).max(1.0)
    }

    /// The larger share of unmatched ink, from 0 to 1.
    pub(crate) fn distance(&self, other: &Self) -> f32 {
        self.unmatched(other).max(other.unmatched(self))
    }
}

/// The shape of a character in each typeface; none if the face lacks it.
pub(crate) fn shapes(character: char) -> Result<Vec<Option<Shape>>> {
    let shape = |face: &ttf_parser::Face<'_>| Outline::read(face, face.glyph_index(character)?);
    Ok(faces::fonts()?.iter().map(|face| shape(face).map(|outline| Shape::of(&outline))).collect())
}

/// Whether two characters, given with their shapes, look too similar to be two classes.
///
/// **Definition** they do if they have the same shape in any typeface (as Latin m and Cyrillic т in italics), or if their
/// mean distance over the typefaces that have both is below 0.05, or below 0.1 for the two cases of one letter.
pub(crate) fn look_alike(a: (char, &[Option<Shape>]), b: (char, &[Option<Shape>])) -> bool {
    let pairs: Vec<(&Shape, &Shape)> =
        a.1.iter().zip(b.1).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?))).collect();
    let limit = if upper(a.0) == upper(b.0) { LOOK_ALIKE_CASES } else { LOOK_ALIKE };
    let mean = pairs.iter().map(|(a, b)| a.distance(b)).sum::<f32>() / pairs.len() as f32;
    mean < limit || pairs.iter().any(|(a, b)| a.overlap(b) > SAME)
}

fn upper(letter: char) -> String {
    letter.to_uppercase().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_look_alike_are_recognised() {
        let alike = |a, b| look_alike((a, &shapes(a).unwrap()), (b, &shapes(b).unwrap()));
        for (a, b) in [('A', '\u{391}'), ('c', 'C'), ('o', '\u{43e}'), ('m', '\u{442}')] {
            assert!(alike(a, b), "{a} {b}");
        }
        for (a, b) in [('E', 'F'), ('A', 'B'), ('O', 'Q'), ('n', 'h'), ('b', 'd'), ('a', 'A')] {
            assert!(!alike(a, b), "{a} {b}");
        }
    }
}
