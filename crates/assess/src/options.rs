//! What an assessment measures, and how.

use std::fmt;
use std::ops::ControlFlow;

use collapse::ReportOptions;
use fewshot::HeadKind;
use gc_core::GeometricComplexity;

use crate::PartOf;

/// Few-shot episodes.
#[derive(Debug, Clone, PartialEq)]
pub struct FewShot {
    /// Classes of an episode.
    pub way: usize,
    /// Support images of each class.
    pub shot: usize,
    /// Query images of each class.
    pub query: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// Seed of the episodes.
    pub seed: u64,
    /// The heads, evaluated on the same episodes. With the nearest mean (`ncm`) among them, the bounds on its error are measured.
    pub heads: Vec<HeadKind>,
}

/// Layers to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOptions {
    /// Names of the layers.
    pub names: Vec<String>,
    /// The head whose accuracy on a layer's outputs is measured.
    pub head: HeadKind,
    /// Largest number of few-shot episodes for a layer.
    pub most_episodes: usize,
}

/// What is measured at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Geometric complexity of a part.
    Complexity(PartOf),
    /// The forward pass for the features of a part.
    Features(PartOf),
    /// Collapse of a part.
    Collapse(PartOf),
    /// Bounds on the nearest-mean error of test images.
    Bounds,
    /// Few-shot episodes and transfer scores.
    FewShot,
    /// Averages over training batches.
    TrainingBatches,
    /// The layer at this position of the list.
    Layer(usize),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complexity(part) => write!(f, "geometric complexity of {}", part.name()),
            Self::Features(part) => write!(f, "features of {}", part.name()),
            Self::Collapse(part) => write!(f, "collapse of {}", part.name()),
            Self::Bounds => write!(f, "bounds"),
            Self::FewShot => write!(f, "few-shot accuracy"),
            Self::TrainingBatches => write!(f, "training batches"),
            Self::Layer(position) => write!(f, "layer {}", position + 1),
        }
    }
}

/// The progress of an assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is measured.
    pub stage: Stage,
    /// Images read so far in this stage; 0 at its start.
    pub images: usize,
}

/// A function that sees the progress, and ends the assessment by [`ControlFlow::Break`].
pub type Watch<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + 'a);

/// A function that sees the passes of geometric complexity.
pub type PassWatch<'a> = &'a (dyn Fn(&gc_core::Progress) + 'a);

/// What an assessment measures, and how.
///
/// By default: exact geometric complexity, every measure of collapse with the full scatter matrix, the decomposition of NC; no
/// few-shot accuracy, transfer scores or layers.
///
/// ```
/// use assess::Options;
/// use collapse::{ReportOptions, Scatter};
/// use gc_core::{GeometricComplexity, Probe};
/// let options = Options::default()
///     .with_complexity(GeometricComplexity::projections(Probe::Rademacher, 1).until_relative_error(0.05).seed(7))
///     .with_report(ReportOptions::default().with_scatter(Scatter::Trace))
///     .with_transfer_scores();
/// ```
#[derive(Clone)]
pub struct Options<'a> {
    pub(crate) complexity: Option<GeometricComplexity>,
    pub(crate) report: ReportOptions,
    pub(crate) decomposition: bool,
    pub(crate) few_shot: Option<FewShot>,
    pub(crate) transfer_scores: bool,
    pub(crate) layers: Option<LayerOptions>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) watch: Option<Watch<'a>>,
    pub(crate) pass_watch: Option<PassWatch<'a>>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            complexity: Some(GeometricComplexity::exact()),
            report: ReportOptions::default(),
            decomposition: true,
            few_shot: None,
            transfer_scores: false,
            layers: None,
            memory_limit: None,
            watch: None,
            pass_watch: None,
        }
    }
}

impl<'a> Options<'a> {
    /// Sets how geometric complexity is measured: exact or estimated, seed, units, population, and when it stops. `None` leaves it
    /// out. Values per class are always measured where there are labels.
    pub fn with_complexity(self, complexity: impl Into<Option<GeometricComplexity>>) -> Self {
        Self { complexity: complexity.into(), ..self }
    }

    /// Sets the conventions of the collapse report. The class count and the complexities are set by the assessment.
    pub fn with_report(self, report: ReportOptions) -> Self {
        Self { report, ..self }
    }

    /// Leaves out [`crate::Part::decomposition`], and with it NC, geometric collapse and their factors as measures with
    /// standard errors; the collapse report has their values.
    pub fn without_decomposition(self) -> Self {
        Self { decomposition: false, ..self }
    }

    /// Evaluates few-shot heads on the target images, or on the only images.
    pub fn with_few_shot(self, few_shot: FewShot) -> Self {
        Self { few_shot: Some(few_shot), ..self }
    }

    /// Computes LogME, H-score and separation of the target images, or of the only images.
    pub fn with_transfer_scores(self) -> Self {
        Self { transfer_scores: true, ..self }
    }

    /// Measures single layers, on the images of [`crate::Data::with_layer_images`].
    pub fn with_layers(self, layers: LayerOptions) -> Self {
        Self { layers: Some(layers), ..self }
    }

    /// Limits the memory of the features of one part, in bytes. The default is no limit.
    pub fn with_memory_limit(self, bytes: u64) -> Self {
        Self { memory_limit: Some(bytes), ..self }
    }

    /// Calls this function at the start of every stage and after every batch.
    pub fn with_watch(self, watch: Watch<'a>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Calls this function after every pass of geometric complexity through the network, which takes most of the time.
    pub fn with_pass_watch(self, watch: PassWatch<'a>) -> Self {
        Self { pass_watch: Some(watch), ..self }
    }
}
