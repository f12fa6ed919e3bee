//! The requests to the Hub. Every wait has a limit, and so has every response.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::address::{Address, Origin};
use super::settings::{Hub, redacted};
use crate::{Error, Result};

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// The largest accepted list of a repository's files, in bytes.
const MAX_LISTING: u64 = 64 << 20;

/// The longest wait that a `Retry-After` header can impose. Longer waits are shortened to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Requests to one Hub.
pub(super) struct Transport<'a> {
    hub: &'a Hub,
    agent: Agent,
    /// The server that receives the token.
    trusted: Option<Origin>,
}

/// Why a request gave no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused the request with this status, and may state when the request may be repeated.
    Status { status: u16, retry_after: Option<Duration> },
    /// The network failed; another attempt may succeed.
    Passing(String),
    /// The response is invalid; another attempt would give the same.
    InvalidResponse(String),
}

/// A failure after which another attempt is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) reason: String,
    /// The wait that the server demands.
    after: Option<Duration>,
}

/// The Hub's description of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The SHA-256 of large files, another checksum of small ones.
    pub(super) checksum: String,
    /// The commit that the revision names.
    pub(super) commit: String,
    pub(super) size: Option<u64>,
}

/// The body of a response, and whether it begins at the requested byte instead of at 0.
pub(super) struct Bytes {
    pub(super) body: Paced,
    pub(super) resumed: bool,
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    Get,
}

impl<'a> Transport<'a> {
    pub(super) fn new(hub: &'a Hub) -> Self {
        let timeout = Some(hub.read_timeout);
        let configuration = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, where the token is sent to the Hub's own server only.
            .max_redirects(0)
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .user_agent(concat!("datasets-rs/", env!("CARGO_PKG_VERSION")));
        let trusted = Address::parse(&hub.endpoint).map(|address| address.origin().clone());
        Self { hub, agent: configuration.build().into(), trusted }
    }

    /// The description of a file, from the headers of the response.
    pub(super) fn describe(&self, url: &str) -> std::result::Result<Description, Failure> {
        let mut address = parsed(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.call(Method::Head, &address, None)?;
            match response.status().as_u16() {
                300..400 => match moved(response.headers(), &address) {
                    Some(next) => address = next,
                    None => return described(response.headers(), true),
                },
                200..300 => return described(response.headers(), false),
                _ => return Err(refused(&response)),
            }
        }
        Err(Failure::InvalidResponse(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// The bytes of a file from `start` on.
    pub(super) fn bytes(&self, url: &str, start: u64) -> std::result::Result<Bytes, Failure> {
        let response = self.get(url, (start > 0).then_some(start))?;
        let resumed = match response.status().as_u16() {
            200 => false,
            206 => {
                let range = header(response.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {start}-")) {
                    return Err(Failure::InvalidResponse(format!("requested bytes from {start}, received `{range}`")));
                }
                true
            }
            _ => return Err(refused(&response)),
        };
        Ok(Bytes { body: self.paced(response), resumed })
    }

    /// A text of limited length.
    pub(super) fn text(&self, url: &str) -> std::result::Result<String, Failure> {
        let response = self.get(url, None)?;
        if response.status().as_u16() != 200 {
            return Err(refused(&response));
        }
        let stated = header(response.headers(), "content-length").and_then(|length| length.parse::<u64>().ok());
        let too_long = || Failure::InvalidResponse(format!("the response is longer than {MAX_LISTING} bytes"));
        if stated.is_some_and(|length| length > MAX_LISTING) {
            return Err(too_long());
        }
        let mut text = String::new();
        let read = self.paced(response).take(MAX_LISTING + 1).read_to_string(&mut text);
        match read {
            Ok(length) if length as u64 > MAX_LISTING => Err(too_long()),
            Ok(_) => Ok(text),
            Err(error) => Err(Failure::Passing(error.to_string())),
        }
    }

    /// The response of a request that is repeated while another attempt may succeed.
    pub(super) fn repeated<T>(
        &self,
        url: &str,
        what: &str,
        mut request: impl FnMut() -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut attempts = 0;
        loop {
            let retry = match request() {
                Ok(response) => return Ok(response),
                Err(failure) => failure.retry(url, what)?,
            };
            attempts += 1;
            if attempts > self.hub.retries {
                return Err(Error::Network { url: redacted(url), attempts, reason: retry.reason });
            }
            self.hub.progress.note(&format!("{what}: {}; trying again", retry.reason));
            retry.wait(attempts);
        }
    }

    fn get(&self, url: &str, start: Option<u64>) -> std::result::Result<Response<Body>, Failure> {
        let mut address = parsed(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.call(Method::Get, &address, start)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            address = redirect_target(response.headers(), &address)?;
        }
        Err(Failure::InvalidResponse(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn call(
        &self,
        method: Method,
        address: &Address,
        start: Option<u64>,
    ) -> std::result::Result<Response<Body>, Failure> {
        let url = address.to_string();
        let mut request = match method {
            Method::Head => self.agent.head(&url),
            Method::Get => self.agent.get(&url),
        };
        if let Some(start) = start {
            request = request.header("Range", format!("bytes={start}-"));
        }
        if let Some(token) = self.hub.token.as_ref().filter(|_| self.trusted.as_ref() == Some(address.origin())) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| {
            let reason = redacted(&error.to_string());
            match error {
                ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => {
                    Failure::InvalidResponse(reason)
                }
                _ => Failure::Passing(reason),
            }
        })
    }

    fn paced(&self, response: Response<Body>) -> Paced {
        Paced::new(response.into_body().into_reader(), self.hub.minimum_speed, self.hub.read_timeout)
    }
}

/// A body that fails if it is slower than a minimum speed.
///
/// **Definition** the speed is measured over windows of reading time of at least `window`; time between the reads does
/// not count.
pub(super) struct Paced {
    inner: Box<dyn Read>,
    /// Bytes per second.
    minimum: u64,
    window: Duration,
    spent: Duration,
    received: u64,
}

impl Paced {
    fn new(inner: impl Read + 'static, minimum: u64, window: Duration) -> Self {
        Self { inner: Box::new(inner), minimum, window, spent: Duration::ZERO, received: 0 }
    }
}

impl Read for Paced {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.inner.read(out)?;
        self.spent += start.elapsed();
        self.received += count as u64;
        if self.spent < self.window || count == 0 {
            return Ok(count);
        }
        let speed = self.received as f64 / self.spent.as_secs_f64();
        if speed < self.minimum as f64 {
            let reason = format!("{speed:.0} bytes per second are below the minimum speed of {}", self.minimum);
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        (self.spent, self.received) = (Duration::ZERO, 0);
        Ok(count)
    }
}

fn parsed(url: &str) -> std::result::Result<Address, Failure> {
    Address::parse(url).ok_or_else(|| Failure::InvalidResponse("this is no http or https address".to_owned()))
}

fn location(headers: &HeaderMap, address: &Address) -> Option<Address> {
    address.redirected(&header(headers, "location")?)
}

fn redirect_target(headers: &HeaderMap, address: &Address) -> std::result::Result<Address, Failure> {
    match location(headers, address) {
        None => Err(Failure::InvalidResponse("a redirect without an http or https address".to_owned())),
        Some(next) if address.is_encrypted() && !next.is_encrypted() => {
            Err(Failure::InvalidResponse("a redirect from https to http is not followed".to_owned()))
        }
        Some(next) => Ok(next),
    }
}

fn refused(response: &Response<Body>) -> Failure {
    Failure::Status { status: response.status().as_u16(), retry_after: retry_after(response.headers()) }
}

/// The address on the same server to which a description moved. None for the redirect of a large file to its storage, which
/// describes the file in its own headers.
fn moved(headers: &HeaderMap, address: &Address) -> Option<Address> {
    let text = header(headers, "location")?;
    let next = address.redirected(&text).filter(|next| next.origin() == address.origin())?;
    let is_relative = !text.contains("://") && !text.starts_with("//");
    let describes = headers.contains_key("x-repo-commit") && headers.contains_key("x-linked-etag");
    (is_relative || !describes).then_some(next)
}

fn described(headers: &HeaderMap, redirected: bool) -> std::result::Result<Description, Failure> {
    let needed =
        |name: &str| header(headers, name).ok_or_else(|| Failure::InvalidResponse(format!("no header {name}")));
    let checksum = header(headers, "x-linked-etag").map_or_else(|| needed("etag"), Ok)?;
    let checksum = checksum.trim_start_matches("W/").trim_matches('"').to_owned();
    let commit = needed("x-repo-commit")?;
    for name in [&checksum, &commit] {
        // Both become names of files.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if name.is_empty() || name.len() > 128 || !plain {
            return Err(Failure::InvalidResponse(format!("`{name}` is no checksum or commit")));
        }
    }
    // The length of a response that redirects is the length of its own body, not of the file.
    let length = if redirected { None } else { header(headers, "content-length") };
    let size = header(headers, "x-linked-size").or(length).and_then(|size| size.parse().ok());
    Ok(Description { checksum, commit, size })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// The wait of a `Retry-After` header: a number of seconds, or the difference of its date from the response's date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = header(headers, "retry-after")?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (then, now) = (seconds_of(&text)?, seconds_of(&header(headers, "date")?)?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// The seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = date.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    // The years begin with March, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    const DAYS_TO_1970: u64 = 719_468;
    Some((days.checked_sub(DAYS_TO_1970)? * 24 + hours) * 3600 + minutes * 60 + seconds)
}

impl Failure {
    /// The failure as an error if another attempt is useless, else the reason and the wait for another attempt.
    pub(super) fn retry(self, url: &str, what: &str) -> Result<Retry> {
        let url = || redacted(url);
        let final_error = |reason: String| Err(Error::Network { url: url(), attempts: 1, reason });
        match self {
            Self::Passing(reason) => Ok(Retry { reason, after: None }),
            Self::Status { status: status @ (401 | 403), .. } => Err(Error::Unauthorized { url: url(), status }),
            Self::Status { status: 404, .. } => Err(Error::NotFound {
                what: what.to_owned(),
                looked_at: vec![url()],
                hint: "check the repository, revision and file name".to_owned(),
            }),
            Self::Status { status: status @ (408 | 416 | 425 | 429 | 500..), retry_after } => {
                let wait = retry_after.map_or_else(String::new, |after| format!(", Retry-After {after:?}"));
                Ok(Retry { reason: format!("status {status}{wait}"), after: retry_after })
            }
            Self::Status { status, .. } => final_error(format!("status {status}")),
            Self::InvalidResponse(reason) => final_error(reason),
        }
    }
}

impl Retry {
    pub(super) fn new(reason: String) -> Self {
        Self { reason, after: None }
    }

    /// Waits before the next attempt, after this number of attempts in a row without progress.
    pub(super) fn wait(&self, attempts: usize) {
        std::thread::sleep(self.pause(attempts));
    }

    fn pause(&self, attempts: usize) -> Duration {
        const FIRST: Duration = Duration::from_millis(100);
        let own = FIRST * 2u32.saturating_pow(attempts.saturating_sub(1).min(6) as u32);
        own.max(self.after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
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
            let mut response = headers(&[("x-repo-commit", "c"), ("content-length", "1")]);
            response.insert("etag", checksum.parse().unwrap());
            assert!(matches!(described(&response, false), Err(Failure::InvalidResponse(_))), "{checksum}");
        }
        assert!(matches!(described(&headers(&[("etag", "a")]), false), Err(Failure::InvalidResponse(_))));
    }

    #[test]
    fn a_moved_description_is_followed_on_the_same_server_and_a_storage_address_is_not() {
        let address = Address::parse("https://h/datasets/o/n/resolve/main/f").unwrap();
        let moved = |to: &'static str, linked: bool| {
            let mut headers = headers(&[("location", to), ("x-repo-commit", "c"), ("etag", "\"redirect\"")]);
            if linked {
                headers.insert("x-linked-etag", "\"abc\"".parse().unwrap());
            }
            moved(&headers, &address).map(|next| next.to_string())
        };
        for linked in [true, false] {
            assert_eq!(moved("/api/resolve-cache/f", linked).as_deref(), Some("https://h/api/resolve-cache/f"));
            for storage in ["https://cdn/f", "//cdn/f", "http://h/f", "https://h:8443/f"] {
                assert_eq!(moved(storage, linked), None, "{storage}");
            }
        }
        assert_eq!(moved("https://h/storage/f", true), None);
        assert_eq!(
            moved("https://h/datasets/p/n/resolve/main/f", false).as_deref(),
            Some("https://h/datasets/p/n/resolve/main/f")
        );
    }

    #[test]
    fn a_redirect_never_leaves_encryption() {
        let target = |from: &str, to: &'static str| {
            let from = Address::parse(from).unwrap();
            redirect_target(&headers(&[("location", to)]), &from).map(|address| address.to_string())
        };
        assert_eq!(target("http://h/a", "https://i/b").unwrap(), "https://i/b");
        assert_eq!(target("https://h/a", "/b").unwrap(), "https://h/b");
        for to in ["http://h/a", "HTTP://i/b", "ftp://h/", ""] {
            assert!(matches!(target("https://h/a", to), Err(Failure::InvalidResponse(_))), "{to}");
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_and_is_bounded() {
        let seconds = |pairs: &[(&'static str, &'static str)]| retry_after(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        let date = ("date", "Wed, 28 Feb 2024 23:59:50 GMT");
        assert_eq!(seconds(&[("retry-after", "Thu, 29 Feb 2024 00:00:05 GMT"), date]), Some(15));
        assert_eq!(seconds(&[("retry-after", "Fri, 01 Mar 2024 00:00:00 GMT"), date]), Some(86_410));
        assert_eq!(seconds(&[("retry-after", "Wed, 28 Feb 2024 23:00:00 GMT"), date]), Some(0));
        for wrong in ["soon", "-1", "Thu, 29 Feb 2024", "Thu, 41 Feb 2024 00:00:05 GMT", "", "1e3"] {
            let mut response = headers(&[date]);
            response.insert("retry-after", wrong.parse().unwrap());
            assert_eq!(retry_after(&response), None, "{wrong}");
        }
        // date -d 'Sun, 06 Nov 1994 08:49:37 GMT' +%s
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        let pause = |after| Retry { reason: String::new(), after }.pause(1);
        assert_eq!(pause(None), Duration::from_millis(100));
        assert_eq!(pause(Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(pause(Some(Duration::from_secs(u64::MAX))), MAX_RETRY_AFTER);
    }

    #[test]
    fn a_body_below_the_minimum_speed_is_an_error_and_one_above_it_is_not() {
        struct Slow(u64);
        impl Read for Slow {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                std::thread::sleep(Duration::from_millis(self.0));
                out[0] = 7;
                Ok(1)
            }
        }
        let read = |pause, minimum| {
            let mut body = Paced::new(Slow(pause).take(40), minimum, Duration::from_millis(30));
            body.read_to_end(&mut Vec::new())
        };
        let failed = read(4, 100_000).unwrap_err();
        assert!(failed.to_string().contains("minimum speed of 100000"), "{failed}");
        assert_eq!(read(4, 0).unwrap(), 40);
        assert_eq!(read(0, 1).unwrap(), 40);
    }
}
