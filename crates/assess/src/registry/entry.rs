//! One measure: its names, its meaning, and how it is read from an assessment.

use crate::{Assessment, Measured};

/// The images that a measure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOf {
    /// Training images; of the source classes in a transfer.
    Train,
    /// Test images of the training classes.
    Test,
    /// Images of target classes, which training never sees.
    Target,
    /// Steps of the training itself, not images.
    Training,
}

impl PartOf {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "training images",
            Self::Test => "test images",
            Self::Target => "target classes",
            Self::Training => "training",
        }
    }
}

/// What a measure needs beyond the defaults of a run, because it takes time or memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Needs {
    /// The full scatter matrix, p² numbers: [`collapse::Scatter::Full`].
    FullScatter,
    /// [`crate::Options::with_transfer_scores`].
    TransferScores,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Logarithmic: values are compared by their ratios.
    Logarithmic,
    /// Linear: values are compared by their differences.
    Linear,
    /// Linear, with shares written in percent.
    Percent,
}

/// The direction in which a measure is better, and whose opinion it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Higher values are better.
    Higher,
    /// Lower values are better.
    Lower,
    /// The paper claims that lower values are better.
    LowerByThePaper,
}

/// How a measure is read from an assessment.
///
/// `None` where the assessment does not measure it (no such part, or not asked for); a [`Measured`] without value where it is
/// undefined on these data.
pub type Read = fn(&Assessment) -> Option<Measured>;

/// One measure. A measure of your own is an entry and a function: see [`crate::register`].
///
/// ```
/// use assess::{Entry, Scale};
/// const SPREAD: Entry = Entry {
///     symbol: "s",
///     label: "spread of the class means",
///     scale: Scale::Linear,
///     scale_free: true,
///     ..Entry::new("doc_spread", "Coefficient of variation of the norms of class means.", |assessment| {
///         let report = assessment.train.collapse.as_ref()?;
///         Some(assess::Measured::maybe(report.simplex.equinorm, None, report.counts.samples as usize))
///     })
/// };
/// assert_eq!((SPREAD.key, SPREAD.short), ("doc_spread", "doc_spread"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name in experiment files, run folders, CSV and JSON.
    pub key: &'static str,
    /// The symbol in formulas.
    pub symbol: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The name for people in a transfer, where the training classes are called source classes; none for the same.
    pub transfer_label: Option<&'static str>,
    /// A short name for table headers.
    pub short: &'static str,
    /// The definition in one sentence.
    pub definition: &'static str,
    /// The equation of the paper, or a citation.
    pub source: &'static str,
    /// The unit; empty for a pure number.
    pub unit: &'static str,
    /// The scale of its axis.
    pub scale: Scale,
    /// The direction in which it is better; none for a quantity that is neither good nor bad.
    pub direction: Option<Direction>,
    /// The largest possible value; none if there is none. A bound at or above it cannot be violated.
    pub maximum: Option<f64>,
    /// The images that it is about.
    pub part: PartOf,
    /// Whether it stays the same when the features are multiplied by a number and the weights of the last layer divided by it.
    pub scale_free: bool,
    /// What it needs beyond the defaults of a run; none for nothing.
    pub needs: Option<Needs>,
    /// How its standard error is estimated; empty if none is.
    pub standard_error: &'static str,
    /// How it is read from an assessment.
    pub read: Read,
}

impl Entry {
    /// An entry with this key, definition and reading: of training images, on a logarithmic axis, dependent on the scale of the
    /// features, with the key as symbol, label and short name. Set other fields with `Entry { label: "…", ..Entry::new(…) }`.
    pub const fn new(key: &'static str, definition: &'static str, read: Read) -> Self {
        Self {
            key,
            symbol: key,
            label: key,
            transfer_label: None,
            short: key,
            definition,
            source: "",
            unit: "",
            scale: Scale::Logarithmic,
            direction: None,
            maximum: None,
            part: PartOf::Train,
            scale_free: false,
            needs: None,
            standard_error: "",
            read,
        }
    }

    /// The fields of [`Entry::new`] without a key, for entries that share some of them: see [`Entry::named`].
    pub(crate) const UNNAMED: Self = Self::new("", "", |_| None);

    /// The same fields with another key, definition and reading; symbol, label and short name are the key until they are set.
    pub(crate) const fn named(self, key: &'static str, definition: &'static str, read: Read) -> Self {
        Self { key, symbol: key, label: key, short: key, definition, read, ..self }
    }
}
