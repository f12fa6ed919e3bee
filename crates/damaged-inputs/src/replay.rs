//! Inputs that fuzzing found, kept as files.

use std::path::Path;

/// A reader of bytes.
pub type Reader = fn(&[u8]);

/// Runs each file of a folder through the reader whose name is the start of the file's name.
///
/// # Panics
/// A folder or file that cannot be read, and a file whose name starts with no reader's name: the test fails.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("docs-replay-{}", std::process::id()));
/// std::fs::create_dir(&folder)?;
/// std::fs::write(folder.join("number-too-long"), "99999999999999999999")?;
/// damaged_inputs::replay(&folder, &[("number", |bytes| assert_eq!(bytes.len(), 20))]);
/// std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
pub fn replay(folder: impl AsRef<Path>, readers: &[(&str, Reader)]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let reader = readers.iter().find(|(reader, _)| name.starts_with(reader));
        let (_, read) = reader.unwrap_or_else(|| panic!("{name} starts with no reader's name"));
        read(&std::fs::read(&path).unwrap());
    }
}
