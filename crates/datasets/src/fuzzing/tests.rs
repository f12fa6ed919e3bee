//! Damaged files: no panic, and bounded memory.

use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use damaged_inputs::{Reader, is_limited, read_damaged, replay, run_in_limited_memory};

use super::*;
use crate::decoded::{Decoded, Input, Inputs};
use crate::{Hub, LabelledImages, Source};

/// The number of damaged copies of each seed.
const ROUNDS: u64 = 1500;

/// The limit of the address space in KiB. Without the checks, one false claim in a file takes 80 GB.
const KILOBYTES: u64 = 4 << 20;

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: &[(&str, Reader)] = &[
    ("idx", idx),
    ("zip", zip),
    ("decoded", decoded),
    ("image", image),
    ("card", card),
    #[cfg(feature = "hub")]
    ("listing", listing),
    ("parquet", parquet_of_bytes),
];

fn parquet_of_bytes(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    parquet(file.path());
}

fn png() -> Vec<u8> {
    encoded(image::ImageFormat::Png)
}

fn encoded(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let grey = image::GrayImage::from_fn(5, 4, |x, y| image::Luma([(x * 40 + y) as u8]));
    image::DynamicImage::ImageLuma8(grey).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// One image of each format. The EXIF data of the JPEG rotate it.
fn image_seeds() -> Vec<Vec<u8>> {
    let jpeg = encoded(image::ImageFormat::Jpeg);
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let exif = [&b"\xff\xe1\0\x22Exif\0\0"[..], tiff].concat();
    vec![png(), encoded(image::ImageFormat::WebP), [&jpeg[..2], &exif, &jpeg[2..]].concat()]
}

fn idx_seeds() -> Vec<Vec<u8>> {
    let plain = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[7; 12]].concat();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&plain).unwrap();
    vec![plain, encoder.finish().unwrap(), vec![0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]]
}

fn zip_seeds() -> Vec<Vec<u8>> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, method) in
        [("i/A/a/1.png", ::zip::CompressionMethod::Deflated), ("i/A/b/1.png", ::zip::CompressionMethod::Stored)]
    {
        writer.start_file(name, ::zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(&png()).unwrap();
    }
    vec![writer.finish().unwrap().into_inner()]
}

fn table(compression: Compression, dictionary: bool) -> Vec<u8> {
    let schema = "message m { optional group image { optional binary bytes; } optional int64 label; }";
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(dictionary);
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let images = vec![ByteArray::from(png()); 4];
    column.typed::<ByteArrayType>().write_batch(&images, Some(&[2; 4]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[0, 1, 1, 0], Some(&[1; 4]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn parquet_seeds() -> Vec<Vec<u8>> {
    let zstd = Compression::ZSTD(::parquet::basic::ZstdLevel::default());
    vec![table(Compression::SNAPPY, true), table(zstd, false), table(Compression::UNCOMPRESSED, true)]
}

fn decoded_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let source = Source { decoded: Some(folder.path().to_owned()), ..Source::of_hub(Hub::new("", "")) };
    let input = Input { name: String::new(), path: folder.path().to_owned(), sha256: Some(String::new()) };
    let all = LabelledImages::new("x", vec![7; 12], [1, 2, 3], vec![0, 1], ["a", "b"]).unwrap();
    let made = || Ok(Decoded { all, parts: [1, 0, 1], normalisation: None, files: Vec::new() });
    crate::decoded::cached(&source, &Inputs { recipe: String::new(), files: vec![input] }, made).unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    vec![std::fs::read(file).unwrap()]
}

fn card_seeds() -> Vec<Vec<u8>> {
    let card = "---\ndataset_info:\n- config_name: plain\n  features:\n  - name: label\n    dtype:\n      class_label:\n        \
                names:\n          '0': cat\n          '1': 'it''s'\n          \"2\": \"a\\u0041\"\n---\n";
    vec![card.as_bytes().to_vec()]
}

#[cfg(feature = "hub")]
fn listing_seeds() -> Vec<Vec<u8>> {
    vec![
        br#"{"id": "a/b", "siblings": [{"rfilename": "data/0.parquet"}, {"rfilename": "../x"}, {"size": 3}]}"#.to_vec(),
    ]
}

fn run(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    for (number, seed) in seeds.iter().enumerate() {
        read_damaged(&format!("datasets/fuzzing/{name}/{number}"), seed, ROUNDS, &target);
    }
}

#[test]
#[ignore = "the test below starts it in a process of limited memory"]
fn damaged_inputs_are_read() {
    if !is_limited() {
        return;
    }
    run("idx", &idx_seeds(), idx);
    run("zip", &zip_seeds(), zip);
    run("decoded", &decoded_seeds(), decoded);
    run("image", &image_seeds(), image);
    run("card", &card_seeds(), card);
    #[cfg(feature = "hub")]
    run("listing", &listing_seeds(), listing);
    run("parquet", &parquet_seeds(), parquet_of_bytes);
}

#[test]
fn damaged_inputs_neither_panic_nor_fill_the_memory() {
    run_in_limited_memory("fuzzing::tests::damaged_inputs_are_read", KILOBYTES);
}

#[test]
fn the_seeds_are_valid() {
    for seed in parquet_seeds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), seed).unwrap();
        let columns = crate::formats::parquet::columns(file.path(), None, None).unwrap();
        let mut collector = Collector::new(Form::default());
        let labels = crate::formats::parquet::read(file.path(), &columns, &mut collector).unwrap();
        assert_eq!((labels.values.len(), collector.len()), (4, 4));
    }
    let place = |_| ImagePlace { context: "seed".to_owned(), row: None };
    for seed in image_seeds() {
        Collector::new(Form::default()).extend(&[seed], &place).unwrap();
    }
    assert!(Characters::default().add(Cursor::new(&zip_seeds()[0])).is_ok());
    assert!(idx::parse::<3>(&idx_seeds()[1][..], 100, [None; 3]).is_ok());
    let names = registry::class_names(&String::from_utf8(card_seeds().remove(0)).unwrap(), "plain", None).unwrap();
    assert_eq!(names, ["cat", "it's", "aA"]);
    let refused = decoded::parse(&decoded_seeds()[0], "key").unwrap_err();
    assert!(refused.contains("other files"), "only its key differs: {refused}");
}

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), READERS);
}

#[test]
fn a_panic_of_the_parquet_library_is_an_error() {
    // The library panics: the dictionary claims more values than its bytes hold.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), include_bytes!("../../fuzz/found/parquet-dictionary-ends-early")).unwrap();
    let columns = crate::formats::parquet::columns(file.path(), None, None).unwrap();
    let failed = crate::formats::parquet::read(file.path(), &columns, &mut Collector::new(Form::default()));
    assert!(matches!(failed, Err(crate::Error::Malformed { format: "parquet", .. })), "{failed:?}");
}

#[test]
fn a_footer_that_claims_more_than_it_holds_is_refused() {
    // The library would skip 2³¹ booleans that take no bytes.
    let file = tempfile::NamedTempFile::new().unwrap();
    let found = include_bytes!("../../fuzz/found/parquet-whose-footer-lists-two-thousand-million-booleans");
    std::fs::write(file.path(), found).unwrap();
    let refused = crate::formats::parquet::columns(file.path(), None, None).unwrap_err().to_string();
    assert!(refused.contains("its footer claims more than it holds"), "{refused}");
}

#[test]
fn a_page_with_a_false_size_is_refused() {
    // The header of the first page follows the four magic bytes: type, then the size after decompression.
    let mut bytes = table(Compression::SNAPPY, false);
    assert_eq!(bytes[4..7], [0x15, 0, 0x15]);
    let end = bytes[7..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 8;
    let huge: &[u8] = if end - 7 == 2 { &[0xff, 0x7f] } else { &[0x7f] };
    bytes.splice(7..end, huge.iter().copied());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let columns = crate::formats::parquet::columns(file.path(), None, None).unwrap();
    let failed = crate::formats::parquet::read(file.path(), &columns, &mut Collector::new(Form::default()));
    assert!(matches!(failed, Err(crate::Error::Malformed { format: "parquet", .. })), "{failed:?}");
}
