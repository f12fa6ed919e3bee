"""Neural collapse of labelled features: CDNV, geometric collapse, NC1 to NC4.

Features are arrays ``[n, p]``, one row per sample, labels are class numbers ``[n]`` from 0. Classes of one sample are left out
of every measure and counted in the result. The definitions and their sources are in the documentation of the Rust crate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import _native, _svg
from ._arrays import as_count, as_head, as_labels, as_matrix, as_vector
from ._results import Result, plus_minus

if TYPE_CHECKING:
    import numpy as np
else:
    from . import _numpy as np

__all__ = [
    "CollapseReport",
    "Moments",
    "collapse_chain",
    "nearest_mean_bound",
    "report",
    "zero_sum",
]

Weighting = Literal["class_balanced", "sample_weighted"]
Divisor = Literal["samples", "samples_minus_one"]
CdnvForm = Literal["halved", "unhalved", "ordered"]
Preset = Literal["rhubarb_wu", "papyan", "tding1", "nc_toolbox", "kowalski"]

#: Measures of a report with their standard errors and short definitions, in the order in which they are shown.
_SHOWN = [
    ("cdnv", "cdnv_std_error", "CDNV, mean over pairs of classes"),
    ("cdnv_unbiased", "cdnv_unbiased_std_error", "the same from unbiased estimates"),
    ("directional_cdnv", None, "directional CDNV"),
    ("geometric_collapse", "geometric_collapse_std_error", "geometric collapse, mixture form"),
    ("pairwise_geometric_collapse", "pairwise_geometric_collapse_std_error", "geometric collapse, pairwise form"),
    ("geometric_collapse_unbiased", "geometric_collapse_unbiased_std_error", "mixture form from unbiased estimates"),
    (
        "pairwise_geometric_collapse_unbiased",
        "pairwise_geometric_collapse_unbiased_std_error",
        "pairwise form from unbiased estimates",
    ),
    ("nc1", None, "NC1: tr(Σ_W Σ_B⁺)/K"),
    ("trace_ratio", None, "tr Σ_W / tr Σ_B"),
    ("vci", None, "variability collapse index"),
    ("rank_me", None, "effective rank"),
    ("equinorm", None, "NC2: variation of the norms of class means"),
    ("equiangularity", None, "NC2: mean |cos + 1/(K−1)|"),
    ("etf_error", None, "NC2: distance to a simplex ETF"),
    ("self_duality", None, "NC3: ‖W/‖W‖ − M/‖M‖‖"),
    ("ncc_agreement", "ncc_agreement_std_error", "NC4: head and nearest mean agree"),
    ("nearest_mean_error", "nearest_mean_std_error", "error of the nearest-mean rule"),
    ("head_accuracy", None, "accuracy of the head"),
]


class Quantiles(Result):
    """Quantiles over pairs of classes."""

    min: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float


class CollapseReport(Result):
    """All measures of one set of labelled features, with their conventions and counts.

    A measure that is undefined for these data is ``None``, and ``undefined`` gives the reason. The values ``self_duality`` to
    ``head_accuracy`` exist if a head was given.
    """

    _nested = {"cdnv_quantiles": Quantiles}

    samples: int
    features: int
    classes: int
    missing_classes: int
    singleton_classes: int
    left_out_samples: int
    weighting: str
    cdnv: float
    cdnv_std_error: float | None
    cdnv_unbiased: float | None
    cdnv_unbiased_std_error: float | None
    cdnv_max: float
    cdnv_quantiles: Quantiles
    pairs: int
    directional_cdnv: float | None
    geometric_collapse: float | None
    geometric_collapse_std_error: float | None
    pairwise_geometric_collapse: float | None
    pairwise_geometric_collapse_std_error: float | None
    geometric_collapse_unbiased: float | None
    geometric_collapse_unbiased_std_error: float | None
    pairwise_geometric_collapse_unbiased: float | None
    pairwise_geometric_collapse_unbiased_std_error: float | None
    poincare_constant: float | None
    nc1: float | None
    nc1_trace: float | None
    nc1_rank: int | None
    trace_ratio: float | None
    signal_to_noise: float | None
    within_share: float | None
    trace_within: float | None
    trace_between: float | None
    vci: float | None
    rank_me: float | None
    equinorm: float | None
    equiangularity: float | None
    equiangularity_max: float | None
    cosine_mean: float | None
    cosine_std: float | None
    etf_error: float | None
    log_energy: float | None
    log_energy_excess: float | None
    nearest_mean_error: float
    nearest_mean_std_error: float
    self_duality: float | None
    self_duality_squared: float | None
    duality_etf_error: float | None
    alignment: float | None
    head_equinorm: float | None
    head_equiangularity: float | None
    head_etf_error: float | None
    bias_collapse: float | None
    nc0: float | None
    nc0_relative: float | None
    ncc_agreement: float
    ncc_agreement_std_error: float
    head_accuracy: float

    def _lines(self) -> list[tuple[str, str]]:
        values = self._values
        known = [(name, error) for name, error, _ in _SHOWN if values.get(name) is not None]
        return [(name, plus_minus(values[name], values.get(error) if error else None)) for name, error in known]

    def _plot(self) -> str:
        q = self.cdnv_quantiles
        return _svg.quantiles("CDNV over pairs", q.min, q.q05, q.q25, q.median, q.q75, q.q95, self.cdnv_max)

    def _title(self) -> str:
        return f"CollapseReport({self.samples} samples × {self.features} features, {self.classes} classes)"

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(len(name) for name, _ in lines)
        return "\n".join([self._title(), *(f"  {name:<{width}}  {value}" for name, value in lines)])


class Cdnv(Result):
    """Mean, largest value and quantiles of the CDNV over pairs of classes."""

    _nested = {"quantiles": Quantiles}

    mean: float
    std_error: float | None
    max: float
    max_pair: tuple[int, int]
    quantiles: Quantiles
    pairs: int


def report(
    features: Any,
    labels: Any,
    head: Any = None,
    *,
    class_count: int | None = None,
    weighting: Weighting = "class_balanced",
    cdnv_form: CdnvForm = "halved",
    cdnv_divisor: Divisor = "samples",
    truncation: float | Literal["rank"] | None = None,
    scatter: Literal["full", "trace"] = "full",
    precision: Literal["of_features", "double"] = "of_features",
    memory_limit: int | None = None,
    gc: float | None = None,
    gc_std_error: float | None = None,
    gc_per_sample: Any = None,
    gc_per_class: Any = None,
) -> CollapseReport:
    """All collapse measures of features.

    Parameters
    ----------
    features : array ``[n, p]``
        f32 or f64 without a copy; f16 and bf16 are converted to f32.
    labels : integers ``[n]``
        Class numbers from 0.
    head : optional
        The linear head: ``(weight [K, p], bias [K])``, a weight, or an object with ``weight`` and ``bias`` such as
        ``torch.nn.Linear``. With it NC0, NC3 and NC4 are measured.
    class_count : int, optional
        Number of classes; by default the head's, or the largest label plus one.
    truncation : float or ``"rank"``, optional
        Eigenvalues of Σ_B that its pseudoinverse keeps.
    scatter : ``"full"`` or ``"trace"``
        ``"trace"`` leaves out VCI and RankMe and their 2·p² numbers of memory.
    precision : ``"of_features"`` or ``"double"``
        The precision in which deviations from the class means are multiplied: that of the features, as in the Rust crate, or f64,
        as the command ``geometric-collapse collapse`` does. For f32 features the scatter matrix, and with it NC1, VCI and RankMe,
        differs by about 1e-8 between the two, and ``"double"`` takes longer. Sums are in f64 in both cases.
    gc, gc_per_sample ``[n]``, gc_per_class ``[K]`` : optional
        Geometric complexities, for the geometric collapse and the Poincaré constant.
    gc_std_error : float, optional
        Standard error of ``gc``, which those of the geometric collapse include; by default that of the mean of ``gc_per_sample``,
        or 0 without it.

    Raises
    ------
    ValueError
        For wrong shapes, a label outside the classes, a value that is not finite (with its row), and too few classes.
    TypeError
        For other dtypes.
    """
    options: dict[str, Any] = {
        "class_count": as_count(class_count, "class_count"),
        "weighting": weighting,
        "cdnv": {"form": cdnv_form, "divisor": cdnv_divisor},
        "scatter": scatter,
        "precision": precision,
        "memory_limit": as_count(memory_limit, "memory_limit"),
        "gc": gc,
        "gc_std_error": gc_std_error,
        "gc_per_sample": _list_or_none(gc_per_sample, "gc_per_sample"),
        "gc_per_class": _list_or_none(gc_per_class, "gc_per_class"),
    }
    if truncation is not None:
        options["truncation"] = _truncation(truncation)
    values = _native.collapse_report(as_matrix(features), as_labels(labels), as_head(head), options)
    return CollapseReport(values)


class Moments:
    """Counts, means and within-class scatter of labelled features, fed in batches of any size and order.

    Parameters
    ----------
    class_count : int
        Labels are below it.
    feature_count : int
        Number of features p.
    scatter : ``"full"`` or ``"trace"``
        ``"full"`` keeps the p×p scatter matrix, which NC1, VCI and RankMe need.

    Moments of parts of the data, such as those of several processes, are joined by :meth:`merge` or ``+``. They can be pickled.

    >>> import numpy as np
    >>> moments = Moments(2, 1)
    >>> moments.update(np.array([[0.0], [2.0]]), [0, 0])
    >>> moments.update(np.array([[10.0], [14.0]]), [1, 1])
    >>> moments.counts, moments.cdnv().mean
    (array([2, 2], dtype=uint64), 0.020661157024793389)
    """

    def __init__(
        self,
        class_count: int,
        feature_count: int,
        scatter: Literal["full", "trace"] = "full",
        *,
        precision: Literal["of_features", "double"] = "of_features",
        memory_limit: int | None = None,
    ) -> None:
        classes, features = as_count(class_count, "class_count"), as_count(feature_count, "feature_count")
        self._native = _native.Moments(classes, features, scatter, precision, as_count(memory_limit, "memory_limit"))

    @classmethod
    def _of(cls, native: _native.Moments) -> Moments:
        moments = cls.__new__(cls)
        moments._native = native
        return moments

    def update(self, features: Any, labels: Any) -> None:
        """Adds a batch: features ``[n, p]``, labels ``[n]``. After an error the moments are as before."""
        self._native.update(as_matrix(features), as_labels(labels))

    def merge(self, other: Moments) -> None:
        """Adds all samples of other moments."""
        self._native.merge(other._native.copy() if other is self else other._native)

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        total = Moments._of(self._native.copy())
        total.merge(other)
        return total

    def to_dict(self) -> dict[str, Any]:
        """All moments as a dictionary, in the form in which the Rust crate writes them as JSON."""
        return self._native.to_dict()

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Moments:
        """The moments of such a dictionary."""
        return cls._of(_native.Moments.from_dict(state))

    def __reduce__(self) -> tuple[Any, ...]:
        return Moments.from_dict, (self.to_dict(),)

    @property
    def class_count(self) -> int:
        """Number of classes, with samples or without."""
        return self._native.class_count

    @property
    def feature_count(self) -> int:
        """Number of features p."""
        return self._native.feature_count

    @property
    def sample_count(self) -> int:
        """Samples of all classes."""
        return self._native.sample_count

    @property
    def classes(self) -> np.ndarray:
        """Classes that have samples, ascending ``[k]``."""
        return self._native.arrays()[0]

    @property
    def counts(self) -> np.ndarray:
        """Samples of each of ``classes`` ``[k]``."""
        return self._native.arrays()[1]

    @property
    def means(self) -> np.ndarray:
        """Mean of each of ``classes`` ``[k, p]``, f64."""
        return self._native.arrays()[2]

    def variance(self, label: int, divisor: Divisor = "samples") -> float | None:
        """Total variance E‖x − μ‖² of a class; ``None`` for fewer than two samples."""
        return self._native.variance(label, divisor)

    def global_mean(self, weighting: Weighting = "class_balanced") -> np.ndarray:
        """Weighted mean of the class means ``[p]``."""
        return self._native.global_mean(weighting)

    def cdnv(self, form: CdnvForm = "halved", divisor: Divisor = "samples") -> Cdnv:
        """Class-distance normalised variance over all pairs of classes."""
        return Cdnv(self._native.cdnv({"form": form, "divisor": divisor}))

    def cdnv_matrix(self, form: CdnvForm = "halved", divisor: Divisor = "samples") -> np.ndarray:
        """The CDNV of every pair ``[K, K]``; NaN on the diagonal and for pairs that are left out."""
        return self._native.cdnv_matrix({"form": form, "divisor": divisor})

    def cdnv_unbiased(self) -> Result:
        """CDNV from unbiased variances and squared distances."""
        return Result(self._native.cdnv_unbiased())

    def trace_ratio(self, weighting: Weighting = "class_balanced") -> Result:
        """tr Σ_W / tr Σ_B and its other forms."""
        return Result(self._native.trace_ratio(weighting))

    def variability(self, weighting: Weighting = "class_balanced", truncation: float | Literal["rank"] | None = None) -> Result:
        """NC1: tr(Σ_W Σ_B⁺)/K. Needs ``scatter="full"``."""
        return Result(self._native.variability(weighting, None if truncation is None else _truncation(truncation)))

    def vci(self, weighting: Weighting = "sample_weighted") -> Result:
        """Variability collapse index. Needs ``scatter="full"``."""
        return Result(self._native.vci(weighting))

    def rank_me(self, centring: Literal["uncentred", "centred"] = "uncentred") -> Result:
        """Effective rank of the features. Needs ``scatter="full"``."""
        return Result(self._native.rank_me(centring))

    def simplex(self, weighting: Weighting = "class_balanced") -> Result:
        """NC2: norms, angles and Gram matrix of the class means."""
        return Result(self._native.simplex(weighting))

    def self_duality(self, head: Any, weighting: Weighting = "class_balanced") -> Result:
        """NC3: the head compared with the class means."""
        return Result(self._native.self_duality(_needed_head(head), weighting))

    def bias_collapse(self, head: Any, weighting: Weighting = "class_balanced") -> Result:
        """‖W μ_G + b‖."""
        return Result(self._native.bias_collapse(_needed_head(head), weighting))

    def geometric_collapse(self, gc: float) -> Result:
        """Geometric collapse in the mixture form, for one geometric complexity."""
        return Result(self._native.geometric_collapse(gc))

    def pairwise_geometric_collapse(self, gc_per_class: Any) -> Result:
        """Geometric collapse in the pairwise form, for one geometric complexity per class ``[K]``."""
        return Result(self._native.pairwise_geometric_collapse(as_vector(gc_per_class, "gc_per_class")))

    def poincare_constant(self, gc_per_class: Any) -> Result:
        """The largest Var_i/GC_i over classes ``[K]``, a lower bound on the Poincaré constant."""
        return Result(self._native.poincare_constant(as_vector(gc_per_class, "gc_per_class")))

    def preset(self, name: Preset, head: Any = None) -> Result:
        """The measures as a public codebase computes them. Needs ``scatter="full"``."""
        return Result(self._native.preset(name, as_head(head)))

    def nearest_mean_error(self, features: Any, labels: Any) -> Result:
        """Share of other samples (features ``[n, p]``, labels ``[n]``) whose nearest mean of these moments is another class's."""
        return Result(self._native.nearest_mean_error(as_matrix(features), as_labels(labels)))

    def __repr__(self) -> str:
        classes = f"{len(self.classes)} of {self.class_count} classes"
        return f"Moments({self.sample_count} samples × {self.feature_count} features, {classes})"


def zero_sum(head: Any) -> Result:
    """NC0 of a head: the norm of the sum of its weights over classes."""
    return Result(_native.zero_sum(_needed_head(head)))


def nearest_mean_bound(nc: float, classes: int, shots: int, *, spherical_features: int | None = None) -> Result:
    """Bound 16(k−1)(1/s + 1/m)·NC on the nearest-mean error of k classes with m shots.

    s is 1, or the number of features if their distribution is spherically symmetric (``spherical_features``).
    """
    return Result(_native.nearest_mean_bound(nc, classes, shots, spherical_features))


def collapse_chain(moments: Moments, gc_per_class: Sequence[float], constant: float) -> Result:
    """Both inequalities of NC ≤ c·pairwise ≤ c·mixture for geometric complexities ``[K]`` and the Poincaré constant c."""
    return Result(_native.collapse_chain(moments._native, as_vector(gc_per_class, "gc_per_class"), constant))


def _needed_head(head: Any) -> tuple[np.ndarray, np.ndarray | None]:
    arrays = as_head(head)
    if arrays is None:
        raise TypeError("head: expected a weight [K, p], got None")
    return arrays


def _truncation(value: float | str) -> Any:
    return value if isinstance(value, str) else {"relative": float(value)}


def _list_or_none(value: Any, name: str) -> list[float] | None:
    return None if value is None else as_vector(value, name).tolist()
