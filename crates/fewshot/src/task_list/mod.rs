//! Task lists: episodes in a file (JSON Lines), which gives the same tasks on any machine.
//!
//! The first line is a header with the format and a checksum of the labels. Each further line is an episode. The last
//! line closes the list, so a truncated file is detected:
//!
//! ```text
//! {"format":"fewshot-task-list","version":1,"samples":12000,"labels_sha256":"9f86…","rules":{…},"seed":7}
//! {"classes":[3,17],"support":[[40,7],[11,900]],"query":[[52,1],[60]]}
//! {"classes":[8,3],"support":[[5],[40]],"query":[[6],[41,42]]}
//! {"episodes":2,"episodes_sha256":"2c26…"}
//! ```
//!
//! `samples` and `labels_sha256` are the number of labels and their [`crate::labels_checksum`]. `rules` and `seed` are those
//! of the sampler and may be absent. `classes` holds labels; `support` and `query` hold one list of zero-based row numbers
//! per class. `episodes_sha256` is the checksum that an [`crate::Evaluation`] reports.

mod reader;
mod writer;

pub use reader::TaskListReader;
pub use writer::{TaskListWriter, write_task_list};

use serde::{Deserialize, Serialize};

use crate::EpisodeRules;

const FORMAT: &str = "fewshot-task-list";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    samples: usize,
    labels_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<EpisodeRules>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// Any line after the header: an episode, or the closing line.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support: Option<Vec<Vec<usize>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Vec<Vec<usize>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    episodes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    episodes_sha256: Option<String>,
}

#[cfg(test)]
mod tests;
