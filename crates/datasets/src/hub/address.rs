//! Addresses of the Hub: their origin, redirects from one to another, and escapes.

/// The part of an address that decides whether two addresses belong to one server: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// An `http` or `https` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    origin: Origin,
    /// User name and password with the `@`, host and port as written.
    authority: String,
    /// Path and query, with the leading `/`.
    path: String,
}

impl Address {
    /// The parsed address; none for other schemes and for texts that are no address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        // A colon inside the brackets of an IPv6 address separates no port.
        let (host, port) = match host.rfind(':').filter(|colon| !host[*colon..].contains(']')) {
            Some(colon) if colon + 1 == host.len() => (&host[..colon], default_port),
            Some(colon) => (&host[..colon], host[colon + 1..].parse().ok()?),
            None => (host, default_port),
        };
        if host.is_empty() || path.contains('\\') {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let origin = Origin { scheme, host: host.to_ascii_lowercase(), port };
        Some(Self { origin, authority: authority.to_owned(), path })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.origin.scheme == "https"
    }

    /// The address that a `Location` header of a response from this address means.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains('\\') {
            return None;
        }
        if location.contains("://") && !location.starts_with(['/', '?', '.']) {
            let mut address = Self::parse(location)?;
            if address.origin == self.origin && !address.authority.contains('@') {
                // The same server needs the same user name and password.
                address.authority.clone_from(&self.authority);
            }
            return Some(address);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.origin.scheme));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let path = match location.chars().next()? {
            '/' => location.to_owned(),
            '?' => format!("{own}{location}"),
            _ => format!("{}/{location}", &own[..own.rfind('/').unwrap_or(0)]),
        };
        Some(Self { path, ..self.clone() })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}://{}{}", self.origin.scheme, self.authority, self.path)
    }
}

/// A path as part of an address. Bytes that could end or split it are escaped; `/` only if `slash` is set.
pub(super) fn escaped(path: &str, slash: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && !slash);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_origin_is_scheme_host_and_port() {
        let origin = |text: &str| address(text).origin().clone();
        for same in ["https://H/a", "https://h:443/b?c", "https://u:p@h", "HTTPS://h:/x", "https://a@b@h/"] {
            assert_eq!(origin(same), origin("https://h/"), "{same}");
        }
        for other in [
            "http://h/",
            "https://h:444/",
            "https://h.i/",
            "https://h@i/",
            "https://i?@h/",
            "https://i#@h/",
            "https://i/@h",
        ] {
            assert_ne!(origin(other), origin("https://h/"), "{other}");
        }
        assert_eq!(origin("http://[::1]:80/"), origin("http://[::1]/"));
        for wrong in ["h/a", "ftp://h/a", "http://", "http://h:x/", "http://:1/", "http://h\\@i/"] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn redirects_are_resolved_against_their_address() {
        let from = address("http://u:p@h:1/a/b?c");
        for (location, expected) in [
            ("/d", "http://u:p@h:1/d"),
            ("e?f", "http://u:p@h:1/a/e?f"),
            ("?g", "http://u:p@h:1/a/b?g"),
            ("//i/j", "http://i/j"),
            ("https://i/j#k", "https://i/j"),
            ("http://h:1/j", "http://u:p@h:1/j"),
            ("/x?next=http://i/", "http://u:p@h:1/x?next=http://i/"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), expected, "{location}");
        }
        for wrong in ["", "ftp://h/", "\\\\i\\j"] {
            assert_eq!(from.redirected(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped("refs/pr/1", true), "refs%2Fpr%2F1");
        assert_eq!(escaped("a b/c#1.parquet", false), "a%20b/c%231.parquet");
    }
}
