//! A table with two columns of images, as data sets of the Hub have them, and a network on its images.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, safetensors};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// The arguments that measure the network of [`save_net`].
pub(crate) const NET: [&str; 5] = ["measure", "--arch", "net.toml", "--weights", "w.safetensors"];

/// An MLP on images of 2 × 2 grey pixels, with its inputs in `x.safetensors`.
pub(crate) fn save_net(folder: &Path) {
    let description = "family = 'mlp'\ninputs = 4\nhidden = [3]\nclasses = 2\nactivation = 'tanh'";
    fs::write(folder.join("net.toml"), description).unwrap();
    let mut stream = streams::stream(1, "xtask/tests/robustness", 0);
    let mut tensor = |shape: &[usize]| {
        let values = streams::standard_normal(&mut stream, shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let weights = [
        ("embed.0.weight", tensor(&[3, 4])),
        ("embed.0.bias", tensor(&[3])),
        ("head.weight", tensor(&[2, 3])),
        ("head.bias", tensor(&[2])),
    ];
    safetensors::save(&HashMap::from(weights), folder.join("w.safetensors")).unwrap();
    safetensors::save(&HashMap::from([("x", tensor(&[5, 4]))]), folder.join("x.safetensors")).unwrap();
}

/// These rows of the table as parquet: images of 2 × 2 grey pixels as `front` and `back`, and the class 0 or 1 as `kind`.
pub(crate) fn table(rows: Range<u8>) -> Vec<u8> {
    let schema = "message m { required group front { required binary bytes; } \
                  required group back { required binary bytes; } required int64 kind; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for side in [1, 100] {
        let image = |row: u8| {
            let image = image::GrayImage::from_raw(2, 2, vec![side, side + row, 2 * side, 7]).unwrap();
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            ByteArray::from(bytes.into_inner())
        };
        let images: Vec<_> = rows.clone().map(image).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&images, None, None).unwrap();
        column.close().unwrap();
    }
    let kinds: Vec<i64> = rows.map(|row| i64::from(row) % 2).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&kinds, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

/// The table in a folder, with four training rows and two test rows.
pub(crate) fn save_table(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (part, count) in [("train", 4), ("test", 2)] {
        fs::write(folder.join(format!("{part}-00000-of-00001.parquet")), table(0..count)).unwrap();
    }
}
