//! `measure` on a table of the Hub, from a server on loopback: its parts in several files, and the choice of columns.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
#[path = "../../crates/datasets/tests/common/server.rs"]
mod server;
mod two_sides;

use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use program::{command, document, errors, xtask};
use server::{Request, Server, write};
use two_sides::{NET, save_net, save_table, table};

/// The files of a repository by name.
type Files = Vec<(&'static str, Vec<u8>)>;

/// The training rows in two files, as the Hub divides larger tables.
fn divided() -> Files {
    vec![
        ("data/test-00000-of-00001.parquet", table(0..2)),
        ("data/train-00000-of-00002.parquet", table(0..3)),
        ("data/train-00001-of-00002.parquet", table(3..4)),
    ]
}

/// A server with the addresses of the Hub and one repository, `owner/sides`.
fn hub(files: Files) -> Server {
    Server::start(move |_, request, stream| respond(&files, request, stream))
}

fn respond(files: &Files, request: &Request, stream: &mut TcpStream) {
    if request.path.starts_with("/api/datasets/owner/sides/revision/") {
        let names: Vec<_> = files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "id": "owner/sides", "sha": "c0ffee", "siblings": names }).to_string();
        let length = body.len().to_string();
        return write(stream, "200 OK", &[("Content-Length", &length)], body.as_bytes());
    }
    let wanted = request.path.strip_prefix("/datasets/owner/sides/resolve/main/");
    let Some((_, bytes)) = files.iter().find(|(name, _)| wanted == Some(name)) else {
        return write(stream, "404 Not Found", &[("Content-Length", "0")], b"");
    };
    let from =
        request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    let part = &bytes[from.unwrap_or(0)..];
    let (etag, length) = (format!("\"{}\"", support::sha256(bytes)), part.len().to_string());
    let range = format!("bytes {}-{}/{}", from.unwrap_or(0), bytes.len() - 1, bytes.len());
    let mut headers = vec![("ETag", etag.as_str()), ("X-Repo-Commit", "c0ffee"), ("Content-Length", &length)];
    if from.is_some() {
        headers.push(("Content-Range", &range));
    }
    let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
    write(stream, status, &headers, if request.method == "HEAD" { b"" } else { part });
}

/// `measure` on the table of the server, with a cache of its own.
fn measured(folder: &Path, server: &Server, more: &[&str]) -> Output {
    command(folder, &[&NET[..], &["--data", "hub:owner/sides", "--json"], more].concat())
        .env("HF_ENDPOINT", server.url())
        .env("HF_HOME", folder.join("home"))
        .env_remove("HF_HUB_CACHE")
        .env_remove("DATASETS_DECODED")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap()
}

#[test]
fn a_divided_table_of_the_hub_is_measured_on_the_named_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_net(path);
    let server = hub(divided());
    let unnamed = errors(&measured(path, &server, &[]), 1);
    assert!(unnamed.contains("front") && unnamed.contains("back") && unnamed.contains("--image-column"), "{unnamed}");
    let wrong = errors(&measured(path, &server, &["--image-column", "fronts"]), 1);
    assert!(wrong.contains("`fronts`") && wrong.contains("front"), "{wrong}");

    // The rows of the two training files are those of one file in a folder.
    save_table(&path.join("tables/owner/sides/data"));
    for column in ["front", "back"] {
        let columns = ["--image-column", column, "--label-column", "kind"];
        let found = document(&measured(path, &server, &columns));
        assert_eq!(found["inputs"]["samples"], 4);
        let local = ["--data", "hub:owner/sides", "--data-dir", "tables", "--json"];
        let expected = document(&xtask(path, &[&NET[..], &local, &columns].concat()));
        assert_eq!((&found["gc"]["value"], &found["collapse"]), (&expected["gc"]["value"], &expected["collapse"]));
    }
    // Every file was downloaded once.
    let requests = server.requests();
    for (name, _) in divided() {
        let downloads = requests.iter().filter(|request| request.method == "GET" && request.path.ends_with(name));
        assert_eq!(downloads.count(), 1, "{name}");
    }
}

#[test]
fn a_table_with_a_missing_file_is_refused_before_it_is_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    save_net(folder.path());
    let mut files = divided();
    files.remove(2);
    let server = hub(files);
    let message = errors(&measured(folder.path(), &server, &["--image-column", "front"]), 1);
    assert!(message.contains("train-00001-of-00002.parquet"), "{message}");
    assert!(server.requests().iter().all(|request| !request.path.ends_with(".parquet")));
}
