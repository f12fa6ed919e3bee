//! The settings of the Hub from the environment, by the rules of the Python client.

use std::path::PathBuf;

use super::settings::Hub;

impl Hub {
    /// The settings that the environment variables give.
    ///
    /// **Conventions**
    /// - server: `HF_ENDPOINT`, else `https://huggingface.co`;
    /// - cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else `huggingface/hub` in `XDG_CACHE_HOME` or `~/.cache`;
    /// - token: `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else the file `token` in `HF_HOME` (or its default);
    /// - `HF_HUB_OFFLINE` of 1, true, yes or on: only the cache is used.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    /// The folder of decoded images by the environment; none for `off`.
    pub(crate) fn decoded_from_env() -> Option<PathBuf> {
        decoded(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let home = home(&variable);
        let cache = path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub"));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = variable("HF_TOKEN").or_else(|| {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            std::fs::read_to_string(file).ok()
        });
        let yes = |value: String| ["1", "true", "yes", "on"].contains(&value.trim().to_lowercase().as_str());
        Self {
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(yes),
            ..Self::new(endpoint.trim(), cache)
        }
    }
}

/// The folder of the Python client's files: `HF_HOME`, else `huggingface` in the user's cache folder.
fn home(variable: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let path = |name: &str| variable(name).map(PathBuf::from);
    let user_cache = || {
        path("XDG_CACHE_HOME")
            .or_else(|| path("HOME").or_else(|| path("USERPROFILE")).map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from(".cache"))
    };
    path("HF_HOME").unwrap_or_else(|| user_cache().join("huggingface"))
}

fn decoded(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match variable("DATASETS_DECODED") {
        Some(value) if value.trim() == "off" => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => Some(home(&variable).join("decoded-images")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        Hub::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_folder_is_the_python_clients() {
        let home = ("HOME", "/u");
        assert_eq!(hub(&[home]).cache, PathBuf::from("/u/.cache/huggingface/hub"));
        assert_eq!(hub(&[home, ("XDG_CACHE_HOME", "/x")]).cache, PathBuf::from("/x/huggingface/hub"));
        assert_eq!(hub(&[home, ("HF_HOME", "/h")]).cache, PathBuf::from("/h/hub"));
        assert_eq!(hub(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache, PathBuf::from("/c"));
    }

    #[test]
    fn the_default_folder_of_decoded_images_is_in_hf_home() {
        let folder = |pairs: &[(&str, &str)]| {
            decoded(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(folder(&[("HF_HOME", "/h")]), Some(PathBuf::from("/h/decoded-images")));
        assert_eq!(folder(&[("HF_HOME", "/h"), ("DATASETS_DECODED", "/d")]), Some(PathBuf::from("/d")));
        assert_eq!(folder(&[("HF_HOME", "/h"), ("DATASETS_DECODED", "off")]), None);
    }

    #[test]
    fn the_endpoint_the_token_and_the_offline_switch_are_read() {
        let plain = hub(&[("HOME", "/nowhere")]);
        assert_eq!(
            (plain.endpoint.as_str(), plain.token.clone(), plain.offline),
            ("https://huggingface.co", None, false)
        );
        let set = hub(&[("HF_ENDPOINT", "http://h:1/"), ("HF_TOKEN", " t\n"), ("HF_HUB_OFFLINE", "YES")]);
        assert_eq!((set.endpoint.as_str(), set.token.as_deref(), set.offline), ("http://h:1", Some("t"), true));
        assert!(!format!("{set:?}").contains("\"t\""), "the token is not printed");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        assert_eq!(hub(&[("HF_TOKEN_PATH", file.path().to_str().unwrap())]).token.as_deref(), Some("secret"));
    }
}
