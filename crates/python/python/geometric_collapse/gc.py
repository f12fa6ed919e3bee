"""Geometric complexity (GC): the mean over samples of ‖∂f/∂x‖²_F, the squared norm of the Jacobian of the features.

f ends at the features, the input of the last linear layer. The vector–Jacobian products of a torch module are torch's, on the
module's device. Probes, plan, errors and the stopping rule are this package's, so a seed gives the same probes everywhere.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import numpy as np

from . import _native, _svg
from ._arrays import as_array, as_floats, as_labels
from ._progress import progress_bar
from ._results import Result, plus_minus

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

__all__ = ["Estimate", "FeatureMap", "measure", "measure_weights", "penalty"]

#: Samples of one batch when inputs are given as one array; the measurement divides them again by its memory budget.
_BATCH = 128

Probe = Literal["rademacher", "gaussian", "sphere"] | dict[str, dict[str, int]]


class FeatureMap(Protocol):
    """A map that another framework computes, on NumPy arrays. Row i of the features depends on row i of the inputs only."""

    #: ``absent``, ``evaluation`` or ``unstated``: the statistics that batch norm uses, recorded with a measurement.
    batch_norm: str

    def features(self, x: np.ndarray) -> np.ndarray:
        """The features ``[n, p]`` of inputs ``[n, …]``."""
        ...

    def linearize(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], tuple[int, int]] | None:
        """The features; a function from cotangents ``[k·n, p]`` (row r is of sample r mod n) to Jᵀv ``[k·n, …]``; and the bytes
        that it keeps: of all tensors, and of the largest. ``None`` if the features do not depend on the inputs."""
        ...


class Estimate(Result):
    """Geometric complexity with its standard error, and how it was obtained."""

    value: float
    standard_error: Result
    interval: Result | None
    samples: int
    probes: int
    passes: Result
    inputs: int
    outputs: int
    stopped: str
    seed: int
    largest_norm: float | None
    per_sample: tuple[float, ...] | None
    per_class: tuple[Result, ...] | None
    layer: str

    @property
    def relative_error(self) -> float | None:
        """The standard error over the value."""
        error = self.standard_error.total
        return None if error is None else (0.0 if error == 0 else error / self.value)

    def _plot(self) -> str:
        if self.per_class:
            errors = [(entry, entry.standard_error.total) for entry in self.per_class]
            rows = [
                (
                    f"class {entry.label}",
                    entry.value,
                    *((None, None) if error is None else (entry.value - error, entry.value + error)),
                )
                for entry, error in errors
            ]
            return _svg.intervals(rows[:40])
        ends = (None, None) if self.interval is None else (self.interval.low, self.interval.high)
        return _svg.intervals([("GC", self.value, *ends)])

    def _lines(self) -> list[tuple[str, str]]:
        return [
            ("GC", self._text),
            ("layer", self.layer),
            ("samples", str(self.samples)),
            ("probes per sample", str(self.probes)),
            ("features, inputs", f"{self.outputs}, {self.inputs}"),
            ("stopped", str(self.stopped)),
            *((f"class {entry.label}", plus_minus(entry.value, entry.standard_error.total)) for entry in self.per_class or ()),
        ]

    def __repr__(self) -> str:
        return f"Estimate({self._text}, {self.samples} samples, {self.probes} probes each, layer {self.layer!r})"


class Settings(TypedDict, total=False):
    """Keyword arguments that :func:`measure` and :func:`measure_weights` share; :func:`measure` describes them."""

    until_rel: float | None
    probes: int | None
    exact: bool
    probe: Probe
    seed: int
    std: Iterable[float] | None
    dataset_size: int | None
    max_passes: int | None
    time_limit: float | None
    confidence: float
    chunk_bytes: int | None
    chunk_samples: int | None
    per_sample: bool
    per_class: bool


def _settings(
    *,
    until_rel: float | None = None,
    probes: int | None = None,
    exact: bool = False,
    probe: Probe = "rademacher",
    seed: int = 0,
    std: Iterable[float] | None = None,
    dataset_size: int | None = None,
    max_passes: int | None = None,
    time_limit: float | None = None,
    confidence: float = 0.95,
    chunk_bytes: int | None = None,
    chunk_samples: int | None = None,
    per_sample: bool = False,
    per_class: bool = False,
) -> dict[str, Any]:
    """The native settings. Names and defaults of this function are those of :func:`measure` and :func:`measure_weights`."""
    if exact and probes is not None:
        raise ValueError("exact: an exact value has no probes; give one of the two")
    stop = None
    if exact:
        estimator: Any = "exact"
        stop = until_rel
    elif probes is not None:
        estimator = {"projections": {"probe": probe, "probes": probes}}
        stop = until_rel
    else:
        estimator = {"planned": {"probe": probe, "until_rel": 0.01 if until_rel is None else until_rel}}
    return {
        "estimator": estimator,
        "by": None,
        "seed": seed,
        "units": "normalised" if std is None else {"pixel": {"std": [float(value) for value in std]}},
        "population": "distribution" if dataset_size is None else {"data_set": {"size": dataset_size}},
        "batch_sample": None,
        "pilot": None,
        "replicate": None,
        "chunk_bytes": chunk_bytes,
        "chunk_samples": chunk_samples,
        "until_rel": stop,
        "max_passes": max_passes,
        "time_limit": time_limit,
        "confidence": confidence,
        "per_sample": per_sample,
        "per_class": per_class,
    }


def _with_settings(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
    """States the parameters of :func:`_settings` in the signature that ``help`` and ``inspect`` show."""
    own = inspect.signature(function)
    settings = inspect.signature(_settings).parameters.values()
    shown = [parameter for parameter in own.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    function.__signature__ = own.replace(parameters=[*shown, *settings])  # type: ignore[attr-defined]
    return function


@_with_settings
def measure(
    module: torch.nn.Module | Callable[[torch.Tensor], torch.Tensor] | FeatureMap,
    images: Any,
    *,
    layer: str | None = None,
    labels: Any = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Estimate:
    """GC of a torch module, of a function on torch tensors, or of a :class:`FeatureMap`.

    Parameters
    ----------
    module
        In evaluation mode. Its weights are constants of the measurement and are not changed.
    images
        An array or tensor ``[n, …]`` as the module sees it, or an iterable over batches: tensors, or tuples whose first entry is
        the tensor and whose second entry holds the labels (such as a ``DataLoader``).
    layer : str, optional
        By default f ends at the input of the module's last ``Linear``. A name of ``module.named_modules()`` takes the output of
        that layer instead; ``""`` is the module itself. Outputs of more dimensions are flattened.
    until_rel : float, optional
        Stops when the relative standard error is reached; the number of probes per sample is planned from a pilot. 0.01 unless
        ``probes`` or ``exact`` is given.
    probes : int, optional
        This number of random projections per sample instead.
    exact : bool
        All rows of the Jacobian: p backward passes per sample.
    probe
        ``rademacher``, ``gaussian``, ``sphere`` or ``{"orthogonal": {"block": b}}``.
    std : numbers ``[c]``, optional
        Standard deviations by which the channels of the images were divided: GC per pixel in [0, 1] instead of per input.
    dataset_size : int, optional
        The value is a statement about this data set of so many samples, not about the distribution that they are drawn from.
    max_passes, time_limit : optional
        Budgets, in passes of one sample and in seconds.
    per_sample, per_class : bool
        Also gives the value of every sample, or of every class (with ``labels``).
    progress : bool
        Shows a bar if tqdm is installed.

    Raises
    ------
    ValueError
        For a module in training mode, a map that mixes samples or draws random numbers, values that are not finite, wrong shapes.
    TypeError
        For other dtypes.
    """
    native = _settings(**settings)
    feature_map, name = _as_map(module, layer)
    with progress_bar(progress, _count(images), "samples") as advance:
        batches = _batches(images, labels, getattr(feature_map, "input_dtype", None), advance)
        values, text = _native.measure_map(feature_map, batches, native)
    return Estimate({**values, "layer": name}, text)


@_with_settings
def measure_weights(
    weights: str | os.PathLike[str] | Mapping[str, Any],
    images: Any,
    architecture: str,
    *,
    layer: str | None = None,
    labels: Any = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Estimate:
    """GC of a network of a known family by this package's own kernels, without torch.

    Parameters
    ----------
    weights
        A file (safetensors, or PyTorch's ``.pth``), or a state dict with arrays or CPU tensors.
    images
        As in :func:`measure`, ``[n, c, h, w]`` (``[n, d]`` for an MLP), in f32 or f64.
    architecture
        A name such as ``resnet18``, or a TOML text such as ``family = "mlp"`` with its sizes.
    layer
        A layer of the network; by default f ends at the input of the last linear layer.

    The other parameters are those of :func:`measure`. ``notes`` of the result say how names of tensors were matched.
    """
    native = _settings(**settings)
    source = os.fspath(weights) if isinstance(weights, (str, os.PathLike)) else _state_dict(weights)
    with progress_bar(progress, _count(images), "samples") as advance:
        batches = _Peekable(_batches(images, labels, None, advance))
        first = batches.first()
        size = (first.shape[1], [first.shape[2], first.shape[3]]) if first is not None and first.ndim == 4 else None
        double = first is not None and first.dtype == np.float64
        (values, text), notes = _native.measure_network(architecture, source, double, size, layer, batches, native)
    return Estimate({**values, "layer": layer or "features", "notes": notes}, text)


def penalty(
    module: torch.nn.Module | Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    *,
    layer: str | None = None,
    probes: int | None = 1,
    probe: Probe = "rademacher",
    seed: int = 0,
    step: int = 0,
    std: Iterable[float] | None = None,
) -> torch.Tensor:
    """GC of a batch as a differentiable torch scalar, to be added to the loss times its weight λ.

    (1/(n·P)) Σ ‖Jᵀv‖² over n samples and P = ``probes`` probes v, an unbiased estimate of the GC of the batch; torch
    differentiates it twice. ``probes=None`` is exact: p backward passes. Each ``step`` has its own probes. In training mode batch
    norm mixes samples; the term then estimates ‖J‖²_F/n of the whole batch map, and ``probes=None`` is refused.

    This is twice the term of ``jacobian_regularizer``, which has a factor ½.
    """
    from ._torch import penalty_term

    return penalty_term(module, x, layer, probes, probe, seed, step, None if std is None else [float(s) for s in std])


def _as_map(module: Any, layer: str | None) -> tuple[Any, str]:
    if hasattr(module, "linearize") and hasattr(module, "features") and not _is_torch_module(module):
        if layer is not None:
            raise ValueError("layer: a FeatureMap has no named layers; choose the layer inside it")
        return module, "features"
    from ._torch import TorchMap

    return (feature_map := TorchMap(module, layer)), feature_map.layer


def _is_torch_module(module: Any) -> bool:
    return any(kind.__module__.startswith("torch.nn") for kind in type(module).__mro__)


def _batches(
    images: Any, labels: Any, dtype: Any, advance: Callable[[int], object] | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Pairs of contiguous inputs and labels (or ``None``)."""
    for batch, classes in _pairs(images, labels):
        inputs = as_floats(batch, "images")
        if dtype is not None:
            inputs = inputs.astype(dtype, copy=False)
        yield inputs, None if classes is None else as_labels(classes)
        if advance is not None:
            advance(len(inputs))


def _pairs(images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    if _is_array(images):
        inputs = as_array(images, "images")
        classes = None if labels is None else as_labels(labels)
        if inputs.ndim == 0:
            raise ValueError("images: expected shape [n, …], got a single number")
        if classes is not None and len(classes) != len(inputs):
            raise ValueError(f"batch: expected one label per sample, got {len(classes)} labels for {len(inputs)} samples")
        for start in range(0, len(inputs), _BATCH):
            end = start + _BATCH
            yield inputs[start:end], None if classes is None else classes[start:end]
        return
    if labels is not None:
        raise ValueError("labels: batches of an iterable carry their own labels, as the second entry of a tuple")
    for batch in images:
        if isinstance(batch, (tuple, list)):
            yield batch[0], batch[1] if len(batch) > 1 else None
        else:
            yield batch, None


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _count(images: Any) -> int | None:
    if _is_array(images):
        return len(images) if len(images.shape) else None
    dataset = getattr(images, "dataset", None)
    try:
        return None if dataset is None else len(dataset)
    except TypeError:
        return None


class _Peekable:
    """An iterator whose first inputs can be seen before they are taken."""

    def __init__(self, source: Iterator[tuple[np.ndarray, np.ndarray | None]]) -> None:
        self._source = source
        self._pending: list[tuple[np.ndarray, np.ndarray | None]] = []

    def first(self) -> np.ndarray | None:
        """The inputs of the first batch."""
        self._pending = [batch] if (batch := next(self._source, None)) is not None else []
        return self._pending[0][0] if self._pending else None

    def __iter__(self) -> _Peekable:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray | None]:
        return self._pending.pop() if self._pending else next(self._source)


def _state_dict(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in weights.items():
        array = as_array(value, name)
        whole = array.dtype.kind in "iu"
        arrays[str(name)] = np.require(array, np.int64, ["C"]) if whole else as_floats(array, name)
    return arrays
