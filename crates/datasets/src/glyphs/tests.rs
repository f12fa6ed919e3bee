use sha2::{Digest, Sha256};

use super::*;

fn small(seed: u64) -> Glyphs {
    let classes = Glyphs::classes_of(&Script::ALL).into_iter().step_by(37).collect();
    Glyphs { seed, classes, ..Glyphs::default() }
}

fn checksum(images: &LabelledImages) -> String {
    let mut hash = Sha256::new();
    (0..images.len()).for_each(|index| hash.update(images.image(index)));
    support::hexadecimal(&hash.finalize())
}

/// If these checksums change, `glyphs` is another data set, and every number measured on it is invalid.
#[test]
fn the_bytes_are_the_same_on_every_machine() {
    assert_eq!(
        checksum(&small(0).draw(GlyphPart::Train, 20).unwrap()),
        "f71a8ab0873378b8e177ade41d87980fa5130be40509a15cb4e97eee1724779d"
    );
    assert_eq!(
        checksum(&small(7).draw(GlyphPart::Test, 20).unwrap()),
        "f72f07fdc93f121565c2a67a6c2cd3a9e41f94c0b6006249f9b8889566f8b35a"
    );
}

#[test]
fn an_image_depends_on_seed_character_part_and_number_only() {
    let glyphs = small(3);
    let images = glyphs.draw(GlyphPart::Train, 5).unwrap();
    let more = glyphs.draw(GlyphPart::Train, 9).unwrap();
    let last = Glyphs { classes: glyphs.classes[2..3].to_vec(), ..glyphs.clone() }.draw(GlyphPart::Train, 5).unwrap();
    for image in 0..5 {
        assert_eq!(images.image(2 * 5 + image), more.image(2 * 9 + image));
        assert_eq!(images.image(2 * 5 + image), last.image(image));
    }
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(checksum(&single.install(|| glyphs.draw(GlyphPart::Train, 5).unwrap())), checksum(&images));
    assert_ne!(checksum(&small(4).draw(GlyphPart::Train, 5).unwrap()), checksum(&images));
    assert_ne!(checksum(&glyphs.draw(GlyphPart::Test, 5).unwrap()), checksum(&images));
}

#[test]
fn training_and_test_images_share_one_block() {
    let (train, test) = small(1).draw_both(3, 2).unwrap();
    let all = train.joined(&test).unwrap();
    assert_eq!((train.len(), test.len(), all.len()), (3 * 9, 2 * 9, 5 * 9));
    assert_eq!(test.image(3), small(1).draw(GlyphPart::Test, 2).unwrap().image(3));
}

#[test]
fn ink_is_never_cut_off() {
    // Without background structure, the border has the value of the paper, because the ink keeps one pixel free.
    let variation = Variation { noise: [0.0; 2], gradient: 0.0, clutter: 0.0, inversion: 0.0, ..Variation::default() };
    let images = Glyphs { variation, ..Glyphs::default() }.draw(GlyphPart::Train, 6).unwrap();
    for index in 0..images.len() {
        let image = images.image(index);
        let border = (0..32).flat_map(|at| [image[at], image[31 * 32 + at], image[32 * at], image[32 * at + 31]]);
        assert!(border.clone().all(|value| value.abs_diff(image[0]) <= 1), "{}", images.classes()[index / 6]);
        assert!(image.iter().any(|value| value.abs_diff(image[0]) > 30), "{}", images.classes()[index / 6]);
    }
}

#[test]
fn the_registrys_normalisation_is_that_of_the_images() {
    let stated = crate::find("glyphs").unwrap().normalisation().unwrap();
    let measured = Glyphs::default().draw(GlyphPart::Train, 40).unwrap().measure_normalisation().unwrap();
    assert!((stated.mean()[0] - measured.mean()[0]).abs() < 0.005, "{measured:?}");
    assert!((stated.std()[0] - measured.std()[0]).abs() < 0.005, "{measured:?}");
}

#[test]
fn no_difficulty_is_a_clean_upright_image() {
    let variation = Variation::default().scaled(0.0);
    let images = Glyphs { variation, faces: 1, ..small(0) }.draw(GlyphPart::Train, 2).unwrap();
    // The remaining variation is the grey between ink and paper, which moves by at most 0.05 at full contrast (0.9).
    let differences = images.image(0).iter().zip(images.image(1)).map(|(a, b)| a.abs_diff(*b));
    assert!(differences.max().unwrap() <= 26);
    let default = Variation::default();
    assert_eq!(default.scaled(1.0).rotation, default.rotation);
    assert!(default.scaled(2.0).noise[1] > default.noise[1]);
}

#[test]
fn invalid_options_are_refused() {
    let glyphs = small(0);
    for wrong in [
        Glyphs { side: 7, ..glyphs.clone() },
        Glyphs { side: 5000, ..glyphs.clone() },
        Glyphs { classes: Vec::new(), ..glyphs.clone() },
        Glyphs { faces: 0, ..glyphs.clone() },
    ] {
        assert!(matches!(wrong.draw(GlyphPart::Train, 1), Err(Error::InvalidOption { option: "glyphs", .. })));
    }
    for per_class in [usize::MAX, 1 << 31] {
        let failed = glyphs.draw(GlyphPart::Train, per_class);
        assert!(matches!(failed, Err(Error::InvalidOption { option: "glyphs", .. })));
    }
    let unknown = Glyphs { classes: vec!["latin A".to_owned()], ..glyphs };
    assert!(matches!(unknown.draw(GlyphPart::Train, 1), Err(Error::UnknownClass { .. })));
}
