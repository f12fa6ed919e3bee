//! Weights by name: a path, or a file in a repository of the Hub.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The name of a file of weights, for command lines and lists: a path, `hub:owner/name` or `hub:owner/name@revision`, followed by
/// `:file` for another file than `model.safetensors`.
///
/// The caller downloads; a [`WeightsSource::Hub`] has the three parts that clients of the Hub need.
///
/// ```
/// use models::{Error, WeightsSource};
/// let WeightsSource::Hub { repository, revision, file } = "hub:owner/name@v2:resnet.safetensors".parse()? else { panic!() };
/// assert_eq!((repository.as_str(), revision.as_str(), file.as_str()), ("owner/name", "v2", "resnet.safetensors"));
/// assert_eq!("a/b.safetensors".parse::<WeightsSource>()?, WeightsSource::File("a/b.safetensors".into()));
/// assert!(matches!("hub:name".parse::<WeightsSource>(), Err(Error::WeightsSource { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WeightsSource {
    /// A file or folder of this machine.
    File(PathBuf),
    /// A file of a model repository.
    Hub {
        /// `owner/name`.
        repository: String,
        /// The branch, tag or commit; `main` by default.
        revision: String,
        /// The path inside the repository; `model.safetensors` by default.
        file: String,
    },
}

impl FromStr for WeightsSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("hub:") else {
            return Ok(WeightsSource::File(text.into()));
        };
        let (rest, file) = rest.split_once(':').unwrap_or((rest, "model.safetensors"));
        let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let named = repository.split('/').count() == 2 && repository.split('/').all(plain);
        if !named || !plain(revision) || !file.split('/').all(plain) {
            return Err(Error::WeightsSource { source_name: text.to_owned() });
        }
        Ok(WeightsSource::Hub { repository: repository.into(), revision: revision.into(), file: file.into() })
    }
}

impl TryFrom<String> for WeightsSource {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<WeightsSource> for String {
    fn from(source: WeightsSource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightsSource::File(path) => write!(f, "{}", path.display()),
            WeightsSource::Hub { repository, revision, file } => write!(f, "hub:{repository}@{revision}:{file}"),
        }
    }
}
