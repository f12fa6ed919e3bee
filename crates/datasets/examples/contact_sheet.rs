//! Writes a contact sheet of the embedded data set: `cargo run -p geometric-datasets --example contact_sheet -- glyphs.png`.

use datasets::{ContactSheet, GlyphPart, Glyphs, Result};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "glyphs.png".to_owned());
    let images = Glyphs::default().draw(GlyphPart::Train, 8)?;
    ContactSheet { per_class: 8, columns: 4, ..ContactSheet::default() }.save(&images, path.as_ref())
}
