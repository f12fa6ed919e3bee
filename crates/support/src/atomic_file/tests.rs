//! Whole writes, refused targets, links and permissions.

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_and_no_other_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    write_file(&path, b"one").unwrap();
    write_file(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn a_failed_or_dropped_write_leaves_the_target_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    write_file(&path, b"whole").unwrap();
    let failed = write_file_with(&path, |file| {
        file.write_all(b"half")?;
        Err(std::io::Error::from(ErrorKind::StorageFull))
    });
    assert!(
        matches!(failed, Err(Error::Io { action: "write", reason, .. }) if reason.kind() == ErrorKind::StorageFull)
    );
    let mut dropped = AtomicFile::create(&path).unwrap();
    dropped.write_all(b"half").unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    drop(dropped);
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn a_folder_a_missing_folder_and_an_empty_path_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let into = |path: &Path| write_file(path, b"").unwrap_err();
    assert!(matches!(into(folder.path()), Error::NotARegularFile { found: FileKind::Folder, .. }));
    assert!(matches!(into(Path::new("/")), Error::NotARegularFile { found: FileKind::Folder, .. }));
    assert!(matches!(into(&folder.path().join("no/file")), Error::Io { action: "write", .. }));
    assert!(matches!(into(Path::new("")), Error::NoFileName { .. }));
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_sockets_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match (write_file(path, b"bytes"), refuse_irregular(path)) {
        (Err(Error::NotARegularFile { found, .. }), Err(Error::NotARegularFile { found: same, .. }))
            if found == same =>
        {
            found
        }
        other => panic!("{}: {other:?}", path.display()),
    };
    assert_eq!(refused(Path::new("/dev/null")), FileKind::CharacterDevice);
    if Path::new("/dev/full").exists() {
        assert_eq!(refused(Path::new("/dev/full")), FileKind::CharacterDevice);
    }
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(refused(&pipe), FileKind::Fifo);
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(refused(&socket), FileKind::Socket);
}

#[cfg(unix)]
#[test]
fn links_to_regular_files_are_followed_and_all_others_refused() {
    use std::os::unix::fs::symlink;
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let file = other.path().join("file");
    fs::write(&file, b"old").unwrap();
    symlink(&file, at("link")).unwrap();
    symlink("link", at("second")).unwrap();
    write_file(at("second"), b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(at("second")).unwrap().is_symlink());

    assert!(refuse_irregular(&file).is_ok() && refuse_irregular(&at("missing")).is_ok());
    assert!(matches!(refuse_irregular(&at("link")), Err(Error::NotARegularFile { found: FileKind::Link, .. })));

    symlink("nowhere", at("broken")).unwrap();
    symlink("circle", at("circle")).unwrap();
    symlink("/dev/null", at("device")).unwrap();
    symlink(other.path(), at("folder")).unwrap();
    for (name, kind) in [
        ("broken", FileKind::BrokenLink),
        ("circle", FileKind::BrokenLink),
        ("device", FileKind::CharacterDevice),
        ("folder", FileKind::Folder),
    ] {
        let refused = write_file(at(name), b"bytes");
        assert!(matches!(refused, Err(Error::NotARegularFile { found, .. }) if found == kind), "{name}");
    }
    assert!(!at("nowhere").exists());
}

#[cfg(unix)]
#[test]
fn permissions_are_those_of_a_plain_create_and_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (plain, atomic) = (folder.path().join("plain"), folder.path().join("atomic"));
    File::create(&plain).unwrap();
    write_file(&atomic, b"").unwrap();
    assert_eq!(mode(&atomic), mode(&plain));
    fs::set_permissions(&atomic, Permissions::from_mode(0o640)).unwrap();
    write_file(&atomic, b"more").unwrap();
    assert_eq!(mode(&atomic), 0o640);
}

#[test]
fn an_error_reads_as_a_sentence_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let message = write_file(folder.path(), b"").unwrap_err().to_string();
    assert!(message.contains("it is a folder, expected a regular file"), "{message}");
    let io: std::io::Error = write_file(folder.path(), b"").unwrap_err().into();
    assert_eq!(io.kind(), ErrorKind::InvalidInput);
}
