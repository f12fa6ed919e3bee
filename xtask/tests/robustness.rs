//! Input of every kind from the outside: the formats that other programs write, damaged files, devices and pipes, names
//! with escape codes. No input ends a command by a panic or a signal. The book's page `robustness.md` lists the results.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod schema;
mod two_sides;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use candle_core::{Device, Tensor, safetensors};
use parquet::data_type::{BoolType, FloatType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use program::{PROGRAM, command, document, ended, xtask};
use serde_json::Value;
use two_sides::{NET, save_net, save_table};

/// Two features of four samples, the first two of class 0.
const FEATURES: [[f64; 2]; 4] = [[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 3.0]];

fn json(folder: &Path, args: &[&str]) -> Value {
    let document = document(&xtask(folder, &[args, &["--json"]].concat()));
    schema::check(args[0], &document);
    document
}

/// An npy file as NumPy writes it.
fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn features_npy() -> Vec<u8> {
    let data: Vec<u8> = FEATURES.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    npy("<f8", "False", "(4, 2)", &data)
}

fn save_safetensors(path: &Path) {
    let features = Tensor::new(&FEATURES, &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u8, 0, 1, 1], &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", features), ("labels", labels)]), path).unwrap();
}

fn save_npz(path: &Path) {
    let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in [("features.npy", features_npy()), ("labels.npy", npy("|u1", "False", "(4,)", &[0, 0, 1, 1]))]
    {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap();
}

fn save_parquet(path: &Path) {
    let schema = "message schema { required boolean labels; \
                  required group features (LIST) { repeated group list { required float element; } } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut labels = group.next_column().unwrap().unwrap();
    labels.typed::<BoolType>().write_batch(&[false, false, true, true], None, None).unwrap();
    labels.close().unwrap();
    let mut features = group.next_column().unwrap().unwrap();
    let values: Vec<f32> = FEATURES.iter().flatten().map(|x| *x as f32).collect();
    features.typed::<FloatType>().write_batch(&values, Some(&[1; 8]), Some(&[0, 1, 0, 1, 0, 1, 0, 1])).unwrap();
    features.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

const CSV: &str = "f0,f1,class_name\n0,0,hen\n0,2,hen\n4,0,ox\n4,3,ox\n";

#[test]
fn every_format_and_type_gives_the_same_measures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_safetensors(&path.join("f.safetensors"));
    let expected = json(path, &["collapse", "--features", "f.safetensors"]);
    let columns = [0, 1].map(|column| FEATURES.map(|row| row[column]));
    let fortran: Vec<u8> = columns.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(path.join("fortran.npy"), npy("<f8", "True", "(4, 2)", &fortran)).unwrap();
    let big: Vec<u8> = FEATURES.iter().flatten().flat_map(|x| (*x as f32).to_be_bytes()).collect();
    fs::write(path.join("big.npy"), npy(">f4", "False", "(4, 2)", &big)).unwrap();
    let text: Vec<u8> = "hen\0hen\0ox\0\0ox\0\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let shorts: Vec<u8> = [0u16, 0, 1, 1].iter().flat_map(|x| x.to_le_bytes()).collect();
    let floats: Vec<u8> = [0f32, 0.0, 1.0, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for (name, bytes) in [
        ("u16", npy("<u2", "False", "(4,)", &shorts)),
        ("bool", npy("|b1", "False", "(4,)", &[0, 0, 1, 1])),
        ("column", npy("|i1", "False", "(4, 1)", &[0, 0, 1, 1])),
        ("float", npy("<f4", "False", "(4,)", &floats)),
        ("text", npy("<U4", "False", "(4,)", &text)),
    ] {
        let file = format!("{name}.npy");
        fs::write(path.join(&file), bytes).unwrap();
        for features in ["fortran.npy", "big.npy"] {
            let found = json(path, &["collapse", "--features", features, "--labels", &file]);
            assert_eq!(found["collapse"], expected["collapse"], "{features} {name}");
            assert_eq!(found["class_names"].is_array(), name == "text");
        }
    }
    save_npz(&path.join("f.npz"));
    save_parquet(&path.join("f.parquet"));
    fs::write(path.join("f.csv"), CSV).unwrap();
    // Each file has one class, which alone would have the number 0; classes are matched by name.
    fs::write(path.join("first.csv"), "f0,f1,class_name\n0,0,hen\n0,2,hen\n").unwrap();
    fs::write(path.join("second.csv"), "f0,f1,class_name\n4,0,ox\n4,3,ox\n").unwrap();
    for files in [&["f.npz"][..], &["f.parquet"], &["f.csv"], &["first.csv", "second.csv"]] {
        let found = json(path, &[&["collapse", "--features"], files].concat());
        assert_eq!(found["collapse"], expected["collapse"], "{files:?}");
        let names = if files[0].ends_with("csv") { serde_json::json!(["hen", "ox"]) } else { Value::Null };
        assert_eq!(found["class_names"], names, "{files:?}");
    }
}

/// Tables of other programs: what is no feature stays out of the features, and a first line of numbers is not taken for names.
#[test]
fn columns_that_are_no_features_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_safetensors(&path.join("f.safetensors"));
    let expected = json(path, &["collapse", "--features", "f.safetensors"]);
    for (text, name) in [
        (",f0,f1,label\n0,0,0,0\n1,0,2,0\n2,4,0,1\n3,4,3,1\n", "the row names of pandas and R"),
        ("f0,f1,Label,gc\n0,0,0,9\n0,2,0,8\n4,0,1,7\n4,3,1,6\n", "complexities"),
        ("f0,species,f1\n0,0,0\n0,0,2\n4,1,0\n4,1,3\n", "labels that are named"),
        ("0,1,label\n0,0,0\n0,2,0\n4,0,1\n4,3,1\n", "columns that pandas numbered"),
    ] {
        fs::write(path.join("f.csv"), text).unwrap();
        let labels = if text.contains("species") { &["--labels-name", "species"][..] } else { &[] };
        let found = json(path, &[&["collapse", "--features", "f.csv"], labels].concat());
        let measures =
            |document: &Value| (document["collapse"]["cdnv"].clone(), document["collapse"]["features"].clone());
        assert_eq!(measures(&found), measures(&expected), "{name}");
    }
    fs::write(path.join("f.csv"), CSV).unwrap();
    let notes = ended(path, &["collapse", "--features", "f.csv"], 0);
    assert!(notes.contains("the features of f.csv are its columns of numbers: f0, f1\n"), "{notes}");
    for (text, part) in
        [("0.5,0,0\n0,2,0\n4,0,1\n", "names of the columns"), ("f0;f1;label\n0;0;0\n", "expected commas")]
    {
        fs::write(path.join("f.csv"), text).unwrap();
        let message = ended(path, &["collapse", "--features", "f.csv"], 1);
        assert!(message.contains("f.csv") && message.contains(part), "{message}");
    }
    // Files of unequal precision are joined.
    let single: Vec<u8> = FEATURES.iter().flatten().flat_map(|x| (*x as f32).to_le_bytes()).collect();
    for (name, data) in [("single", npy("<f4", "False", "(4, 2)", &single)), ("double", features_npy())] {
        let mut writer = zip::ZipWriter::new(File::create(path.join(format!("{name}.npz"))).unwrap());
        for (name, bytes) in [("features.npy", data), ("labels.npy", npy("|u1", "False", "(4,)", &[0, 0, 1, 1]))] {
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        writer.finish().unwrap();
    }
    let joined = json(path, &["collapse", "--features", "single.npz", "double.npz"]);
    assert_eq!(joined["collapse"]["samples"], 8);
}

#[test]
fn a_parquet_table_of_numbers_is_a_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_safetensors(&path.join("f.safetensors"));
    let expected = json(path, &["collapse", "--features", "f.safetensors"]);
    let schema = "message schema { required float f1; required float f0; required boolean label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path.join("f.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in [1, 0] {
        let mut numbers = group.next_column().unwrap().unwrap();
        let values = FEATURES.map(|row| row[column] as f32);
        numbers.typed::<FloatType>().write_batch(&values, None, None).unwrap();
        numbers.close().unwrap();
    }
    let mut labels = group.next_column().unwrap().unwrap();
    labels.typed::<BoolType>().write_batch(&[false, false, true, true], None, None).unwrap();
    labels.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let found = json(path, &["collapse", "--features", "f.parquet"]);
    assert_eq!(found["collapse"]["cdnv"], expected["collapse"]["cdnv"]);
}

#[test]
fn presets_and_transfer_scores_are_measured_on_features() {
    let folder = tempfile::tempdir().unwrap();
    save_safetensors(&folder.path().join("f.safetensors"));
    let collapse = ["collapse", "--features", "f.safetensors", "--preset", "rhubarb-wu,papyan,kowalski"];
    let document = json(folder.path(), &collapse);
    let nc1 = |name: &str| document["presets"][name]["nc1"].as_f64();
    // Papyan's notebook does not divide by the number of classes; kowalski has no NC1.
    assert_eq!(nc1("rhubarb-wu").map(|nc1| 2.0 * nc1), nc1("papyan"));
    assert!(nc1("papyan").is_some() && nc1("kowalski").is_none());
    let table = xtask(folder.path(), &collapse).stdout;
    assert!(String::from_utf8(table).unwrap().contains("with the conventions of papyan"));
    ended(folder.path(), &["collapse", "--features", "f.safetensors", "--preset", "papian"], 2);
    let few_shot = ["fewshot", "--features", "f.safetensors", "--ways", "2", "--shots", "1", "--queries", "1"];
    let document = json(folder.path(), &[&few_shot[..], &["--transfer-scores"]].concat());
    for score in ["log_me", "h_score", "separation"] {
        assert!(document["transfer_scores"][score]["value"].is_f64(), "{document}");
    }
    assert!(json(folder.path(), &few_shot).get("transfer_scores").is_none());
}

/// Every mutation ends with 0 or 1, within 4 GiB of address space: every size is checked before memory is allocated.
#[test]
fn damaged_files_give_a_result_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("labels.npy"), npy("|u1", "False", "(4,)", &[0, 0, 1, 1])).unwrap();
    fs::write(path.join("a.npy"), features_npy()).unwrap();
    fs::write(path.join("a.csv"), CSV).unwrap();
    save_safetensors(&path.join("a.safetensors"));
    save_npz(&path.join("a.npz"));
    save_parquet(&path.join("a.parquet"));
    let mut refused = 0;
    for (index, ending) in ["npy", "npz", "csv", "safetensors", "parquet"].into_iter().enumerate() {
        let whole = fs::read(path.join(format!("a.{ending}"))).unwrap();
        let damaged = format!("damaged.{ending}");
        let mut args = vec!["-c", "ulimit -v 4194304; exec \"$0\" \"$@\"", PROGRAM];
        args.extend(["collapse", "--json", "--features", &damaged]);
        if ending == "npy" {
            args.extend(["--labels", "labels.npy"]);
        }
        let mut stream = streams::stream(7, "xtask/tests/mutations", index as u64);
        let draws = streams::permutation(&mut stream, 1 << 16);
        for (round, draw) in draws[..150].iter().enumerate() {
            let (mut bytes, at) = (whole.clone(), draw % whole.len());
            match round % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << (round % 8),
                _ => bytes[at] = [0, 0x7f, 0xff, b'9'][round % 4],
            }
            fs::write(path.join(&damaged), &bytes).unwrap();
            let output = Command::new("sh").current_dir(path).args(&args).stdin(Stdio::null()).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let what = || format!("{ending}, round {round}, byte {at} of {}: {errors}", whole.len());
            assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}: {}", output.status, what());
            assert!(!errors.contains("panicked"), "{}", what());
            if output.status.code() == Some(1) {
                refused += 1;
                assert!(errors.contains(&damaged), "the message names the file: {}", what());
            }
        }
    }
    assert!(refused > 300, "{refused} of 750 are refused");
}

#[test]
fn images_without_class_folders_give_the_complexity_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    fs::create_dir(path.join("photos")).unwrap();
    for shade in [20u8, 90, 200] {
        let pixels = vec![shade, shade / 2, 255 - shade, 7];
        let image = image::GrayImage::from_raw(2, 2, pixels).unwrap();
        image.save(path.join("photos").join(format!("{shade}.png"))).unwrap();
    }
    fs::write(path.join("photos/Thumbs.db"), b"no image").unwrap();
    let args = [&NET[..], &["--data", "folder:photos"]].concat();
    let document = json(path, &args);
    assert_eq!(document["inputs"]["samples"], 3);
    assert!(document["gc"]["value"].as_f64().unwrap() > 0.0);
    assert!(document["collapse"].is_null());
    assert!(document["collapse_undefined"].as_str().unwrap().contains("no labels"), "{document}");
    let notes = ended(path, &args, 0);
    assert!(notes.contains("photos: skipped 1 file that is not an image (Thumbs.db)"), "{notes}");
    let table = String::from_utf8(xtask(path, &args).stdout).unwrap();
    assert!(table.contains("undefined: the images have no labels"), "{table}");
    // Folders of other programs are no classes; nor are folders without images, but these may be meant as classes.
    fs::create_dir_all(path.join("photos/__MACOSX/x")).unwrap();
    assert_eq!(json(path, &args)["inputs"]["samples"], 3);
    fs::create_dir(path.join("photos/lists")).unwrap();
    fs::write(path.join("photos/lists/all.txt"), "20.png").unwrap();
    let message = ended(path, &args, 1);
    assert!(message.contains("3 images, and no folder in it (lists) holds any"), "{message}");
    fs::remove_dir_all(path.join("photos")).unwrap();
    fs::create_dir(path.join("photos")).unwrap();
    assert!(ended(path, &args, 1).contains("photos"));
}

#[test]
fn columns_of_a_table_of_the_hub_are_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    save_table(&path.join("tables/owner/sides/data"));
    let args = [&NET[..], &["--data", "hub:owner/sides", "--data-dir", "tables"]].concat();
    let message = ended(path, &args, 1);
    assert!(message.contains("front") && message.contains("back") && message.contains("image"), "{message}");
    let of = |column: &str| {
        let document = json(path, &[&args[..], &["--image-column", column, "--label-column", "kind"]].concat());
        assert_eq!(document["inputs"]["samples"], 4, "the training part");
        document["gc"]["value"].as_f64().unwrap()
    };
    assert_ne!(of("front"), of("back"));
    let message = ended(path, &[&args[..], &["--image-column", "side"]].concat(), 1);
    assert!(message.contains("`side`") && message.contains("front"), "{message}");
    let message = ended(path, &[&args[..], &["--image-column", "front", "--label-column", "back"]].concat(), 1);
    assert!(message.contains("back"), "{message}");
}

#[test]
fn unknown_names_on_the_command_line_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    save_safetensors(&path.join("f.safetensors"));
    fs::create_dir(path.join("photos")).unwrap();
    let few_shot = ["fewshot", "--features", "f.safetensors", "--ways", "2", "--shots", "1", "--queries", "1"];
    for (args, part) in [
        (
            &["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--data", "glifs"][..],
            "did you mean glyphs",
        ),
        (
            &["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--data", "glyphs:tst"],
            "unknown part `tst`",
        ),
        (
            &["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--data", "hub:a/b:tst"],
            "unknown part `tst`",
        ),
        (&["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--data", "folder:photos:tst"], "part `tst`"),
        (&["measure", "--model", "vgg31", "--weights", "w.safetensors", "--inputs", "x.safetensors"], "vgg13"),
        (&["data", "verify", "glifs"], "did you mean glyphs"),
        (&["data", "show", "glifs"], "did you mean glyphs"),
        (&["reproduce", "fig9", "--dry-run"], "unknown experiment `fig9`"),
        (&[&few_shot[..], &["--heads", "ncm,rigde:1"]].concat(), "rigde"),
        (&["collapse", "--features", "f.safetensors", "--preset", "papian"], "papyan"),
    ] {
        let message = ended(path, args, 2);
        assert!(message.contains(part), "{args:?}: {message}");
    }
    // A name in a file is input.
    fs::write(path.join("wrong.toml"), "family = 'mpl'").unwrap();
    ended(path, &["measure", "--arch", "wrong.toml", "--weights", "w.safetensors", "--inputs", "x.safetensors"], 1);
}

#[test]
fn line_feeds_in_names_do_not_break_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    fs::create_dir(path.join("two\nlines")).unwrap();
    image::GrayImage::from_raw(2, 2, vec![1, 9, 70, 7]).unwrap().save(path.join("two\nlines/1.png")).unwrap();
    fs::write(path.join("two\nlines/Thumbs.db"), "no image").unwrap();
    let args = [&NET[..], &["--data", "folder:two\nlines"]].concat();
    let notes = ended(path, &args, 0);
    assert!(notes.contains("note: two\\nlines: skipped 1 file that is not an image (Thumbs.db)\n"), "{notes}");
    for (args, name) in [
        (&["collapse", "--features", "a\nb.npz"][..], "a\\nb.npz"),
        (&["fewshot", "--features", "a\nb.npz"], "a\\nb.npz"),
        (&[&NET[..], &["--inputs", "a\nb.safetensors"]].concat(), "a\\nb.safetensors"),
    ] {
        let message = ended(path, args, 1);
        assert!(message.contains(name) && message.trim_end().lines().count() == 1, "{message}");
    }
}

#[test]
fn exit_codes_distinguish_wrong_usage_from_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    save_safetensors(&path.join("f.safetensors"));
    let net = |more: &[&str], code: i32| ended(path, &[&NET[..], &["--inputs", "x.safetensors"], more].concat(), code);
    net(&[], 0);
    assert!(net(&["--samples", "6"], 1).contains("give at most 5"));
    assert!(net(&["--std", "0.5"], 2).contains("--units pixel"));
    let image = [&NET[..], &["--data", "glyphs", "--std", "0.5"]].concat();
    assert!(ended(path, &image, 2).contains("give --mean too"));
    let one_way = ["fewshot", "--features", "f.safetensors", "--ways", "1", "--shots", "1", "--queries", "1"];
    assert!(ended(path, &one_way, 2).contains("at least 2 classes"));
    for usage in [
        &["--size", "224"][..],
        &["--config", "plain"],
        &["--image-column", "image"],
        &["--label-column", "label"],
        &["--samples", "0"],
        &["--samples", "99999999999999999999"],
        &["--probes", "1000001"],
        &["--estimator", "exakt"],
    ] {
        net(usage, 2);
    }
    let classes = ["collapse", "--features", "f.safetensors", "--classes", "99999999999"];
    assert!(ended(path, &classes, 2).contains("from 1 to"));
    let shown = ["data", "show", "glyphs", "--per-class", "99999999999"];
    assert!(ended(path, &shown, 2).contains("from 1 to"));
    ended(path, &["reproduce", "fig1", "--dry-run", "--threads", "99999999999"], 2);
    for key in ["measure.gc_probes", "measure.gc_images_per_class", "data.train_images_per_class"] {
        let setting = format!("{key}=1000000000000000000");
        let message = ended(path, &["reproduce", "fig1", "--dry-run", "--set", &setting], 2);
        assert!(message.contains(key) && message.contains("to 10000000"), "{message}");
    }
    ended(path, &["collapse", "--features", "nowhere.npz"], 1);
    ended(path, &["collapse", "--features", "net.toml"], 1);
}

/// A wrong path of an output costs no other file and no time.
#[test]
fn outputs_replace_only_files_of_their_kind_and_are_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    save_safetensors(&path.join("f.safetensors"));
    let weights = fs::read(path.join("w.safetensors")).unwrap();
    fn measured(target: &str) -> Vec<&str> {
        [&NET[..], &["--inputs", "x.safetensors", "--per-sample", target]].concat()
    }
    for target in ["w.safetensors", "x.safetensors", "net.toml"] {
        let message = ended(path, &measured(target), 1);
        assert!(message.contains(target) && message.contains("give another path"), "{message}");
    }
    assert_eq!(fs::read(path.join("w.safetensors")).unwrap(), weights);
    for _ in 0..2 {
        ended(path, &measured("gc.csv"), 0);
    }
    let collapse = ["collapse", "--features", "f.safetensors", "--pairs"];
    for _ in 0..2 {
        ended(path, &[&collapse[..], &["pairs.csv"]].concat(), 0);
    }
    for target in ["gc.csv", "f.safetensors"] {
        assert!(ended(path, &[&collapse[..], &[target]].concat(), 1).contains("give another path"));
    }
    let few_shot = ["fewshot", "--features", "f.safetensors", "--ways", "2", "--shots", "1", "--queries", "1"];
    let rank = ["rank", "--list", "nets.toml", "--inputs", "x.safetensors", "--chart", "missing/a.svg"];
    for args in [
        measured("missing/gc.csv"),
        [&collapse[..], &["missing/pairs.csv"]].concat(),
        [&few_shot[..], &["--write-tasks", "missing/tasks.jsonl"]].concat(),
        rank.to_vec(),
        vec!["reproduce", "fig1", "--plan", "missing/list"],
    ] {
        let message = ended(path, &args, 1);
        assert!(message.contains("there is no folder missing"), "{args:?}: {message}");
    }
}

/// Inputs of another layout or number of channels are the inputs' fault, not that of the weights.
#[test]
fn inputs_that_do_not_fit_the_weights_are_blamed_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let architecture = models::Architecture::named("conv4").unwrap();
    let initialisation = models::Initialisation::HeNormal;
    let network =
        models::Network::new(&architecture, initialisation, 0, candle_core::DType::F32, &Device::Cpu).unwrap();
    network.params().save(path.join("w.safetensors")).unwrap();
    let args =
        ["measure", "--model", "conv4", "--weights", "w.safetensors", "--probes", "1", "--inputs", "x.safetensors"];
    for (shape, part) in [
        (vec![2, 32, 32, 3], Some("[32, 32, 3], which looks like [h, w, c]")),
        (vec![2, 1, 32, 32], Some("[1, 32, 32], expected [3, h, w]: the weights take 3 channels")),
        (vec![2, 3, 32, 32], None),
    ] {
        let mut stream = streams::stream(2, "xtask/tests/robustness", 0);
        let values = streams::standard_normal(&mut stream, shape.iter().product());
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let x = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        safetensors::save(&HashMap::from([("x", x)]), path.join("x.safetensors")).unwrap();
        let message = ended(path, &args, i32::from(part.is_some()));
        if let Some(part) = part {
            assert!(message.contains("x.safetensors: a sample has shape") && message.contains(part), "{message}");
        }
    }
}

#[test]
fn devices_and_pipes_are_refused_and_closed_pipes_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    save_safetensors(&path.join("f.safetensors"));
    fs::write(path.join("f.npy"), features_npy()).unwrap();
    for pipe in ["pipe.npz", "pipe.toml"] {
        assert!(Command::new("mkfifo").arg(path.join(pipe)).status().unwrap().success());
    }
    for input in ["pipe.npz", "/dev/null", "/dev/zero", "."] {
        let message = ended(path, &["collapse", "--features", input], 1);
        assert!(message.contains("expected a regular file"), "{message}");
    }
    for args in [
        &["collapse", "--features", "f.safetensors", "--head", "pipe.npz"][..],
        &["collapse", "--features", "f.npy", "--labels", "pipe.npz"],
        &["fewshot", "--features", "f.safetensors", "--tasks", "pipe.npz"],
        &["measure", "--arch", "pipe.npz", "--weights", "w.safetensors", "--inputs", "x.safetensors"],
        &["measure", "--arch", "net.toml", "--weights", "pipe.npz", "--inputs", "x.safetensors"],
        &["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--inputs", "pipe.npz"],
        &["measure", "--onnx", "pipe.npz", "--inputs", "x.safetensors"],
        &["rank", "--list", "pipe.npz", "--inputs", "x.safetensors"],
        &["reproduce", "pipe.toml", "--dry-run"],
    ] {
        let message = ended(path, args, 1);
        let refused = ["regular file", "device or pipe"].iter().any(|part| message.contains(part));
        assert!(refused, "{args:?}: {message}");
    }
    for target in ["/dev/null", "/dev/full", "pipe.npz"] {
        let message = ended(path, &[&NET[..], &["--inputs", "x.safetensors", "--per-sample", target]].concat(), 1);
        assert!(message.contains(target) && message.contains("regular file"), "{message}");
    }
    let mut command = command(path, &["collapse", "--features", "f.safetensors"]);
    command.stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0), "a reader that closes the pipe early is no error");
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
    }
}

#[test]
fn escape_codes_in_names_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let named = "\u{1b}[2Jf\n\u{9b}31m.safetensors";
    save_safetensors(&path.join(named));
    let output = xtask(path, &["collapse", "--features", named]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("\\u{1b}[2Jf\\n\\u{9b}31m.safetensors\n"), "{table}");
    for (args, code) in [
        (&["collapse", "--features", "\u{1b}[2J.npz"][..], 1),
        (&["collapse", "--features", "f.npz", "--weighting", "\u{1b}[2J"], 2),
        (&["data", "verify", "\u{1b}[2J"], 2),
    ] {
        let message = ended(path, args, code);
        assert!(!message.contains('\u{1b}'), "{message:?}");
        // The parser of the command line drops them from its messages.
        assert!(args.contains(&"--weighting") || message.contains("\\u{1b}[2J"), "{message:?}");
    }
}
