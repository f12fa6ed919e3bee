//! Files that are written as a whole or not at all, and what may be written to.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use support::refuse_irregular;

/// The largest experiment file or list that is read, in bytes.
pub(crate) const LARGEST_TEXT: u64 = 16 << 20;

/// End of the names of temporary files, those of [`support::write_file`] too.
const PARTIAL: &str = ".partial";

/// Writes a file as a whole or not at all ([`support::write_file`]).
///
/// # Errors
/// A path that exists and is not a regular file (a folder, a device, a link), and errors of the system.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    refuse_irregular(path)?;
    Ok(support::write_file(path, bytes)?)
}

/// Checks, before anything is computed, that a CSV file with these columns can be written: its folder exists, and what is there
/// already is such a file, so that no input or other work is lost by a wrong path.
///
/// # Errors
/// A folder that is missing; a path that exists and is not a regular file; a file of something else.
pub(crate) fn replaceable(path: &Path, columns: &[&str]) -> Result<()> {
    let header = format!("{}\n", columns.join(","));
    replaceable_start(path, header.as_bytes(), &format!("file with the columns {}", columns.join(", ")))
}

/// The same for files of another kind (`kind`, in words), all of which start with these bytes.
///
/// # Errors
/// Those of [`replaceable`].
pub(crate) fn replaceable_start(path: &Path, start: &[u8], kind: &str) -> Result<()> {
    in_existing_folder(path)?;
    let Ok(file) = File::open(path) else { return Ok(()) };
    let mut found = Vec::new();
    let read = file.take(start.len() as u64).read_to_end(&mut found);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if !found.is_empty() && found != start {
        bail!("{} exists and is no {kind}: give another path, or remove it", path.display());
    }
    Ok(())
}

/// Checks, before anything is computed, that a file can be written: its folder exists.
///
/// # Errors
/// A folder that is missing; a path that exists and is not a regular file.
pub(crate) fn in_existing_folder(path: &Path) -> Result<()> {
    refuse_irregular(path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("cannot write {}: there is no folder {}", path.display(), folder.display())
        }
        _ => Ok(()),
    }
}

/// Checks that a path exists.
///
/// # Errors
/// A path that does not exist, or that cannot be looked at.
pub(crate) fn existing(path: &Path) -> Result<()> {
    fs::metadata(path).map(|_| ()).with_context(|| format!("cannot read {}", path.display()))
}

/// Opens a file of lines for appending. A last line that was cut, by a kill or a full disk, is ended first.
///
/// # Errors
/// A path that exists and is not a regular file, and errors of the system.
pub(crate) fn append_to(path: &Path) -> Result<File> {
    refuse_irregular(path)?;
    let open = || -> std::io::Result<File> {
        let mut file = OpenOptions::new().read(true).create(true).append(true).open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    };
    open().with_context(|| format!("cannot write {}: is there space?", path.display()))
}

/// Removes the temporary files that killed processes left in a folder. No process may be at work in it.
pub(crate) fn remove_partial(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(PARTIAL) {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Makes the folder if it is missing, and checks that files can be made in it.
pub(crate) fn writable_folder(folder: &Path) -> Result<()> {
    let advice = || format!("cannot write to the folder {}: give another one with --out", folder.display());
    fs::create_dir_all(folder).with_context(advice)?;
    let probe = folder.join(format!(".probe.{}{PARTIAL}", std::process::id()));
    File::create(&probe).and_then(|_| fs::remove_file(&probe)).with_context(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.csv"]);
        let message = format!("{:#}", write_whole(&folder.path().join("missing/a"), b"").unwrap_err());
        assert!(message.contains("cannot write") && message.contains("missing/a"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn links_folders_and_pipes_are_refused_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("target"), "kept").unwrap();
        std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, kind) in [
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("folder", "a folder"),
            ("socket", "a socket"),
        ] {
            for message in [write_whole(&at(name), b"x").unwrap_err(), append_to(&at(name)).unwrap_err()] {
                let message = format!("{message:#}");
                assert!(message.contains(name) && message.contains(&format!("it is {kind}")), "{message}");
            }
        }
        assert_eq!(fs::read(at("target")).unwrap(), b"kept");
        assert!(write_whole(Path::new("/dev/null"), b"").is_err());
    }

    #[test]
    fn only_files_of_the_same_columns_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let check = |name: &str| replaceable(&at(name), &["sample", "gc"]).map_err(|error| format!("{error:#}"));
        for (name, text) in [("empty.csv", ""), ("same.csv", "sample,gc\n0,1.5\n")] {
            fs::write(at(name), text).unwrap();
            check(name).unwrap();
        }
        check("new.csv").unwrap();
        fs::write(at("old.svg"), "<svg></svg>").unwrap();
        replaceable_start(&at("old.svg"), b"<svg", "SVG").unwrap();
        let message = replaceable_start(&at("same.csv"), b"<svg", "SVG").unwrap_err().to_string();
        assert!(message.contains("is no SVG: give another path"), "{message}");
        for (name, text) in [("other.csv", "sample,label\n0,1\n"), ("short", "sa"), ("image.png", "\u{89}PNG")] {
            fs::write(at(name), text).unwrap();
            assert!(check(name).unwrap_err().contains("give another path"), "{name}");
        }
        assert!(check("missing/a.csv").unwrap_err().contains("there is no folder"));
        assert!(in_existing_folder(Path::new("a.csv")).is_ok());
    }

    #[test]
    fn a_cut_line_is_ended_before_the_next_and_partial_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append_to(&path).unwrap().write_all(b"one\n").unwrap();
        append_to(&path).unwrap().write_all(b"tw").unwrap();
        append_to(&path).unwrap().write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\n");
        fs::write(folder.path().join(".lines.4242.partial"), "on").unwrap();
        remove_partial(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["lines"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let message = format!("{:#}", writable_folder(&file.join("below")).unwrap_err());
        assert!(message.contains("file/below") && message.contains("--out"), "{message}");
    }
}
