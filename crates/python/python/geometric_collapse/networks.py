"""Features of networks, for collapse and few-shot accuracy: torch modules, state dicts of known families, and ONNX files.

>>> out = networks.features_of_onnx("net.onnx", images, labels)          # doctest: +SKIP
>>> collapse.report(out.features, out.labels, out.head)                   # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _native
from ._arrays import as_array, as_floats
from ._batches import Peekable, batches, count
from ._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

__all__ = ["Features", "features_of_module", "features_of_onnx", "features_of_weights"]


class Features:
    """Features of a network with what is measured beside them.

    Attributes
    ----------
    features : array ``[n, p]``
        The flattened values of the tensor, in the dtype of the images.
    labels : array ``[n]`` or ``None``
    head : pair ``(weight [K, p], bias [K] or None)``, or ``None``
        The linear layer that takes the features, where it is known to be the classifier and its weights are there.
    layer : str
        Which tensor the features are.
    is_guess : bool
        Whether that was a guess: a graph does not say which of its layers is the classifier.
    tensor : str or ``None``
        The name of the tensor in an ONNX graph.
    notes : tuple of str
        How names of weights were matched, where they are not those of the family.
    """

    __slots__ = ("features", "head", "is_guess", "labels", "layer", "notes", "tensor")

    def __init__(self, features: np.ndarray, labels: Any, head: Any, measured: Mapping[str, Any]) -> None:
        self.features, self.labels, self.head = features, labels, head
        self.layer: str = measured["layer"]
        self.is_guess: bool = measured["is_guess"]
        self.tensor: str | None = measured.get("tensor")
        self.notes: tuple[str, ...] = tuple(measured.get("notes", ()))

    def __repr__(self) -> str:
        samples, width = self.features.shape
        head = "no head" if self.head is None else f"a head of {len(self.head[0])} classes"
        return f"Features({samples} samples × {width} features, layer {shown(self.layer, self.is_guess)}, {head})"


def features_of_onnx(
    path: str | os.PathLike[str], images: Any, labels: Any = None, *, layer: str | None = None, progress: bool = False
) -> Features:
    """Features of an ONNX graph by this package's own kernels.

    ``images``, ``labels`` and ``progress`` are as in :func:`geometric_collapse.gc.measure`, ``layer`` as in
    :func:`geometric_collapse.gc.measure_onnx`.
    """
    return _computed(onnx_source(path), images, labels, layer, progress)


def features_of_weights(
    weights: str | os.PathLike[str] | Mapping[str, Any],
    images: Any,
    architecture: str,
    labels: Any = None,
    *,
    layer: str | None = None,
    progress: bool = False,
) -> Features:
    """Features of a network of a known family by this package's own kernels.

    The parameters are those of :func:`geometric_collapse.gc.measure_weights`.
    """
    return _computed(weights_source(weights, architecture), images, labels, layer, progress)


def features_of_module(
    module: torch.nn.Module | Callable[[torch.Tensor], torch.Tensor],
    images: Any,
    labels: Any = None,
    *,
    layer: str | None = None,
    progress: bool = False,
) -> Features:
    """Features of a torch module in evaluation mode, on the module's device.

    The parameters are those of :func:`geometric_collapse.gc.measure`.
    """
    from ._torch import TorchMap, features_of

    feature_map = TorchMap(module, layer)
    with progress_bar(progress, count(images), "samples") as advance:
        features, classes, head = features_of(feature_map, batches(images, labels, feature_map.input_dtype, advance))
    return Features(features, classes, head, {"layer": feature_map.layer, "is_guess": feature_map.is_guess})


def onnx_source(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A graph as the native functions read it."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected the path of an ONNX file, got {type(path).__name__}")
    return {"onnx": os.fspath(path)}


def weights_source(weights: str | os.PathLike[str] | Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """A network of a known family as the native functions read it."""
    if not isinstance(architecture, str):
        raise TypeError(f"architecture: expected a name or a TOML text, got {type(architecture).__name__}")
    if isinstance(weights, (str, os.PathLike)):
        return {"weights": os.fspath(weights), "architecture": architecture}
    if not hasattr(weights, "items"):
        hint = "; call .state_dict()" if hasattr(weights, "state_dict") else ""
        raise TypeError(f"weights: expected a file or a state dict, got {type(weights).__name__}{hint}")
    return {"weights": {str(name): _weight(value, name) for name, value in weights.items()}, "architecture": architecture}


def shown(layer: str, is_guess: bool) -> str:
    """A layer for a repr."""
    return f"{layer!r} (a guess)" if is_guess else repr(layer)


def _weight(value: Any, name: str) -> np.ndarray:
    array = as_array(value, name)
    # Batch norm counts its batches in integers.
    if array.dtype.kind in "iu":
        return array.astype("int64", order="C", copy=False)
    return as_floats(array, name)


def _computed(source: dict[str, Any], images: Any, labels: Any, layer: str | None, progress: bool) -> Features:
    with progress_bar(progress, count(images), "samples") as advance:
        given = Peekable(batches(images, labels, None, advance))
        return Features(*_native.network_features(source, given.double, given.sample, layer, given))
