//! Writes the picture of the book that shows the difficulty of `glyphs`:
//! `cargo run --release -p geometric-datasets --example glyph_difficulty -- glyphs-difficulty.png`.
//!
//! Each row has one difficulty: 0, ½, 1 (the default), 1½, 2. Each column has the same image of the same class.

use datasets::{ContactSheet, GlyphPart, Glyphs, LabelledImages, Result, Variation};

const DIFFICULTIES: [f32; 5] = [0.0, 0.5, 1.0, 1.5, 2.0];

/// The number of classes shown, evenly spaced.
const COLUMNS: usize = 20;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "glyphs-difficulty.png".to_owned());
    let all = Glyphs::default().classes;
    let classes: Vec<String> = (0..COLUMNS).map(|index| all[index * all.len() / COLUMNS].clone()).collect();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (row, difficulty) in DIFFICULTIES.iter().enumerate() {
        let variation = Variation::default().scaled(*difficulty);
        let glyphs = Glyphs { classes: classes.clone(), variation, side: 40, ..Glyphs::default() };
        let images = glyphs.draw(GlyphPart::Train, 1)?;
        (0..images.len()).for_each(|index| pixels.extend_from_slice(images.image(index)));
        labels.extend((0..images.len()).map(|_| row as u32));
    }
    let names = DIFFICULTIES.map(|difficulty| difficulty.to_string());
    let rows = LabelledImages::new("difficulties", pixels, [1, 40, 40], labels, names)?;
    ContactSheet { per_class: COLUMNS, columns: 1, ..ContactSheet::default() }.save(&rows, path.as_ref())
}
