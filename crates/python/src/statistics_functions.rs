//! The functions of the crate `statistics`.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use statistics::{Block, ChangeScale, CovariateBlock, IntervalSettings, PermutationSettings, RankStatistic};

use crate::arrays::vector;
use crate::error::{Error, Result};
use crate::results::{from_python, to_python, with_text};

type Array<'py> = PyReadonlyArray1<'py, f64>;

/// The two lists of the runs of one seed.
type Pair<'py> = (Array<'py>, Array<'py>);

fn blocks<'a>(pairs: &'a [Pair<'_>]) -> Result<Vec<Block<'a>>> {
    pairs.iter().map(|(x, y)| Ok(Block { x: vector("x", x)?, y: vector("y", y)? })).collect()
}

/// A mean with its intervals.
#[pyfunction]
pub(crate) fn estimate_mean<'py>(
    py: Python<'py>,
    values: Array<'py>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let settings: IntervalSettings = from_python("settings", settings)?;
    let values = vector("values", &values)?;
    with_text(py, &py.detach(|| statistics::estimate_mean(values, &settings)).map_err(Error::from)?)
}

/// A rank correlation with its interval and p-value.
#[pyfunction]
pub(crate) fn rank_correlation<'py>(
    py: Python<'py>,
    x: Array<'py>,
    y: Array<'py>,
    groups: Option<Vec<usize>>,
    statistic: &Bound<'py, PyAny>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let statistic: RankStatistic = from_python("statistic", statistic)?;
    let settings: IntervalSettings = from_python("settings", settings)?;
    let (x, y) = (vector("x", &x)?, vector("y", &y)?);
    let correlation = py.detach(|| match groups {
        Some(groups) => statistics::rank_correlation_in_groups(x, y, &groups, statistic, &settings),
        None => statistics::rank_correlation(x, y, statistic, &settings),
    });
    with_text(py, &correlation.map_err(Error::from)?)
}

/// The mean rank correlation within seeds and its permutation test.
#[pyfunction]
pub(crate) fn blocked_rank_correlation<'py>(
    py: Python<'py>,
    pairs: Vec<Pair<'py>>,
    statistic: &Bound<'py, PyAny>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let statistic: RankStatistic = from_python("statistic", statistic)?;
    let settings: PermutationSettings = from_python("settings", settings)?;
    let blocks = blocks(&pairs)?;
    let correlation = py.detach(|| statistics::blocked_rank_correlation(&blocks, statistic, &settings));
    to_python(py, &correlation.map_err(Error::from)?)
}

/// The rank correlation within seeds, given covariates.
#[pyfunction]
pub(crate) fn partial_rank_correlation<'py>(
    py: Python<'py>,
    runs: Vec<(Array<'py>, Array<'py>, Vec<Array<'py>>)>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings: PermutationSettings = from_python("settings", settings)?;
    let covariates: Vec<Vec<&[f64]>> = runs
        .iter()
        .map(|(_, _, lists)| lists.iter().map(|list| vector("covariates", list)).collect::<Result<_>>())
        .collect::<Result<_>>()?;
    let blocks: Vec<CovariateBlock<'_>> = runs
        .iter()
        .zip(&covariates)
        .map(|((x, y, _), covariates)| {
            let block = Block { x: vector("x", x)?, y: vector("y", y)? };
            Ok(CovariateBlock { block, covariates })
        })
        .collect::<Result<_>>()?;
    let correlation = py.detach(|| statistics::partial_rank_correlation(&blocks, &settings));
    to_python(py, &correlation.map_err(Error::from)?)
}

/// The change of a metric over a sweep.
#[pyfunction]
pub(crate) fn sweep_change<'py>(
    py: Python<'py>,
    pairs: Vec<Pair<'py>>,
    scale: &Bound<'py, PyAny>,
    end_to_end: bool,
    level: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let scale: ChangeScale = from_python("scale", scale)?;
    let blocks = blocks(&pairs)?;
    let change = match end_to_end {
        true => statistics::end_to_end_change(&blocks, scale, level),
        false => statistics::sweep_change(&blocks, scale, level),
    };
    to_python(py, &change.map_err(Error::from)?)
}

/// Holm's adjusted p-values.
#[pyfunction]
pub(crate) fn holm(p_values: Array<'_>) -> PyResult<Vec<f64>> {
    Ok(statistics::holm(vector("p_values", &p_values)?).map_err(Error::from)?)
}

/// Benjamini and Hochberg's adjusted p-values.
#[pyfunction]
pub(crate) fn benjamini_hochberg(p_values: Array<'_>) -> PyResult<Vec<f64>> {
    Ok(statistics::benjamini_hochberg(vector("p_values", &p_values)?).map_err(Error::from)?)
}

/// Wilson's interval of a proportion.
#[pyfunction]
pub(crate) fn wilson_interval<'py>(
    py: Python<'py>,
    successes: u64,
    trials: u64,
    level: f64,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    with_text(py, &statistics::wilson_interval(successes, trials, level).map_err(Error::from)?)
}

/// Clopper and Pearson's interval of a proportion.
#[pyfunction]
pub(crate) fn clopper_pearson_interval<'py>(
    py: Python<'py>,
    successes: u64,
    trials: u64,
    level: f64,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    with_text(py, &statistics::clopper_pearson_interval(successes, trials, level).map_err(Error::from)?)
}

/// Two one-sided t-tests.
#[pyfunction]
pub(crate) fn equivalence_test<'py>(
    py: Python<'py>,
    estimate: f64,
    standard_error: f64,
    degrees_of_freedom: f64,
    margins: (f64, f64),
) -> PyResult<Bound<'py, PyAny>> {
    let test = statistics::equivalence_test(estimate, standard_error, degrees_of_freedom, margins);
    to_python(py, &test.map_err(Error::from)?)
}

/// The granulated Kendall coefficient.
#[pyfunction]
pub(crate) fn granulated_coefficient<'py>(py: Python<'py>, axes: Vec<Vec<Pair<'py>>>) -> PyResult<Bound<'py, PyAny>> {
    let axes: Vec<Vec<Block<'_>>> = axes.iter().map(|pairs| blocks(pairs)).collect::<Result<_>>()?;
    let axes: Vec<&[Block<'_>]> = axes.iter().map(Vec::as_slice).collect();
    to_python(py, &statistics::granulated_coefficient(&axes).map_err(Error::from)?)
}

/// The worst-case sign error over environments.
#[pyfunction]
pub(crate) fn worst_sign_error<'py>(
    py: Python<'py>,
    environments: Vec<Pair<'py>>,
    noise: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let environments = blocks(&environments)?;
    to_python(py, &statistics::worst_sign_error(&environments, noise).map_err(Error::from)?)
}
