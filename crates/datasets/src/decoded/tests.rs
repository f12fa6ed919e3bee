use std::sync::{Arc, Mutex};

use super::*;
use crate::{FileRecord, Hub, Normalisation, Progress};

/// Collects the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn start(&self, _: &str, _: u64) {}
    fn at(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

struct Bench {
    folder: tempfile::TempDir,
    notes: Arc<Notes>,
    source: Source,
    inputs: Inputs,
}

/// Two images of 2 channels, height 2 and width 3, of three classes, one of them empty.
fn decoded() -> Decoded {
    let all = LabelledImages::new("x", (0..24).collect(), [2, 2, 3], vec![2, 0], ["a", "b", "c"]).unwrap();
    let normalisation = Some(Normalisation::new(&[0.1, 0.7], &[0.3, 0.123_456_7]).unwrap());
    let files = vec![FileRecord { file: "f".to_owned(), sha256: Some("s".to_owned()) }];
    Decoded { all, parts: [1, 0, 1], normalisation, files }
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let notes = Arc::new(Notes::default());
    let hub = Hub { progress: notes.clone(), ..Hub::new("", "") };
    let source = Source { decoded: Some(folder.path().join("decoded")), ..Source::of_hub(hub) };
    let file = Input { name: "f".to_owned(), path: PathBuf::new(), sha256: Some("s".to_owned()) };
    Bench { folder, notes, source, inputs: Inputs { recipe: "r".to_owned(), files: vec![file] } }
}

impl Bench {
    /// The images, and whether they were decoded.
    fn load(&self) -> (Decoded, bool) {
        let mut made = false;
        let found = cached(&self.source, &self.inputs, || {
            made = true;
            Ok(decoded())
        });
        (found.unwrap(), made)
    }

    fn file(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.source.decoded.as_ref().unwrap()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.0.lock().unwrap())
    }
}

fn same(a: &Decoded, b: &Decoded) -> bool {
    let images = |set: &Decoded| (0..set.all.len()).map(|index| set.all.image(index).to_vec()).collect::<Vec<_>>();
    images(a) == images(b)
        && (a.all.labels(), a.all.classes(), a.all.shape()) == (b.all.labels(), b.all.classes(), b.all.shape())
        && (a.parts, &a.normalisation, &a.files) == (b.parts, &b.normalisation, &b.files)
}

#[test]
fn the_second_load_decodes_nothing_and_has_the_same_bits() {
    let bench = bench();
    let (first, made) = bench.load();
    assert!(made && same(&first, &decoded()));
    let (second, made) = bench.load();
    assert!(!made && same(&second, &decoded()));
    assert_eq!(bench.notes(), [""; 0]);
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected_reported_and_repaired() {
    let bench = bench();
    bench.load();
    let whole = std::fs::read(bench.file()).unwrap();
    let key = bench.file().file_stem().unwrap().to_str().unwrap().to_owned();
    assert!(parse(&whole, &key).is_ok());
    // The zeros between the parts are not checked.
    let used = |at: usize| {
        let mut cleared = whole.clone();
        cleared[at] ^= 0xff;
        parse(&cleared, &key).is_err()
    };
    let ignored = (0..whole.len()).filter(|at| !used(*at)).count();
    assert!(ignored < 2 * 64, "only padding may change unnoticed, {ignored} bytes did");
    assert!((0..whole.len()).all(|length| parse(&whole[..length], &key).is_err()));
    for (name, bytes, reason) in [
        ("flipped", [&whole[..whole.len() - 1], &[whole[whole.len() - 1] ^ 1]].concat(), "checksum"),
        ("cut", whole[..whole.len() - 5].to_vec(), "bytes"),
        ("older", [&whole[..8], &[0], &whole[9..]].concat(), "version 0"),
        ("empty", Vec::new(), "cut off"),
    ] {
        std::fs::write(bench.file(), bytes).unwrap();
        let (repaired, made) = bench.load();
        assert!(made && same(&repaired, &decoded()), "{name}");
        let notes = bench.notes();
        assert!(notes.len() == 1 && notes[0].contains(reason), "{name}: {notes:?}");
        assert_eq!(std::fs::read(bench.file()).unwrap(), whole, "{name}");
        assert!(!bench.load().1, "{name}");
    }
}

#[test]
fn different_inputs_have_different_files() {
    let mut bench = bench();
    bench.load();
    let first = bench.file();
    for change in [
        |inputs: &mut Inputs| inputs.recipe = "other".to_owned(),
        |inputs: &mut Inputs| inputs.files[0].sha256 = Some("other".to_owned()),
        |inputs: &mut Inputs| inputs.files[0].name = "other".to_owned(),
    ] {
        let before = bench.inputs.key().unwrap();
        change(&mut bench.inputs);
        assert_ne!(bench.inputs.key().unwrap(), before);
        assert!(bench.load().1);
    }
    // A file under the name of another is not used.
    let key = bench.inputs.key().unwrap();
    let place = bench.source.decoded.as_ref().unwrap().join(format!("{key}.images"));
    std::fs::copy(first, place).unwrap();
    assert!(bench.load().1);
    assert!(bench.notes()[0].contains("other files"));
}

#[test]
fn a_file_without_checksum_is_identified_by_path_length_and_time() {
    let mut bench = bench();
    let path = bench.folder.path().join("table");
    std::fs::write(&path, b"12").unwrap();
    bench.inputs.files[0] = Input { name: "f".to_owned(), path: path.clone(), sha256: None };
    let before = bench.inputs.key().unwrap();
    assert_eq!(bench.inputs.key().unwrap(), before);
    std::fs::write(&path, b"123").unwrap();
    assert_ne!(bench.inputs.key().unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(bench.inputs.key(), Err(Error::Io { .. })));
}

#[test]
fn without_a_writable_folder_images_are_decoded_and_not_cached() {
    let mut bench = bench();
    let file = bench.folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    bench.source.decoded = Some(file.join("below"));
    let (images, made) = bench.load();
    assert!(made && same(&images, &decoded()));
    assert!(bench.notes().iter().any(|note| note.contains("not cached")));
}

#[test]
fn a_partial_file_of_a_killed_process_is_never_used_and_is_removed_later() {
    let bench = bench();
    let folder = bench.source.decoded.clone().unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    let key = bench.inputs.key().unwrap();
    let part = folder.join(format!("{key}.images.77.partial"));
    let file = std::fs::File::create(&part).unwrap();
    (&file).write_all(b"GCIMAGES").unwrap();
    let yesterday = file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(25 * 3600);
    file.set_modified(yesterday).unwrap();
    assert!(bench.load().1);
    assert!(!part.exists());
    assert_eq!(bench.notes(), [""; 0]);
    assert!(!bench.load().1);
}
