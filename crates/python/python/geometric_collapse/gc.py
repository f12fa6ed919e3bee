"""Geometric complexity (GC): the mean over samples of ‖∂f/∂x‖²_F, the squared norm of the Jacobian of the features.

f ends at the features, the input of the last linear layer. The vector–Jacobian products of a torch module are torch's, on the
module's device. Probes, plan, errors and the stopping rule are this package's, so a seed gives the same probes everywhere.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from . import _native, _svg
from ._arrays import as_count
from ._batches import Peekable, batches, count
from ._progress import progress_bar
from ._results import Result, plus_minus
from .networks import onnx_source, shown, weights_source

if TYPE_CHECKING:
    import numpy as np
    import torch
    from typing_extensions import Unpack

__all__ = ["Estimate", "FeatureMap", "measure", "measure_onnx", "measure_weights", "penalty"]

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
    #: Which tensor was measured.
    layer: str
    #: Whether that was a guess: the last ``Linear`` of a module, or the layer before a graph's output, need not be the classifier.
    is_guess: bool

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
            ("layer", shown(self.layer, self.is_guess)),
            ("samples", str(self.samples)),
            ("probes per sample", str(self.probes)),
            ("features, inputs", f"{self.outputs}, {self.inputs}"),
            ("stopped", str(self.stopped)),
            *((f"class {entry.label}", plus_minus(entry.value, entry.standard_error.total)) for entry in self.per_class or ()),
        ]

    def __repr__(self) -> str:
        return f"Estimate({self._text}, {self.samples} samples, {self.probes} probes each, layer {shown(self.layer, self.is_guess)})"


class Settings(TypedDict, total=False):
    """Keyword arguments that all functions of this module share, except ``penalty``; :func:`measure` describes them."""

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
    """The native settings. Names and defaults of this function are those of the public functions."""
    if exact and probes is not None:
        raise ValueError("exact: an exact value has no probes; give one of the two")
    stop = None
    if exact:
        estimator: Any = "exact"
        stop = until_rel
    elif probes is not None:
        estimator = {"projections": {"probe": probe, "probes": as_count(probes, "probes")}}
        stop = until_rel
    else:
        estimator = {"planned": {"probe": probe, "until_rel": 0.01 if until_rel is None else until_rel}}
    return {
        "estimator": estimator,
        "by": None,
        "seed": as_count(seed, "seed"),
        "units": "normalised" if std is None else {"pixel": {"std": [float(value) for value in std]}},
        "population": "distribution" if dataset_size is None else {"data_set": {"size": as_count(dataset_size, "dataset_size")}},
        "batch_sample": None,
        "pilot": None,
        "replicate": None,
        "chunk_bytes": as_count(chunk_bytes, "chunk_bytes"),
        "chunk_samples": as_count(chunk_samples, "chunk_samples"),
        "until_rel": stop,
        "max_passes": as_count(max_passes, "max_passes"),
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
    feature_map, measured = _as_map(module, layer)
    with progress_bar(progress, count(images), "samples") as advance:
        given = batches(images, labels, getattr(feature_map, "input_dtype", None), advance)
        values, text = _native.measure_map(feature_map, given, native)
    return Estimate({**values, **measured}, text)


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

    Raises
    ------
    OSError
        For a file that cannot be read (``FileNotFoundError`` for one that is missing).
    ValueError
        For an unknown architecture, tensors that are missing, unexpected or of another shape (with their names), images of another
        shape than the architecture takes, and as in :func:`measure`.
    TypeError
        For images of integers.
    """
    native = _settings(**settings)
    return _measure_network(weights_source(weights, architecture), images, labels, layer, progress, native)


@_with_settings
def measure_onnx(
    path: str | os.PathLike[str],
    images: Any,
    *,
    layer: str | None = None,
    labels: Any = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Estimate:
    """GC of an ONNX graph by this package's own kernels, without torch.

    Parameters
    ----------
    path
        An ONNX file; weights in ``.data`` files of its folder are read too.
    images
        As in :func:`measure`, ``[n, …]`` as the graph's one input states, in f32 or f64. The graph is computed in their dtype. A
        batch size that the exporter fixed is freed.
    layer : str, optional
        By default f ends at the input of the linear layer that computes the output; a graph does not say whether that layer is a
        classifier, so ``is_guess`` of the result is true. ``"head"`` takes the input of the last linear layer whatever follows it,
        ``"output"`` the first output, and another name the first output of that node, or that tensor.

    The other parameters are those of :func:`measure`. ``layer`` and ``tensor`` of the result say which tensor was measured.

    Raises
    ------
    OSError
        For a file that cannot be read (``FileNotFoundError`` for one that is missing).
    ValueError
        For bytes that are no ONNX graph, operators that are not supported (all of them are listed), an unknown layer, images of
        another shape than the graph's input, and as in :func:`measure`.
    TypeError
        For images or graph inputs of integers.
    """
    native = _settings(**settings)
    return _measure_network(onnx_source(path), images, labels, layer, progress, native)


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


def _measure_network(
    source: dict[str, Any], images: Any, labels: Any, layer: str | None, progress: bool, settings: dict[str, Any]
) -> Estimate:
    with progress_bar(progress, count(images), "samples") as advance:
        given = Peekable(batches(images, labels, None, advance))
        (values, text), measured = _native.measure_network(source, given.double, given.sample, layer, given, settings)
    return Estimate({**values, **measured}, text)


def _as_map(module: Any, layer: str | None) -> tuple[Any, dict[str, Any]]:
    """A map with ``features`` and ``linearize``, and which tensor its features are."""
    if isinstance(module, (str, os.PathLike)):
        raise TypeError(f"module: expected a torch module, got the path {module!r}; use measure_onnx or measure_weights for files")
    if hasattr(module, "linearize") and hasattr(module, "features") and not _is_torch_module(module):
        if layer is not None:
            raise ValueError("layer: a FeatureMap has no named layers; choose the layer inside it")
        return module, {"layer": "features", "is_guess": False}
    from ._torch import TorchMap

    feature_map = TorchMap(module, layer)
    return feature_map, {"layer": feature_map.layer, "is_guess": feature_map.is_guess}


def _is_torch_module(module: Any) -> bool:
    return any(kind.__module__.startswith("torch.nn") for kind in type(module).__mro__)
