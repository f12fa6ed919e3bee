"""Intervals, rank correlations and corrections for many tests.

Runs of one training seed form a block, a pair of lists ``(x, y)``: the swept value (or one measure) and the metric of each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from . import _native, _svg
from ._arrays import as_vector
from ._results import Result
from .fewshot import Interval, MeanEstimate, RankCorrelation

__all__ = [
    "Interval",
    "MeanEstimate",
    "RankCorrelation",
    "SweepChange",
    "benjamini_hochberg",
    "blocked_rank_correlation",
    "clopper_pearson_interval",
    "equivalence_test",
    "estimate_mean",
    "granulated_coefficient",
    "holm",
    "partial_rank_correlation",
    "rank_correlation",
    "sweep_change",
    "wilson_interval",
    "worst_sign_error",
]

Statistic = Literal["spearman", "kendall"]


class SweepChange(Result):
    """The change of a metric over a sweep: the mean over seeds with Student's t-interval."""

    _nested = {"interval": Interval}

    scale: str
    change: float
    interval: Interval
    per_seed: tuple[float, ...]

    def _plot(self) -> str:
        return _svg.intervals([("change", self.change, self.interval.low, self.interval.high)])


def estimate_mean(values: Any, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> MeanEstimate:
    """The mean of values ``[n]``, n ≥ 2, with Student's t-interval and a bootstrap interval."""
    return MeanEstimate(*_native.estimate_mean(as_vector(values, "values"), _settings(level, resamples, seed)))


def rank_correlation(
    x: Any,
    y: Any,
    *,
    statistic: Statistic = "spearman",
    groups: Sequence[int] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> RankCorrelation:
    """The rank correlation of x ``[n]`` and y ``[n]`` with a bootstrap interval and a permutation test.

    ``groups`` ``[n]`` numbers the seed of each run; seeds are then resampled and permuted as a whole.
    """
    numbers = None if groups is None else [int(group) for group in groups]
    settings = _settings(level, resamples, seed)
    return RankCorrelation(*_native.rank_correlation(as_vector(x, "x"), as_vector(y, "y"), numbers, statistic, settings))


def blocked_rank_correlation(
    blocks: Sequence[tuple[Any, Any]],
    *,
    statistic: Statistic = "spearman",
    exact_up_to: int = 2_000_000,
    draws: int = 10_000,
    seed: int = 0,
) -> Result:
    """The mean rank correlation within blocks (seeds), with a permutation test within blocks."""
    settings = {"exact_up_to": exact_up_to, "draws": draws, "seed": seed}
    return Result(_native.blocked_rank_correlation(_pairs(blocks), statistic, settings))


def partial_rank_correlation(
    blocks: Sequence[tuple[Any, Any, Sequence[Any]]], *, exact_up_to: int = 2_000_000, draws: int = 10_000, seed: int = 0
) -> Result:
    """The rank correlation within blocks ``(x, y, covariates)``, given the covariates (lists of the same length)."""
    settings = {"exact_up_to": exact_up_to, "draws": draws, "seed": seed}
    runs = [
        (as_vector(x, "x"), as_vector(y, "y"), [as_vector(covariate, "covariates") for covariate in covariates])
        for x, y, covariates in blocks
    ]
    return Result(_native.partial_rank_correlation(runs, settings))


def sweep_change(
    blocks: Sequence[tuple[Any, Any]],
    *,
    scale: Literal["factor", "difference"] = "factor",
    end_to_end: bool = False,
    level: float = 0.95,
) -> SweepChange:
    """The change of a metric over a sweep, from the slope within each seed or (``end_to_end``) from its two ends."""
    return SweepChange(_native.sweep_change(_pairs(blocks), scale, end_to_end, level))


def holm(p_values: Any) -> list[float]:
    """Holm's adjusted p-values, in the order of the input."""
    return _native.holm(as_vector(p_values, "p_values"))


def benjamini_hochberg(p_values: Any) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values, in the order of the input."""
    return _native.benjamini_hochberg(as_vector(p_values, "p_values"))


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's interval of a proportion."""
    return Interval(*_native.wilson_interval(successes, trials, level))


def clopper_pearson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Clopper and Pearson's exact interval of a proportion."""
    return Interval(*_native.clopper_pearson_interval(successes, trials, level))


def equivalence_test(estimate: float, standard_error: float, degrees_of_freedom: float, margins: tuple[float, float]) -> Result:
    """Tests that an effect lies within the margins ``(low, high)``, by two one-sided t-tests."""
    return Result(_native.equivalence_test(estimate, standard_error, degrees_of_freedom, margins))


def granulated_coefficient(axes: Sequence[Sequence[tuple[Any, Any]]]) -> Result:
    """The granulated Kendall coefficient: for each swept hyperparameter its blocks ``(measure, outcome)``."""
    return Result(_native.granulated_coefficient([_pairs(axis) for axis in axes]))


def worst_sign_error(environments: Sequence[tuple[Any, Any]], noise: float = 0.0) -> Result:
    """The largest share, over environments ``(measure, outcome)``, of pairs of runs that the measure orders wrongly."""
    return Result(_native.worst_sign_error(_pairs(environments), noise))


def _pairs(blocks: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(as_vector(x, "x"), as_vector(y, "y")) for x, y in blocks]


def _settings(level: float, resamples: int, seed: int) -> dict[str, Any]:
    return {"level": level, "resamples": resamples, "seed": seed}
