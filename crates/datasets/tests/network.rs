//! The client against faulty and malicious servers: redirects, waits, endless and slow responses, passwords.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests stop at their first error and print what they skip"
)]

mod common;
#[path = "common/server.rs"]
mod server;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::files;
use datasets::{Error, Hub, HubFile, Progress, Source, fetch};
use server::{Request, Server, write};

const BODY: &[u8] = b"the bytes of a small file";

fn file() -> HubFile {
    HubFile::dataset("owner/name", "main", "file.bin")
}

fn hub(endpoint: &str, cache: &Path) -> Hub {
    Hub { retries: 1, read_timeout: Duration::from_millis(300), ..Hub::new(endpoint, cache) }
}

/// The description of a file of this size. Its checksum is no SHA-256.
fn description(size: usize) -> Vec<(&'static str, String)> {
    vec![("ETag", "\"abc\"".to_owned()), ("X-Repo-Commit", "c0ffee".to_owned()), ("Content-Length", size.to_string())]
}

fn describe(stream: &mut std::net::TcpStream, size: usize) {
    let headers = description(size);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    write(stream, "200 OK", &headers, b"");
}

fn send(stream: &mut std::net::TcpStream, body: &[u8]) {
    write(stream, "200 OK", &[("Content-Length", &body.len().to_string())], body);
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers.get("authorization").map(String::as_str)
}

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

#[test]
fn the_token_is_sent_to_the_endpoints_scheme_host_and_port_only_also_across_redirects() {
    let storage = Server::start(|_, _, stream| send(stream, BODY));
    let (other_port, port) = (storage.url(), Arc::new(Mutex::new(String::new())));
    let own_port = port.clone();
    let server = Server::start(move |_, request, stream| {
        // Same server, then the same server under another host name, then another port.
        let next = match (request.method.as_str(), request.path.as_str()) {
            ("HEAD", _) => return describe(stream, BODY.len()),
            (_, "/moved") => format!("http://localhost:{}/other-name", own_port.lock().unwrap()),
            (_, "/other-name") => format!("{other_port}/storage"),
            _ => "/moved".to_owned(),
        };
        write(stream, "302 Found", &[("Location", &next), ("Content-Length", "0")], b"");
    });
    *port.lock().unwrap() = server.address.rsplit(':').next().unwrap().to_owned();
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub { token: Some("hf_secret".to_owned()), ..hub(&server.url(), cache.path()) };
    assert_eq!(std::fs::read(hub.file(&file()).unwrap()).unwrap(), BODY);
    let requests = server.requests();
    let with_token: Vec<(&str, bool)> =
        requests.iter().map(|request| (request.path.as_str(), authorization(request).is_some())).collect();
    let path = "/datasets/owner/name/resolve/main/file.bin";
    assert_eq!(with_token, [(path, true), (path, true), ("/moved", true), ("/other-name", false)]);
    assert_eq!(authorization(&requests[0]), Some("Bearer hf_secret"));
    let stored = storage.requests();
    assert_eq!((stored.len(), authorization(&stored[0])), (1, None));
}

#[test]
fn endless_redirects_are_an_error() {
    let server = Server::start(|before, request, stream| match request.method.as_str() {
        "HEAD" => describe(stream, BODY.len()),
        _ => write(stream, "302 Found", &[("Location", &format!("/{before}")), ("Content-Length", "0")], b""),
    });
    let cache = tempfile::tempdir().unwrap();
    let failed = hub(&server.url(), cache.path()).file(&file());
    assert!(matches!(&failed, Err(Error::Network { reason, .. }) if reason.contains("redirects")), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn the_password_of_an_endpoint_is_sent_and_never_printed() {
    // Each status gives another error.
    for status in ["401 Unauthorized", "404 Not Found", "418 Teapot", "503 Busy", "200 OK", "302 Found"] {
        let server = Server::start(move |_, request, stream| match (status, request.method.as_str()) {
            ("200 OK", "HEAD") => describe(stream, 1 << 20),
            ("200 OK", _) => write(stream, status, &[("Content-Length", "1048576")], &[7; 70_000]),
            ("302 Found", "HEAD") => describe(stream, BODY.len()),
            ("302 Found", _) => {
                write(stream, status, &[("Location", "ftp://x:secret@y/"), ("Content-Length", "0")], b"")
            }
            _ => write(stream, status, &[("Content-Length", "0")], b""),
        });
        let (cache, notes) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
        let endpoint = format!("http://name:secret@{}", server.address);
        let hub = Hub { retries: 0, progress: notes.clone(), ..hub(&endpoint, cache.path()) };
        let mut texts = vec![format!("{hub:?}")];
        let file = hub.file(&file()).unwrap_err();
        let listing = fetch("hub:owner/name", &Source::of_hub(hub)).unwrap_err();
        for error in [file, listing] {
            texts.extend([error.to_string(), format!("{error:?}")]);
        }
        texts.extend(notes.0.lock().unwrap().clone());
        assert!(texts[1].contains(&format!("http://…@{}", server.address)), "{texts:?}");
        assert!(texts.iter().all(|text| !text.contains("secret") && !text.contains("name:")), "{texts:?}");
        // echo -n name:secret | base64
        assert_eq!(authorization(&server.requests()[0]), Some("Basic bmFtZTpzZWNyZXQ="));
    }
}

#[test]
fn retry_after_is_waited_for() {
    let server = Server::start(|before, request, stream| match (before, request.method.as_str()) {
        (0 | 2, _) => write(stream, "429 Too Many Requests", &[("Retry-After", "1"), ("Content-Length", "0")], b""),
        (_, "HEAD") => describe(stream, BODY.len()),
        _ => send(stream, BODY),
    });
    let (cache, notes, start) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()), Instant::now());
    let hub = Hub { progress: notes.clone(), ..hub(&server.url(), cache.path()) };
    assert_eq!(std::fs::read(hub.file(&file()).unwrap()).unwrap(), BODY);
    // One second for the description and one for the file.
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    let notes = notes.0.lock().unwrap();
    assert!(notes.len() == 2 && notes.iter().all(|note| note.contains("status 429, Retry-After 1s")), "{notes:?}");
}

#[test]
fn an_endless_file_of_unstated_size_is_refused_at_the_limit_and_leaves_no_file() {
    let server = Server::start(|_, request, stream| {
        if request.method == "HEAD" {
            return write(stream, "200 OK", &[("ETag", "\"abc\""), ("X-Repo-Commit", "c0ffee")], b"");
        }
        write(stream, "200 OK", &[], b"");
        while stream.write_all(&[7; 4096]).is_ok() {}
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub { max_unstated_size: 100_000, ..hub(&server.url(), cache.path()) };
    let failed = hub.file(&file());
    assert!(matches!(failed, Err(Error::TooLarge { limit: 100_000, .. })), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
    // A file of unstated size below the limit is complete when the connection closes.
    let server = Server::start(|_, request, stream| match request.method.as_str() {
        "HEAD" => write(stream, "200 OK", &[("ETag", "\"abc\""), ("X-Repo-Commit", "c0ffee")], b""),
        _ => write(stream, "200 OK", &[], BODY),
    });
    let hub = Hub { max_unstated_size: BODY.len() as u64, endpoint: server.url(), ..hub };
    assert_eq!(std::fs::read(hub.file(&file()).unwrap()).unwrap(), BODY);
}

#[test]
fn a_response_with_more_bytes_than_stated_is_an_error_and_leaves_no_file() {
    let server = Server::start(|_, request, stream| match request.method.as_str() {
        "HEAD" => describe(stream, 10),
        _ => write(stream, "200 OK", &[], BODY),
    });
    let cache = tempfile::tempdir().unwrap();
    let failed = hub(&server.url(), cache.path()).file(&file());
    assert!(matches!(&failed, Err(Error::Network { reason, .. }) if reason.contains("more bytes")), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_list_of_files_beyond_the_limit_is_refused() {
    for stated in [true, false] {
        let server = Server::start(move |_, _, stream| {
            let length = [("Content-Length", "99999999999")];
            write(stream, "200 OK", if stated { &length } else { &[] }, b"[");
            while stream.write_all(&[b' '; 65_536]).is_ok() {}
        });
        let cache = tempfile::tempdir().unwrap();
        let source = Source::of_hub(Hub { read_timeout: Duration::from_secs(20), ..hub(&server.url(), cache.path()) });
        let failed = fetch("hub:owner/name", &source);
        assert!(
            matches!(&failed, Err(Error::Network { reason, attempts: 1, .. }) if reason.contains("longer than")),
            "{failed:?}"
        );
    }
}

#[test]
fn a_server_below_the_minimum_speed_is_an_error() {
    let server = Server::start(|_, request, stream| {
        if request.method == "HEAD" {
            return describe(stream, 1 << 20);
        }
        write(stream, "200 OK", &[("Content-Length", "1048576")], b"");
        // 100 bytes per second: each read succeeds long before the read timeout.
        while stream.write_all(&[7]).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let (cache, start) = (tempfile::tempdir().unwrap(), Instant::now());
    let failed = hub(&server.url(), cache.path()).file(&file());
    assert!(matches!(failed, Err(Error::Truncated { got: 1.., attempts: 2, .. })), "{failed:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_server_that_sends_one_byte_per_response_cannot_prolong_a_download() {
    let server = Server::start(|_, request, stream| {
        if request.method == "HEAD" {
            return describe(stream, 1 << 20);
        }
        let start = request.headers.get("range").map_or("0", |range| range[6..].trim_end_matches('-'));
        let range = format!("bytes {start}-1048575/1048576");
        let status = if start == "0" { "200 OK" } else { "206 Partial Content" };
        write(stream, status, &[("Content-Range", &range), ("Content-Length", "1000000")], &[7]);
    });
    let cache = tempfile::tempdir().unwrap();
    let failed = hub(&server.url(), cache.path()).file(&file());
    assert!(matches!(failed, Err(Error::Truncated { got: 2, attempts: 2, .. })), "{failed:?}");
    assert_eq!(server.requests().len(), 3);
}

#[cfg(unix)]
#[test]
fn links_in_the_cache_are_not_followed_for_writing() {
    let server = Server::start(|_, request, stream| match request.method.as_str() {
        "HEAD" => describe(stream, BODY.len()),
        _ => send(stream, BODY),
    });
    let (cache, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = "datasets--owner--name";
    let mut targets = Vec::new();
    for place in [format!(".locks/{repository}/file.bin.lock"), format!("{repository}/blobs/abc.part")] {
        let target = outside.path().join(targets.len().to_string());
        std::fs::write(&target, b"mine").unwrap();
        let place = cache.path().join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&target, place).unwrap();
        targets.push(target);
    }
    assert_eq!(std::fs::read(hub(&server.url(), cache.path()).file(&file()).unwrap()).unwrap(), BODY);
    assert!(targets.iter().all(|target| std::fs::read(target).unwrap() == b"mine"));
}
