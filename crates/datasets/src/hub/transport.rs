//! The requests that the Hub answers, with a limit to every wait.

use std::io::Read;
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use super::Hub;
use crate::{Error, Result};

/// Hops of a redirection that are followed while asking for what a file is.
const MAX_HOPS: usize = 5;

/// Bytes that a description of a repository may have.
const MAX_LISTING: u64 = 64 << 20;

/// Requests to one Hub.
pub(super) struct Transport {
    /// Follows redirections, as downloads do.
    following: Agent,
    /// Stops at them, since the Hub describes a file in the answer that redirects.
    staying: Agent,
    token: Option<String>,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused it.
    Status(u16),
    /// The network, which may do better next time.
    Passing(String),
    /// An answer that makes no sense and will not change.
    Senseless(String),
}

/// What the Hub says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// SHA-256 of large files; another checksum of small ones.
    pub(super) checksum: String,
    /// The commit that the revision names.
    pub(super) commit: String,
    pub(super) size: Option<u64>,
}

impl Transport {
    pub(super) fn new(hub: &Hub) -> Self {
        let limits = || {
            Agent::config_builder()
                .http_status_as_error(false)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_resolve(Some(hub.patience))
                .timeout_connect(Some(hub.patience))
                .timeout_send_request(Some(hub.patience))
                .timeout_recv_response(Some(hub.patience))
                .timeout_per_read(Some(hub.patience))
                .user_agent(concat!("datasets-rs/", env!("CARGO_PKG_VERSION")))
        };
        Self {
            following: limits().build().into(),
            staying: limits().max_redirects(0).build().into(),
            token: hub.token.clone(),
        }
    }

    /// What the file is, by the headers of the answer.
    pub(super) fn describe(&self, url: &str) -> std::result::Result<Description, Failure> {
        let mut url = url.to_owned();
        for _ in 0..MAX_HOPS {
            let answer = self.call(self.staying.head(&url))?;
            let location = header(answer.headers(), "location");
            match (answer.status().as_u16(), location) {
                // Within the server: it only means that the repository moved.
                (300..400, Some(location)) if location.starts_with('/') => url = absolute(&url, &location),
                (200..400, _) => return described(answer.headers(), answer.status().is_redirection()),
                (status, _) => return Err(Failure::Status(status)),
            }
        }
        Err(Failure::Senseless(format!("more than {MAX_HOPS} redirections")))
    }

    /// The bytes of a file from `start` on, and whether the server began there or at 0.
    pub(super) fn bytes(&self, url: &str, start: u64) -> std::result::Result<(impl Read + use<>, bool), Failure> {
        let request = self.following.get(url);
        let request = if start > 0 { request.header("Range", format!("bytes={start}-")) } else { request };
        let answer = self.call(request)?;
        let resumed = match answer.status().as_u16() {
            200 => false,
            206 => {
                let range = header(answer.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {start}-")) {
                    return Err(Failure::Senseless(format!("asked for bytes from {start}, was sent `{range}`")));
                }
                true
            }
            status => return Err(Failure::Status(status)),
        };
        Ok((answer.into_body().into_reader(), resumed))
    }

    /// A short text.
    pub(super) fn text(&self, url: &str) -> std::result::Result<String, Failure> {
        let answer = self.call(self.following.get(url))?;
        match answer.status().as_u16() {
            200 => {
                let mut text = String::new();
                let reader = answer.into_body().into_reader();
                let read = reader.take(MAX_LISTING).read_to_string(&mut text);
                read.map(|_| text).map_err(|error| Failure::Passing(error.to_string()))
            }
            status => Err(Failure::Status(status)),
        }
    }

    fn call(&self, request: RequestBuilder<WithoutBody>) -> std::result::Result<Response<Body>, Failure> {
        let answer = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")).call(),
            None => request.call(),
        };
        answer.map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => {
                Failure::Senseless(error.to_string())
            }
            other => Failure::Passing(other.to_string()),
        })
    }
}

fn described(headers: &HeaderMap, redirected: bool) -> std::result::Result<Description, Failure> {
    let needed = |name: &str| header(headers, name).ok_or_else(|| Failure::Senseless(format!("no header {name}")));
    let checksum = header(headers, "x-linked-etag").map_or_else(|| needed("etag"), Ok)?;
    let checksum = checksum.trim_start_matches("W/").trim_matches('"').to_owned();
    let commit = needed("x-repo-commit")?;
    for name in [&checksum, &commit] {
        // Both become names of files.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if name.is_empty() || name.len() > 128 || !plain {
            return Err(Failure::Senseless(format!("`{name}` is no checksum or commit")));
        }
    }
    // The length of an answer that redirects is that of its own body.
    let length = if redirected { None } else { header(headers, "content-length") };
    let size = header(headers, "x-linked-size").or(length).and_then(|size| size.parse().ok());
    Ok(Description { checksum, commit, size })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// The address with another path on the same server.
fn absolute(url: &str, path: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    format!("{}{path}", &url[..end])
}

/// A path as part of an address: what could end or split it is escaped, `/` only where `slash` says so.
pub(super) fn escaped(path: &str, slash: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && !slash);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Failure {
    /// The failure as an error, where trying again is of no use; else its reason.
    pub(super) fn passing(self, url: &str, what: &str) -> Result<String> {
        let url = || url.to_owned();
        match self {
            Self::Passing(reason) => Ok(reason),
            Self::Status(status @ (401 | 403)) => Err(Error::Unauthorized { url: url(), status }),
            Self::Status(404) => Err(Error::NotFound {
                what: what.to_owned(),
                looked_at: vec![url()],
                hint: "check the repository, revision and file name".to_owned(),
            }),
            Self::Status(status @ (408 | 416 | 425 | 429 | 500..)) => Ok(format!("status {status}")),
            Self::Status(status) => Err(Error::Network { url: url(), attempts: 1, reason: format!("status {status}") }),
            Self::Senseless(reason) => Err(Error::Network { url: url(), attempts: 1, reason }),
        }
    }
}

/// The pause after so many attempts in vain.
pub(super) fn pause(attempts: usize) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    FIRST * 2u32.saturating_pow(attempts.saturating_sub(1).min(6) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_large_file_is_described_by_its_link() {
        let redirecting = headers(&[
            ("etag", "\"other\""),
            ("x-linked-etag", "\"abc\""),
            ("x-linked-size", "12"),
            ("content-length", "999"),
            ("x-repo-commit", "c0ffee"),
        ]);
        let expected = Description { checksum: "abc".to_owned(), commit: "c0ffee".to_owned(), size: Some(12) };
        assert_eq!(described(&redirecting, true).unwrap(), expected);
        let plain = headers(&[("etag", "W/\"abc\""), ("content-length", "12"), ("x-repo-commit", "c0ffee")]);
        assert_eq!(described(&plain, false).unwrap(), expected);
        assert_eq!(described(&plain, true).unwrap().size, None);
    }

    #[test]
    fn names_that_would_leave_the_cache_are_refused() {
        for checksum in ["../../x", "a/b", "", "a b"] {
            let answer = headers(&[("x-repo-commit", "c"), ("content-length", "1")]);
            let mut answer = answer;
            answer.insert("etag", checksum.parse().unwrap());
            assert!(matches!(described(&answer, false), Err(Failure::Senseless(_))), "{checksum}");
        }
        assert!(matches!(described(&headers(&[("etag", "a")]), false), Err(Failure::Senseless(_))));
    }

    #[test]
    fn addresses_are_put_together() {
        assert_eq!(absolute("http://h:1/a/b?c", "/d"), "http://h:1/d");
        assert_eq!(absolute("http://h", "/d"), "http://h/d");
        assert_eq!(escaped("refs/pr/1", true), "refs%2Fpr%2F1");
        assert_eq!(escaped("a b/c#1.parquet", false), "a%20b/c%231.parquet");
    }
}
