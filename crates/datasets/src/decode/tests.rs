use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use super::*;

/// 3 wide, 2 high; the pixel in row r and column c is (10·r + c, 100 + 10·r + c, 200 + 10·r + c).
fn colour() -> DynamicImage {
    let pixel = |c, r| image::Rgb([0, 100, 200].map(|base| base + (10 * r + c) as u8));
    DynamicImage::ImageRgb8(RgbImage::from_fn(3, 2, pixel))
}

fn place(index: usize) -> ImagePlace {
    ImagePlace { context: "x".to_owned(), row: Some(index) }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn rows_and_columns_are_not_exchanged() {
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let mut collector = Collector::new(Form::default());
        collector.extend(&[encode(&colour(), format)], &place).unwrap();
        assert_eq!(collector.shape(), Some([3, 2, 3]));
        let plane = [0, 1, 2, 10, 11, 12];
        assert_eq!(collector.pixels[..6], plane);
        assert_eq!(collector.pixels[12..], plane.map(|value| value + 200));
    }
    let mut collector = Collector::new(Form::default());
    collector.extend(&[encode(&colour(), ImageFormat::Jpeg)], &place).unwrap();
    assert_eq!(collector.shape(), Some([3, 2, 3]));
}

#[test]
fn channels_are_converted_to_the_requested_number() {
    let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![7, 9]).unwrap());
    let mut collector = Collector::new(Form { channels: Some(3), size: None });
    collector.extend(&[encode(&grey, ImageFormat::Png)], &place).unwrap();
    assert_eq!(collector.pixels, [7, 9, 7, 9, 7, 9]);
    let mut collector = Collector::new(Form { channels: Some(1), size: None });
    collector.extend(&[encode(&colour(), ImageFormat::Png)], &place).unwrap();
    assert_eq!(collector.shape(), Some([1, 2, 3]));
}

#[test]
fn a_grey_image_does_not_make_those_after_it_grey() {
    let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap());
    let (grey, coloured) = (encode(&grey, ImageFormat::Png), encode(&colour(), ImageFormat::Png));
    let mut together = Collector::new(Form::default());
    together.extend(&[&grey, &coloured, &grey], &place).unwrap();
    // The same if the first image with colour is in a later block.
    let mut apart = Collector::new(Form::default());
    for image in [&grey, &coloured, &grey] {
        apart.extend(&[image], &place).unwrap();
    }
    let mut coloured_first = Collector::new(Form { channels: Some(3), size: None });
    coloured_first.extend(&[&grey, &coloured, &grey], &place).unwrap();
    for collector in [together, apart] {
        assert_eq!((collector.shape(), collector.len()), (Some([3, 2, 3]), 3));
        assert_eq!(collector.pixels, coloured_first.pixels);
    }
    // Requested grey stays grey.
    let mut wanted = Collector::new(Form { channels: Some(1), size: None });
    wanted.extend(&[&grey, &coloured], &place).unwrap();
    assert_eq!(wanted.shape(), Some([1, 2, 3]));
}

/// The JPEG with an EXIF segment, after its first two bytes, that holds this orientation only.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation, 0, 0, 0, 0, 0, 0][..]].concat();
    let segment = [&b"Exif\0\0"[..], &tiff].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
}

#[test]
fn images_are_rotated_by_the_orientation_in_their_exif_data() {
    // 16 wide, 8 high, the left half dark. Orientation 6: to be turned clockwise, so the left becomes the top.
    let photograph = GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 20 } else { 220 }]));
    let jpeg = encode(&DynamicImage::ImageLuma8(photograph), ImageFormat::Jpeg);
    let mut collector = Collector::new(Form::default());
    collector.extend(&[turned(&jpeg, 6)], &place).unwrap();
    assert_eq!(collector.shape(), Some([1, 16, 8]));
    assert!(collector.pixels[..40].iter().all(|value| *value < 60), "the top is dark");
    assert!(collector.pixels[88..].iter().all(|value| *value > 180), "the bottom is light");
    // 1: not rotated; 99: no valid orientation.
    for orientation in [1, 99] {
        let mut collector = Collector::new(Form::default());
        collector.extend(&[turned(&jpeg, orientation)], &place).unwrap();
        assert_eq!(collector.shape(), Some([1, 8, 16]));
    }
}

#[test]
fn the_first_misfit_is_named_for_any_schedule_of_the_threads() {
    let good = encode(&colour(), ImageFormat::Png);
    let images: Vec<&[u8]> = (0..400).map(|index| if index % 3 == 2 { &b"none"[..] } else { &good }).collect();
    for _ in 0..20 {
        let failed = Collector::new(Form::default()).extend(&images, &place);
        assert!(matches!(failed, Err(Error::UnreadableImage { row: Some(2), .. })), "{failed:?}");
    }
}

#[test]
fn a_size_rule_scales_and_crops_around_the_centre() {
    // Four columns 0, 0, 200, 200 cropped to the middle two.
    let wide = DynamicImage::ImageLuma8(GrayImage::from_raw(4, 2, vec![0, 50, 200, 250, 0, 50, 200, 250]).unwrap());
    let mut collector = Collector::new(Form { channels: None, size: Some([2, 2]) });
    collector.extend(&[encode(&wide, ImageFormat::Png)], &place).unwrap();
    assert_eq!(collector.pixels, [50, 200, 50, 200]);
}

#[test]
fn an_unusable_image_is_named_by_row_and_nothing_is_appended() {
    let small = encode(&colour().crop_imm(0, 0, 2, 2), ImageFormat::Png);
    let good = encode(&colour(), ImageFormat::Png);
    let mut collector = Collector::new(Form::default());
    collector.extend(&[&good], &place).unwrap();
    let mixed = collector.extend(&[&good, &small], &place);
    assert!(matches!(mixed, Err(Error::MixedSizes { row: Some(1), .. })), "{mixed:?}");
    let unreadable = collector.extend(&[&good[..], &good[..30]], &place);
    assert!(matches!(unreadable, Err(Error::UnreadableImage { row: Some(1), .. })), "{unreadable:?}");
    assert_eq!(collector.len(), 1);
}

#[test]
fn a_small_image_repeated_and_enlarged_thousands_of_times_is_refused() {
    let tiny = encode(&colour(), ImageFormat::Png);
    let mut collector = Collector::new(Form { channels: None, size: Some([4096, 4096]) });
    collector.expect(1, 100);
    // 22 images of 48 MiB from a hundred bytes.
    let refused = collector.extend(&[&tiny; 22], &place);
    assert!(matches!(refused, Err(Error::TooLarge { limit: MIN_LIMIT, .. })), "{refused:?}");
}

#[test]
fn an_image_whose_header_claims_a_huge_size_is_refused_before_allocation() {
    // A PNG header that claims 2³⁰ × 2³⁰ pixels.
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x40\0\0\0\x40\0\0\0\x08\0\0\0\0".to_vec();
    bytes.extend([0; 64]);
    let refused = Collector::new(Form::default()).extend(&[bytes], &place);
    assert!(matches!(refused, Err(Error::UnreadableImage { row: Some(0), .. })));
}

#[test]
fn the_sizes_of_a_large_block_are_checked_before_allocation() {
    // Two grey images of different sizes, together 144 MB.
    let image = |width, height| encode(&DynamicImage::ImageLuma8(GrayImage::new(width, height)), ImageFormat::Png);
    let (first, other) = (image(9000, 8000), image(8000, 9000));
    let mut collector = Collector::new(Form::default());
    let mixed = collector.extend(&[&first, &other], &place);
    assert!(matches!(mixed, Err(Error::MixedSizes { row: Some(1), .. })), "{mixed:?}");
    assert_eq!(collector.pixels.capacity(), 0, "no memory was allocated for the pixels");
}

#[test]
fn the_size_in_the_header_of_a_rotated_image_is_that_of_its_pixels() {
    let jpeg = encode(&DynamicImage::ImageLuma8(GrayImage::new(16, 8)), ImageFormat::Jpeg);
    for orientation in 1..=8 {
        let bytes = turned(&jpeg, orientation);
        let image = codec::decode(&bytes).unwrap();
        let shape = [1, image.height() as usize, image.width() as usize];
        assert!(codec::check_size(&bytes, shape).is_ok(), "{orientation}");
        assert!(codec::check_size(&bytes, [1, shape[2], shape[1]]).is_err(), "{orientation}");
    }
}
