//! The settings of a Hub.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Progress, Quiet};

/// A Hub server, its cache folder and the limits of its requests.
///
/// **Conventions** the cache has the layout of the Python client `huggingface_hub`, so both share their files. A cached file
/// is used only while its bytes match the SHA-256 that the Hub gave for it (the name of its blob). Otherwise it is removed
/// and downloaded again. The token is sent to the scheme, host and port of `endpoint` only, also across redirects.
#[derive(Clone)]
pub struct Hub {
    /// The address of the server, without a slash at the end. A user name and password in it are never printed.
    pub endpoint: String,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The access token for private repositories.
    pub token: Option<String>,
    /// Whether only the cache may be used.
    pub offline: bool,
    /// Attempts in a row without progress after the first, each after a longer pause, before a request fails. Default 5.
    pub retries: usize,
    /// The read timeout: how long a connection may stay silent before the attempt fails. Default 30 seconds.
    pub read_timeout: Duration,
    /// The minimum speed of a download in bytes per second, on average over one read timeout. Below it the attempt fails
    /// and counts as one without progress. Default 1000; 0 sets no minimum.
    pub minimum_speed: u64,
    /// The largest accepted size in bytes of a file whose size the server does not state. Default 1 GiB.
    pub max_unstated_size: u64,
    /// Receives the progress of downloads. Default: nothing receives it.
    pub progress: Arc<dyn Progress>,
}

impl Hub {
    /// The Hub at an address with a cache folder, no token, online.
    pub fn new(endpoint: &str, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            retries: 5,
            read_timeout: Duration::from_secs(30),
            minimum_speed: 1000,
            max_unstated_size: 1 << 30,
            progress: Arc::new(Quiet),
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hub")
            .field("endpoint", &redacted(&self.endpoint))
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .field("read_timeout", &self.read_timeout)
            .field("minimum_speed", &self.minimum_speed)
            .field("max_unstated_size", &self.max_unstated_size)
            .finish_non_exhaustive()
    }
}

/// The text with the user name and password of every address in it replaced by `…`.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        // An authority ends at its path, query or fragment. A backslash or space ends it in most parsers.
        let end = after.find(['/', '?', '#', '\\', ' ', '`', '"']).unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |sign| sign + 1);
        shown.push_str(before);
        if host > 0 {
            shown.push_str("…@");
        }
        rest = &after[host..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_and_passwords_are_removed_from_every_address_of_a_text() {
        for (text, expected) in [
            ("http://u:p@h:1/a?b=c", "http://…@h:1/a?b=c"),
            ("https://u@h", "https://…@h"),
            ("https://p@ss@h/x@y", "https://…@h/x@y"),
            ("http://h/a@b", "http://h/a@b"),
            ("from http://u:p@h/a to https://v:q@i/b", "from http://…@h/a to https://…@i/b"),
            ("no address: a@b", "no address: a@b"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }

    #[test]
    fn neither_the_token_nor_the_password_of_an_endpoint_is_in_the_debug_text() {
        let hub = Hub { token: Some("hf_secret".to_owned()), ..Hub::new("https://user:secret@h/x/", "/c") };
        let text = format!("{hub:?} {:?}", crate::Source::of_hub(hub.clone()));
        assert!(!text.contains("secret") && !text.contains("user") && text.contains("https://…@h/x"), "{text}");
    }
}
