//! Entry points for fuzzers: the readers of this program accept any bytes without a panic and with bounded memory. They are no
//! part of the public interface.

use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use crate::arrays::{Array, Arrays};
use crate::study::experiment::Experiment;
use crate::study::store::RunFolder;

/// An array of NumPy.
pub fn npy(bytes: &[u8]) {
    arrays("npy", bytes);
}

/// Arrays of NumPy in a zip archive.
pub fn npz(bytes: &[u8]) {
    arrays("npz", bytes);
}

/// A table as CSV.
pub fn csv(bytes: &[u8]) {
    arrays("csv", bytes);
}

/// Tensors in a safetensors file.
pub fn safetensors(bytes: &[u8]) {
    arrays("safetensors", bytes);
}

/// A table as parquet.
pub fn parquet(bytes: &[u8]) {
    // The parquet library panics on some invalid pages, and the reader catches that. A fuzzer's panic hook would end the
    // process first; without it, only an uncaught panic does.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    arrays("parquet", bytes);
}

/// The text of an experiment file, with each of its presets and the runs of its sweeps.
pub fn experiment(bytes: &[u8]) {
    let file = Temporary::file("toml", bytes);
    let name = file.0.display().to_string();
    for preset in Experiment::presets(&name).unwrap_or_default() {
        let Ok(experiment) = Experiment::resolve(&name, &preset, None, None, &[]) else { continue };
        let _ = (experiment.to_toml(), experiment.configurations());
    }
}

/// The measurements, the record and the mark of a run, as its folder holds them.
pub fn run_folder(bytes: &[u8]) {
    let folder = Temporary::new("folder");
    let path = &folder.0;
    let parts = bytes.split(|byte| *byte == 0).chain(std::iter::repeat(&b""[..]));
    let _ = fs::create_dir_all(path);
    for (name, part) in ["run.toml", "metrics.jsonl", "record.json", "done"].into_iter().zip(parts) {
        let _ = fs::write(path.join(name), part);
    }
    let folder = RunFolder::at(path);
    let _ = (folder.configuration(), folder.state(), folder.measurements(), folder.record());
}

/// A file of arrays whose ending says its format: all of them as features, labels and numbers of each other.
fn arrays(ending: &str, bytes: &[u8]) {
    let file = Temporary::file(ending, bytes);
    let Ok(arrays) = Arrays::read(&file.0, "features") else { return };
    let names: Vec<String> = arrays.names().take(8).map(str::to_owned).collect();
    for name in &names {
        if let Ok(tensor) = arrays.floats(name, &[1, 2, 4], "any") {
            let _ = arrays.check_finite(name, &tensor);
        }
        let count = match arrays.array(name) {
            Some(Array::Numbers(tensor)) => tensor.dims().first().copied().unwrap_or(1),
            Some(Array::Text(words)) => words.len(),
            None => 0,
        };
        for other in &names {
            let _ = (arrays.labels(other, name, count), arrays.numbers(other, name, count));
        }
    }
}

/// A file or folder of this thread, which is removed when it is dropped: the readers take paths.
struct Temporary(PathBuf);

impl Temporary {
    fn new(ending: &str) -> Self {
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
        Self(std::env::temp_dir().join(format!("xtask-fuzzing-{}-{thread}.{ending}", std::process::id())))
    }

    #[allow(clippy::expect_used, reason = "a fuzzer without a temporary folder cannot go on")]
    fn file(ending: &str, bytes: &[u8]) -> Self {
        let file = Self::new(ending);
        fs::write(&file.0, bytes).expect("a writable temporary folder");
        file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use damaged_inputs::{Reader, is_limited, read_damaged, replay, run_in_limited_memory};

    use super::*;

    /// The readers, by the start of the names of files in `fuzz/found`.
    const READERS: [(&str, Reader); 7] = [
        ("npy", npy),
        ("npz", npz),
        ("csv", csv),
        ("safetensors", safetensors),
        ("parquet", parquet),
        ("experiment", experiment),
        ("run_folder", run_folder),
    ];

    /// The number of damaged copies of each input.
    const ROUNDS: u64 = 1500;

    fn npy_file(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': True, 'shape': {shape}, }}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn npz_file() -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in [
            ("features.npy", npy_file(">f4", "(3, 2)", &[7; 24])),
            ("labels.npy", npy_file("<U2", "(3,)", b"a\0\0\0\0\0\0\0b\0\0\0\0\0\0\0a\0\0\0\0\0\0\0")),
        ] {
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn safetensors_file() -> Vec<u8> {
        let (features, labels) = ([0u8; 24], [1u8, 0, 1]);
        let view = |dtype, shape, bytes| safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
        let tensors = [
            ("features", view(safetensors::Dtype::F32, vec![3, 2], &features[..])),
            ("labels", view(safetensors::Dtype::U8, vec![3], &labels[..])),
        ];
        safetensors::serialize(tensors, None).unwrap()
    }

    fn parquet_file() -> Vec<u8> {
        use parquet::data_type::{DoubleType, Int64Type};
        use parquet::file::properties::WriterProperties;
        use parquet::file::writer::SerializedFileWriter;
        let schema = "message m { required int64 labels; \
                      required group features (LIST) { repeated group list { required double element; } } }";
        let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
        let mut writer =
            SerializedFileWriter::new(Vec::new(), schema, std::sync::Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut labels = group.next_column().unwrap().unwrap();
        labels.typed::<Int64Type>().write_batch(&[0, 1, 1], None, None).unwrap();
        labels.close().unwrap();
        let mut features = group.next_column().unwrap().unwrap();
        let starts = [0, 1, 0, 1, 0, 1];
        features.typed::<DoubleType>().write_batch(&[0.5; 6], Some(&[1; 6]), Some(&starts)).unwrap();
        features.close().unwrap();
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    fn run_folder_files() -> Vec<u8> {
        let experiment = Experiment::resolve("fig4", "quick", None, None, &[]).unwrap();
        let configuration = experiment.configuration(0, None).unwrap().to_toml().unwrap();
        let measurement =
            r#"{"measuring_point":{"schedule":{"share":0.5}},"step":1,"epoch":0.5,"train_loss":null,"values":{}}"#;
        [configuration.as_bytes(), measurement.as_bytes(), b"{}", b"{}"].join(&[0u8][..])
    }

    #[test]
    #[ignore = "the test below starts it with limited memory"]
    fn damaged_files_are_read() {
        if !is_limited() {
            return;
        }
        let experiment_file = include_bytes!("../experiments/gc-penalty.toml");
        for (name, read, input, rounds) in [
            ("npy", npy as Reader, npy_file("<f8", "(2, 2)", &[9; 32]), ROUNDS),
            ("npz", npz, npz_file(), ROUNDS),
            ("csv", csv, b"f0,f1,\"class, name\"\n0,1e9,hen\n4,-0.5,\"o\"\"x\"\n".to_vec(), ROUNDS),
            ("safetensors", safetensors, safetensors_file(), ROUNDS),
            ("parquet", parquet, parquet_file(), ROUNDS),
            ("experiment", experiment, experiment_file.to_vec(), ROUNDS / 10),
            ("run_folder", run_folder, run_folder_files(), ROUNDS / 10),
        ] {
            read_damaged(&format!("xtask/damaged/{name}"), &input, rounds, read);
        }
    }

    #[test]
    fn damaged_files_neither_panic_nor_fill_the_memory() {
        run_in_limited_memory("fuzzing::tests::damaged_files_are_read", 4 << 20);
    }

    #[test]
    fn inputs_found_by_fuzzing_are_errors_or_values() {
        replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), &READERS);
    }
}
