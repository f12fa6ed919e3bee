"""Few-shot transfer: episodes over labelled features, accuracies of heads with intervals, and transfer scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _native, _svg
from ._arrays import as_count, as_labels, as_matrix, as_vector
from ._progress import progress_bar
from ._results import Result, table

if TYPE_CHECKING:
    import numpy as np
else:
    from . import _numpy as np

__all__ = [
    "AcrossModels",
    "Difference",
    "Episode",
    "Evaluation",
    "HeadAccuracy",
    "MeanEstimate",
    "RankTable",
    "Sampler",
    "ScoreRank",
    "TransferScores",
    "across_models",
    "compare",
    "evaluate",
    "rank_scores",
    "read_task_list",
    "transfer_scores",
    "write_task_list",
]


class Interval(Result):
    """A confidence interval."""

    low: float
    high: float
    level: float
    degrees_of_freedom: float | None


class MeanEstimate(Result):
    """A mean of independent values with Student's t-interval and a bootstrap interval."""

    _nested = {"student": Interval, "bootstrap": Interval}

    mean: float
    standard_error: float
    samples: int
    student: Interval
    bootstrap: Interval

    def _plot(self) -> str:
        rows = [(name, self.mean, ends.low, ends.high) for name, ends in (("t", self.student), ("bootstrap", self.bootstrap))]
        return _svg.intervals(rows)


class Episode(Result):
    """Classes with the row numbers of their support and query samples, one list per class."""

    classes: tuple[int, ...]
    support: tuple[tuple[int, ...], ...]
    query: tuple[tuple[int, ...], ...]


class ClassAccuracy(Result):
    """The accuracy of a head on the queries of one class."""

    _nested = {"student": Interval}


class WayAccuracy(Result):
    """The accuracy of a head on the episodes of one way."""

    _nested = {"student": Interval}


class HeadAccuracy(Result):
    """The accuracy of one head over all episodes."""

    _nested = {"accuracy": MeanEstimate, "by_class": ClassAccuracy, "by_way": WayAccuracy}

    head: str
    accuracy: MeanEstimate
    by_class: tuple[ClassAccuracy, ...]
    by_way: tuple[WayAccuracy, ...]
    per_episode: tuple[float, ...]


class Difference(Result):
    """The accuracy of ``first`` minus that of ``second``, paired by episode."""

    _nested = {"difference": MeanEstimate}

    first: str
    second: str
    difference: MeanEstimate


class Evaluation(Result):
    """The accuracies of heads over the same episodes, and the differences of every pair of heads."""

    _nested = {"heads": HeadAccuracy, "differences": Difference}

    episodes: int
    episodes_checksum: str
    heads: tuple[HeadAccuracy, ...]
    differences: tuple[Difference, ...]

    def head(self, name: str) -> HeadAccuracy:
        """The accuracy of the head with this name."""
        for head in self.heads:
            if head.head == name:
                return head
        raise KeyError(f"no head {name!r}; there are {', '.join(head.head for head in self.heads)}")

    def rows(self) -> list[dict[str, Any]]:
        """One row per head."""
        return [{"episodes": self.episodes, **row} for head in self.heads for row in head.rows()]

    def _plot(self) -> str:
        return _svg.intervals([(head.head, *_ends(head.accuracy)) for head in self.heads])


class AcrossModels(Result):
    """The accuracies of heads over several models (training seeds)."""

    models: int
    same_episodes: bool


class TransferScores(Result):
    """LogME, H-score and class separation of one representation. A higher score predicts better transfer."""

    log_me: Result
    h_score: Result
    separation: Result

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={getattr(self, name).value:.4g}" for name in ("log_me", "h_score", "separation"))
        return f"TransferScores({scores})"


class RankCorrelation(Result):
    """A rank correlation with its bootstrap interval and its permutation test."""

    _nested = {"bootstrap": Interval, "fisher": Interval}

    statistic: str
    coefficient: float
    samples: int
    groups: int
    standard_error: float
    bootstrap: Interval
    fisher: Interval | None
    p_value: float

    def _plot(self) -> str:
        row = (self.statistic, self.coefficient, self.bootstrap.low, self.bootstrap.high)
        return _svg.intervals([row], bounds=(-1.0, 1.0))


class ScoreRank(Result):
    """Rank correlation of one transfer score with the measured accuracy."""

    _nested = {"spearman": RankCorrelation, "kendall": RankCorrelation}

    score: str
    spearman: RankCorrelation
    kendall: RankCorrelation


class RankTable(Result):
    """The transfer scores by how well they rank representations."""

    _nested = {"ranks": ScoreRank}

    ranks: tuple[ScoreRank, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row per score."""
        return [row for rank in self.ranks for row in rank.rows()]

    def _plot(self) -> str:
        ends = [(rank.score, rank.spearman) for rank in self.ranks]
        rows = [(score, rho.coefficient, rho.bootstrap.low, rho.bootstrap.high) for score, rho in ends]
        return _svg.intervals(rows, bounds=(-1.0, 1.0))


class Sampler:
    """Draws episodes from labels ``[n]``: the same labels, rules and seed give the same episodes.

    ``way`` classes, each with ``shots`` support samples and ``queries`` query samples. Other rules are a dictionary such as
    ``{"way": "meta-dataset", ...}`` in the form of a task list's header.
    """

    def __init__(
        self,
        labels: Any,
        way: int = 5,
        shots: int = 1,
        queries: int = 15,
        *,
        seed: int = 0,
        rules: dict[str, Any] | None = None,
    ) -> None:
        self.rules = rules or _fixed_rules(way, shots, queries)
        self.seed = as_count(seed, "seed")
        self._native = _native.Sampler(as_labels(labels), self.rules, self.seed)

    def episode(self, index: int) -> Episode:
        """Episode number ``index``."""
        return Episode(self._native.episode(index))

    def write_task_list(self, path: str | os.PathLike[str], episodes: int) -> None:
        """Writes the first episodes to a file that every tool of this project reads."""
        self._native.write_task_list(os.fspath(path), episodes)


def evaluate(
    features: Any,
    labels: Any,
    *,
    heads: str | Sequence[str] = ("ncm", "ridge:1"),
    way: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int | Iterable[Episode] = 600,
    rules: dict[str, Any] | None = None,
    task_list: str | os.PathLike[str] | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 1000,
    resample_seed: int = 0,
    base_mean: Any = None,
    progress: bool = False,
) -> Evaluation:
    """Accuracies of heads over the same episodes, with intervals over episodes.

    Parameters
    ----------
    features : array ``[n, p]``
        Features of the target classes.
    labels : integers ``[n]``
    heads : name or names
        ``ncm``, ``cosine``, ``simpleshot:un|l2n|cl2n``, ``ridge:PENALTY``, ``logistic:LAMBDA``, ``lda:auto|GAMMA``.
    way, shots, queries : int
        Classes per episode, and support and query samples per class. ``rules`` gives any others.
    episodes : int or episodes
        The number of episodes to draw, or the episodes themselves.
    task_list : path, optional
        A task list whose episodes are evaluated instead.
    level, resamples, resample_seed
        Level of the intervals; number and seed of the bootstrap resamples.
    base_mean : array ``[p]``, optional
        Mean feature of the base classes, which ``simpleshot:cl2n`` subtracts.
    progress : bool
        Shows a bar if tqdm is installed.
    """
    source = _source(episodes, task_list, rules or _fixed_rules(way, shots, queries), seed)
    settings = {"level": level, "resamples": as_count(resamples, "resamples"), "seed": as_count(resample_seed, "resample_seed")}
    names = [heads] if isinstance(heads, str) else [str(head) for head in heads]
    mean = None if base_mean is None else as_vector(base_mean, "base_mean")
    total = episodes if isinstance(episodes, int) and task_list is None else None
    with progress_bar(progress, total, "episodes") as advance:
        values, text = _native.evaluate(
            as_matrix(features), as_labels(labels), names, source, settings, mean, advance
        )
    return Evaluation(values, text)


def read_task_list(path: str | os.PathLike[str], labels: Any) -> list[Episode]:
    """The episodes of a task list, each checked against the labels ``[n]``."""
    return [Episode(episode) for episode in _native.read_task_list(os.fspath(path), as_labels(labels))]


def write_task_list(
    path: str | os.PathLike[str], labels: Any, episodes: int, way: int = 5, shots: int = 1, queries: int = 15, *, seed: int = 0
) -> None:
    """Draws episodes from labels ``[n]`` and writes them to a file."""
    Sampler(labels, way, shots, queries, seed=seed).write_task_list(path, episodes)


def compare(first: Evaluation, first_head: str, second: Evaluation, second_head: str) -> Difference:
    """The difference of two heads or models that were evaluated on the same episodes, paired by episode."""
    return Difference(*_native.compare_on_same_episodes(first.to_dict(), first_head, second.to_dict(), second_head))


def across_models(evaluations: Sequence[Evaluation]) -> AcrossModels:
    """Accuracies over several models with the same heads: means over models, and the spread between them."""
    return AcrossModels(*_native.across_models([evaluation.to_dict() for evaluation in evaluations]))


def transfer_scores(features: Any, labels: Any) -> TransferScores:
    """LogME, H-score and class separation of features ``[n, p]`` with labels ``[n]``."""
    return TransferScores(_native.transfer_scores(as_matrix(features), as_labels(labels)))


def rank_scores(
    scores: Sequence[TransferScores], accuracies: Any, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> RankTable:
    """Rank correlations of the transfer scores with measured accuracies ``[m]``, over m ≥ 3 representations."""
    settings = {"level": level, "resamples": resamples, "seed": seed}
    given = [score.to_dict() for score in scores]
    ranks = _native.rank_scores(given, as_vector(accuracies, "accuracies"), settings)
    lines = [f"{len(given)} representations", *(text for _, text in ranks)]
    return RankTable({"ranks": [values for values, _ in ranks]}, "\n".join(lines))


def to_table(results: Sequence[Result], kind: str = "pandas") -> Any:
    """The rows of several results in one table of ``pandas`` or ``polars``."""
    return table(list(results), kind)


def _fixed_rules(way: int, shots: int, queries: int) -> dict[str, Any]:
    return {
        "way": {"fixed": as_count(way, "way")},
        "shot": {"fixed": as_count(shots, "shots")},
        "query": {"per-class": as_count(queries, "queries")},
    }


def _source(
    episodes: int | Iterable[Episode], task_list: str | os.PathLike[str] | None, rules: dict[str, Any], seed: int
) -> dict[str, Any]:
    if task_list is not None:
        return {"task_list": {"path": os.fspath(task_list)}}
    if isinstance(episodes, (int, np.integer)):
        if episodes < 0:
            raise ValueError(f"episodes: expected at least 2, got {episodes}")
        return {"drawn": {"rules": rules, "seed": as_count(seed, "seed"), "episodes": int(episodes)}}
    if not hasattr(episodes, "__iter__"):
        raise TypeError(f"episodes: expected a number or episodes, got {type(episodes).__name__}")
    return {"given": {"episodes": [episode.to_dict() for episode in episodes]}}


def _ends(mean: MeanEstimate) -> tuple[float, float, float]:
    return mean.mean, mean.student.low, mean.student.high
