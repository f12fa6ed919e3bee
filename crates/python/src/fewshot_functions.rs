//! The functions of the crate `fewshot`.

use std::path::PathBuf;

use fewshot::{
    Episode, EpisodeRules, EpisodeSampler, Evaluation, FeatureView, Head, HeadKind, IntervalSettings, LabelledFeatures,
    Task, TaskListReader, TransferScores, evaluate_episodes, write_task_list,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;
use serde::Deserialize;

use crate::arrays::{self, Matrix, Values, vector};
use crate::error::{Error, Result};
use crate::results::{from_python, to_python, with_text};

/// Episodes that are drawn together, as many as are evaluated together.
const CHUNK: usize = 1024;

/// Episodes between two calls of the progress function and checks for Ctrl-C.
const BETWEEN_CHECKS: usize = 64;

/// Draws episodes from labels.
#[pyclass(frozen, module = "geometric_collapse._native")]
pub(crate) struct Sampler {
    sampler: EpisodeSampler,
    labels: Vec<u32>,
}

#[pymethods]
impl Sampler {
    #[new]
    fn new(labels: PyReadonlyArray1<'_, i64>, rules: &Bound<'_, PyAny>, seed: u64) -> PyResult<Self> {
        let labels = arrays::labels(&labels)?;
        let rules: EpisodeRules = from_python("rules", rules)?;
        let sampler = EpisodeSampler::new(&labels, rules, seed).map_err(Error::from)?;
        Ok(Self { sampler, labels })
    }

    fn episode<'py>(&self, py: Python<'py>, index: u64) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.sampler.episode(index))
    }

    fn write_task_list(&self, py: Python<'_>, path: PathBuf, episodes: usize) -> PyResult<()> {
        let (sampler, labels) = (&self.sampler, &self.labels);
        Ok(py.detach(|| write_task_list(&path, labels, sampler, episodes)).map_err(Error::from)?)
    }
}

/// The episodes of a task list.
#[pyfunction]
pub(crate) fn read_task_list<'py>(
    py: Python<'py>,
    path: PathBuf,
    labels: PyReadonlyArray1<'py, i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let labels = arrays::labels(&labels)?;
    let episodes: Vec<Episode> =
        py.detach(|| TaskListReader::open(&path, &labels)?.collect::<fewshot::Result<_>>()).map_err(Error::from)?;
    to_python(py, &episodes)
}

/// Where the episodes of an evaluation come from.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum EpisodeSource {
    /// The first episodes of a sampler.
    Drawn { rules: EpisodeRules, seed: u64, episodes: usize },
    /// Given episodes.
    Given { episodes: Vec<Episode> },
    /// A task list.
    TaskList { path: PathBuf },
}

/// Accuracies of heads over episodes.
#[pyfunction]
#[pyo3(signature = (features, labels, heads, source, settings, base_mean, progress))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    features: Matrix<'py>,
    labels: PyReadonlyArray1<'py, i64>,
    heads: Vec<String>,
    source: &Bound<'py, PyAny>,
    settings: &Bound<'py, PyAny>,
    base_mean: Option<PyReadonlyArray1<'py, f64>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let labels = arrays::labels(&labels)?;
    let heads = kinds(&heads)?;
    let source: EpisodeSource = from_python("episodes", source)?;
    let settings: IntervalSettings = from_python("settings", settings)?;
    let base_mean = base_mean.as_ref().map(|mean| vector("base_mean", mean)).transpose()?;
    let view = view(features.values()?, features.columns(), &labels, base_mean)?;
    let mut raised = None;
    let result = py.detach(|| {
        let mut watch = Watch { seen: 0, progress: progress.as_ref(), raised: &mut raised };
        match source {
            EpisodeSource::Drawn { rules, seed, episodes } => {
                let sampler = EpisodeSampler::new(&labels, rules, seed)?;
                watch.evaluate(view, drawn(&sampler, episodes), &heads, &settings)
            }
            EpisodeSource::Given { episodes } => watch.evaluate(view, episodes.into_iter().map(Ok), &heads, &settings),
            EpisodeSource::TaskList { path } => {
                watch.evaluate(view, TaskListReader::open(&path, &labels)?, &heads, &settings)
            }
        }
    });
    match raised {
        Some(error) => Err(error),
        None => with_text(py, &result.map_err(Error::from)?),
    }
}

/// The first episodes of a sampler, drawn in parallel in chunks.
fn drawn(sampler: &EpisodeSampler, episodes: usize) -> impl Iterator<Item = fewshot::Result<Episode>> + '_ {
    (0..episodes).step_by(CHUNK).flat_map(move |first| {
        let chunk = first..episodes.min(first + CHUNK);
        chunk.into_par_iter().map(|index| Ok(sampler.episode(index as u64))).collect::<Vec<_>>()
    })
}

/// Calls the progress function, and notices Ctrl-C, while episodes are read.
struct Watch<'a> {
    seen: usize,
    progress: Option<&'a Py<PyAny>>,
    raised: &'a mut Option<PyErr>,
}

impl Watch<'_> {
    fn evaluate(
        &mut self,
        view: FeatureView<'_>,
        episodes: impl Iterator<Item = fewshot::Result<Episode>>,
        heads: &[HeadKind],
        settings: &IntervalSettings,
    ) -> fewshot::Result<Evaluation> {
        // A stop ends the episodes early; the caller raises what stopped them and drops the result.
        evaluate_episodes(view, episodes.take_while(|_| self.goes_on()), heads, settings)
    }

    fn goes_on(&mut self) -> bool {
        self.seen += 1;
        if !self.seen.is_multiple_of(BETWEEN_CHECKS) {
            return true;
        }
        let outcome = Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = self.progress {
                progress.call1(py, (BETWEEN_CHECKS,))?;
            }
            Ok(())
        });
        *self.raised = outcome.err();
        self.raised.is_none()
    }
}

/// The difference of two heads on the same episodes.
#[pyfunction]
pub(crate) fn compare_on_same_episodes<'py>(
    py: Python<'py>,
    first: &Bound<'py, PyAny>,
    first_head: &str,
    second: &Bound<'py, PyAny>,
    second_head: &str,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let first: Evaluation = from_python("first", first)?;
    let second: Evaluation = from_python("second", second)?;
    let difference = fewshot::compare_on_same_episodes(&first, first_head, &second, second_head);
    with_text(py, &difference.map_err(Error::from)?)
}

/// Accuracies of heads over several models.
#[pyfunction]
pub(crate) fn across_models<'py>(
    py: Python<'py>,
    evaluations: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let evaluations: Vec<Evaluation> = from_python("evaluations", evaluations)?;
    with_text(py, &fewshot::across_models(&evaluations).map_err(Error::from)?)
}

/// All transfer scores of labelled features.
#[pyfunction]
pub(crate) fn transfer_scores<'py>(
    py: Python<'py>,
    features: Matrix<'py>,
    labels: PyReadonlyArray1<'py, i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let labels = arrays::labels(&labels)?;
    let view = view(features.values()?, features.columns(), &labels, None)?;
    to_python(py, &py.detach(|| fewshot::transfer_scores(view)).map_err(Error::from)?)
}

/// Rank correlations of transfer scores with accuracies.
#[pyfunction]
pub(crate) fn rank_scores<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    accuracies: PyReadonlyArray1<'py, f64>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
    let scores: Vec<TransferScores> = from_python("scores", scores)?;
    let settings: IntervalSettings = from_python("settings", settings)?;
    let accuracies = vector("accuracies", &accuracies)?;
    let ranks = fewshot::rank_scores(&scores, accuracies, &settings).map_err(Error::from)?;
    ranks.iter().map(|rank| with_text(py, rank)).collect()
}

/// The scores `[q, w]` of queries for the classes 0 … w−1 of a support set.
#[pyfunction]
pub(crate) fn head_scores<'py>(
    py: Python<'py>,
    head: &str,
    support: Matrix<'py>,
    support_classes: PyReadonlyArray1<'py, i64>,
    query: Matrix<'py>,
    base_mean: Option<PyReadonlyArray1<'py, f64>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let head: HeadKind = head.parse().map_err(Error::from)?;
    let classes = arrays::labels(&support_classes)?;
    let base_mean = base_mean.as_ref().map(|mean| vector("base_mean", mean).map(<[f64]>::to_vec)).transpose()?;
    let (columns, queries) = (support.columns(), query.rows());
    if query.columns() != columns {
        let reason = format!("expected {columns} features, as the head was fitted with, got {}", query.columns());
        return Err(Error::Argument { argument: "X", reason }.into());
    }
    let (support, query) = (support.values()?, query.values()?);
    let scores = py.detach(|| scores(&head, support, &classes, query, columns, queries, base_mean))?;
    let way = scores.len() / queries.max(1);
    PyArray1::from_vec(py, scores).reshape([queries, way])
}

/// Checks the setting of a head and its support set, without fitting.
#[pyfunction]
pub(crate) fn check_support<'py>(
    head: &str,
    support: Matrix<'py>,
    support_classes: PyReadonlyArray1<'py, i64>,
    base_mean: Option<PyReadonlyArray1<'py, f64>>,
) -> PyResult<()> {
    let _: HeadKind = head.parse().map_err(Error::from)?;
    let classes = arrays::labels(&support_classes)?;
    let base_mean = base_mean.as_ref().map(|mean| vector("base_mean", mean)).transpose()?;
    view(support.values()?, support.columns(), &classes, base_mean)?;
    Ok(())
}

/// The scores of one task that holds the support and all queries.
fn scores(
    head: &HeadKind,
    support: Values<'_>,
    classes: &[u32],
    query: Values<'_>,
    columns: usize,
    queries: usize,
    base_mean: Option<Vec<f64>>,
) -> Result<Vec<f64>> {
    let way = classes.iter().max().map_or(0, |&largest| largest as usize + 1);
    let mut rows = vec![Vec::new(); way];
    classes.iter().enumerate().for_each(|(row, &class)| rows[class as usize].push(row));
    // The true classes of the queries are unknown; no head sees them, so all of them count as class 0.
    let mut asked = vec![Vec::new(); way];
    if let Some(first) = asked.first_mut() {
        *first = (classes.len()..classes.len() + queries).collect();
    }
    let episode = Episode::new((0..way as u32).collect(), rows, asked)?;
    let labels = [classes, &vec![0; queries]].concat();
    let features = match (support, query) {
        (Values::F32(support), Values::F32(query)) => {
            LabelledFeatures::from_f32([support, query].concat(), columns, labels)?
        }
        (support, query) => LabelledFeatures::from_f64([wide(support), wide(query)].concat(), columns, labels)?,
    };
    let features = match base_mean {
        Some(mean) => features.with_base_mean(mean)?,
        None => features,
    };
    Ok(head.scores(&Task::new(&features, &episode)?)?.values().to_vec())
}

fn wide(values: Values<'_>) -> Vec<f64> {
    match values {
        Values::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Values::F64(values) => values.to_vec(),
    }
}

fn kinds(heads: &[String]) -> Result<Vec<HeadKind>> {
    heads.iter().map(|head| Ok(head.parse()?)).collect()
}

fn view<'a>(
    values: Values<'a>,
    columns: usize,
    labels: &'a [u32],
    base_mean: Option<&'a [f64]>,
) -> Result<FeatureView<'a>> {
    let view = match values {
        Values::F32(values) => FeatureView::from_f32(values, columns, labels)?,
        Values::F64(values) => FeatureView::from_f64(values, columns, labels)?,
    };
    match base_mean {
        Some(mean) => Ok(view.with_base_mean(mean)?),
        None => Ok(view),
    }
}
