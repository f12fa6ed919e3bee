//! The handle of a measure.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::entry::{Direction, Entry, Needs, PartOf, Scale};
use super::table;
use crate::{Assessment, Error, Measured, Result};

/// A measure of the registry: a small handle that is compared by key, ordered as in tables, and written to files as its key.
///
/// ```
/// use assess::{Measure, measures};
/// let nc: Measure = Measure::named("nc")?;
/// assert_eq!(nc, measures::NC);
/// assert_eq!((nc.key(), nc.label(), nc.transfer_label()), ("nc", "train NC", "source NC"));
/// assert_eq!(serde_json::to_string(&nc).unwrap(), "\"nc\"");
/// let error = Measure::named("equinrom").unwrap_err().to_string();
/// assert!(error.contains("did you mean `equinorm`"), "{error}");
/// # assess::Result::Ok(())
/// ```
#[derive(Clone, Copy)]
pub struct Measure(&'static Entry);

impl Measure {
    /// The handle of an entry of the registry.
    pub(crate) const fn of(entry: &'static Entry) -> Self {
        Self(entry)
    }

    /// The measure with this key.
    ///
    /// # Errors
    /// [`Error::UnknownMeasure`] with the nearest keys.
    pub fn named(key: &str) -> Result<Self> {
        table::find(key).ok_or_else(|| {
            let all = Self::all();
            let nearest = support::nearest_names(key, all.iter().map(|measure| measure.key()));
            let nearest = nearest.into_iter().map(str::to_owned).collect();
            Error::UnknownMeasure { key: key.to_owned(), nearest, known: all.len() }
        })
    }

    /// All measures in the order of columns and tables: those of [`Measure::standard`] first, registered ones last.
    pub fn all() -> Vec<Self> {
        table::all()
    }

    /// The measures that every run of an experiment records, in the order of columns.
    pub fn standard() -> Vec<Self> {
        table::standard()
    }

    /// Whether every run of an experiment records it.
    pub fn is_standard(self) -> bool {
        table::is_standard(self.0.key)
    }

    /// The whole entry.
    pub fn entry(self) -> &'static Entry {
        self.0
    }

    /// The name in experiment files, run folders, CSV and JSON.
    pub fn key(self) -> &'static str {
        self.0.key
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        self.0.label
    }

    /// The name for people in a transfer, where the training classes are called source classes.
    pub fn transfer_label(self) -> &'static str {
        self.0.transfer_label.unwrap_or(self.0.label)
    }

    /// A short name for table headers.
    pub fn short(self) -> &'static str {
        self.0.short
    }

    /// The scale of its axis.
    pub fn scale(self) -> Scale {
        self.0.scale
    }

    /// The direction in which it is better; none for a quantity that is neither good nor bad.
    pub fn direction(self) -> Option<Direction> {
        self.0.direction
    }

    /// The largest possible value; none if there is none. A bound at or above it cannot be violated.
    pub fn maximum(self) -> Option<f64> {
        self.0.maximum
    }

    /// The images that it is about.
    pub fn part(self) -> PartOf {
        self.0.part
    }

    /// Whether it does not depend on the scale of the features.
    pub fn is_scale_free(self) -> bool {
        self.0.scale_free
    }

    /// What it needs beyond the defaults of a run; none for nothing.
    pub fn needs(self) -> Option<Needs> {
        self.0.needs
    }

    /// Its value in an assessment; none where the assessment does not measure it.
    pub fn read(self, assessment: &Assessment) -> Option<Measured> {
        (self.0.read)(assessment)
    }
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Measure({})", self.0.key)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.key)
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Measure {}

impl Hash for Measure {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialOrd for Measure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Measure {
    /// The order of [`Measure::all`].
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other { Ordering::Equal } else { table::position(self.0.key).cmp(&table::position(other.0.key)) }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.key)
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::named(&key).map_err(D::Error::custom)
    }
}
