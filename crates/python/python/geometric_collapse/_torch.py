"""Feature maps of torch modules: features up to a layer, vector–Jacobian products, and the penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from . import _native
from ._arrays import as_count

_BATCH_NORM = nn.modules.batchnorm._BatchNorm

#: Rows of one backward pass, where there are fewer samples. On a processor, more rows save no time but memory and forward passes.
_ROWS_ON_CPU, _ROWS_ON_DEVICE = 32, 256


class _Reached(Exception):
    """Ends a forward pass at the layer whose output (or input) is wanted."""


class Layer:
    """The features of a module: the input of its last ``Linear``, or the output of a named layer."""

    def __init__(self, module: nn.Module | Callable[[torch.Tensor], torch.Tensor], layer: str | None) -> None:
        if not callable(module):
            raise TypeError(f"module: expected a torch module or a function on tensors, got {type(module).__name__}")
        self.module = module
        self.target: nn.Module | None = None
        self.takes_input = False
        self.is_guess = False
        self.name = layer or "output"
        if not isinstance(module, nn.Module):
            if layer:
                raise ValueError(f"layer: a function has no layer {layer!r}; give a module")
            return
        layers = dict(module.named_modules())
        if layer is None:
            linear = [(name, child) for name, child in layers.items() if name and isinstance(child, nn.Linear)]
            if linear:
                name, self.target = linear[-1]
                self.takes_input = True
                # Modules are in the order of their definition, which need not be that of the forward pass.
                self.is_guess = True
                self.name = f"input of {name}"
        elif layer:
            if layer not in layers:
                names = ", ".join(name for name in layers if name)
                raise ValueError(f"layer: the module has no layer {layer!r}; it has {names}")
            self.target = layers[layer]

    def __call__(self, x: torch.Tensor, call: Callable[[torch.Tensor], Any]) -> torch.Tensor:
        """The features ``[n, p]`` of ``x`` in a forward pass by ``call``."""
        output = call(x) if self.target is None else self._reach(self.target, x, call)
        if not isinstance(output, torch.Tensor):
            raise TypeError(f"layer {self.name!r}: expected a tensor, got {type(output).__name__}; choose a layer that returns one")
        return output.flatten(1) if output.ndim > 2 else output

    def _reach(self, target: nn.Module, x: torch.Tensor, call: Callable[[torch.Tensor], Any]) -> Any:
        found: list[Any] = []

        def before(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            found.append(inputs[0])
            raise _Reached

        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found.append(output)
            raise _Reached

        hook = target.register_forward_pre_hook(before) if self.takes_input else target.register_forward_hook(after)
        try:
            call(x)
        except _Reached:
            return found[0]
        finally:
            hook.remove()
        raise ValueError(f"layer: the forward pass does not call the layer {self.name!r}")


class TorchMap:
    """A module in evaluation mode as a feature map on NumPy arrays."""

    def __init__(self, module: nn.Module | Callable[[torch.Tensor], torch.Tensor], layer: str | None) -> None:
        self._layer = Layer(module, layer)
        self._module = module
        self.layer, self.is_guess = self._layer.name, self._layer.is_guess
        self._parameters: dict[str, torch.Tensor] = {}
        self.batch_norm = "unstated"
        self._device, self._dtype = torch.device("cpu"), None
        if isinstance(module, nn.Module):
            _check_evaluation(module)
            norms = any(isinstance(child, _BATCH_NORM) for child in module.modules())
            self.batch_norm = "evaluation" if norms else "absent"
            self._parameters = {name: weight.detach() for name, weight in module.named_parameters()}
            first = next((tensor for tensor in _state(module) if tensor.is_floating_point()), None)
            if first is not None:
                self._device, self._dtype = first.device, first.dtype
        self.input_dtype = np.float64 if self._dtype == torch.float64 else (None if self._dtype is None else np.float32)
        self._bytes_per_sample: tuple[int, int] | None = None

    def features(self, x: np.ndarray) -> np.ndarray:
        """The features ``[n, p]`` of inputs ``[n, …]``."""
        with torch.inference_mode(False), torch.no_grad():
            return _to_numpy(self._features(self._tensor(x)))

    def linearize(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], tuple[int, int]] | None:
        """The features, their vector–Jacobian product, and the bytes that it keeps."""
        products = _Products(self, x)
        if self._bytes_per_sample is None:
            with _count_saved(self._parameters.values()) as saved:
                features = products.features()
            self._bytes_per_sample = sum(saved.values()) // len(x), max(saved.values(), default=0) // len(x)
        else:
            features = products.features()
        if not features.requires_grad:
            return None
        total, largest = (size * len(x) for size in self._bytes_per_sample)
        return _to_numpy(features), products, (total, largest)

    def _features(self, inputs: torch.Tensor) -> torch.Tensor:
        # A copy, so that a first layer that works in place changes no leaf of the graph.
        inputs = inputs.clone()
        if not self._parameters:
            return self._layer(inputs, self._module)
        # Constant weights, so that torch computes no gradient of a weight.
        return self._layer(inputs, lambda x: torch.func.functional_call(self._module, self._parameters, (x,)))

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).to(self._device, self._dtype)


class _Products:
    """The map from cotangents ``[k·n, p]`` to Jᵀv ``[k·n, …]`` at inputs ``[n, …]``.

    The graph of one forward pass is kept, and each backward pass over it gives one product of every sample. Few samples do not fill
    the device; their inputs are repeated, so that a backward pass gives several products of each. Vectorising the backward pass over
    one graph instead takes several times as long, because some operations have no vectorised derivative.
    """

    def __init__(self, feature_map: TorchMap, x: np.ndarray) -> None:
        self._map, self._x = feature_map, x
        self._rows = _ROWS_ON_CPU if feature_map._device.type == "cpu" else _ROWS_ON_DEVICE
        self._count, self._graph = 0, (torch.empty(0), torch.empty(0))

    def features(self) -> torch.Tensor:
        """The features ``[n, p]``."""
        self._run(1)
        return self._graph[1]

    def __call__(self, cotangents: np.ndarray) -> np.ndarray:
        samples, rows = len(self._x), len(cotangents)
        count = min(rows // samples, -(-self._rows // samples))
        if count > self._count:
            self._run(count)
        step = self._count * samples
        parts = [self._product(cotangents[start : start + step]) for start in range(0, rows, step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _product(self, cotangents: np.ndarray) -> np.ndarray:
        inputs, features = self._graph
        given = features.new_zeros(features.shape)
        given[: len(cotangents)] = torch.from_numpy(cotangents)
        (gradient,) = torch.autograd.grad(features, inputs, given, retain_graph=True, materialize_grads=True)
        return _to_numpy(gradient[: len(cotangents)])

    def _run(self, count: int) -> None:
        self._graph = (torch.empty(0), torch.empty(0))  # frees the graph before the larger one is computed
        repeated = np.concatenate([self._x] * count) if count > 1 else self._x
        with torch.inference_mode(False), torch.enable_grad():
            inputs = self._map._tensor(repeated).requires_grad_(True)
            self._count, self._graph = count, (inputs, self._map._features(inputs))


def penalty_term(
    module: nn.Module | Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    layer: str | None,
    probes: int | None,
    probe: Any,
    seed: int,
    step: int,
    std: list[float] | None,
) -> torch.Tensor:
    """The mean of ‖Jᵀv‖² over samples and probes as a scalar with a graph."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"penalty: expected a floating-point tensor [n, …], got {kind}")
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"penalty: expected inputs [n, …] with n at least 1, got {list(x.shape)}")
    probes, address = as_count(probes, "probes"), (as_count(seed, "seed"), as_count(step, "step"))
    with torch.enable_grad():
        inputs = x if x.requires_grad else x.detach().requires_grad_(True)
        features = Layer(module, layer)(inputs.clone(), module)
        if features.ndim != 2 or len(features) != len(x):
            raise ValueError(f"feature map: expected features of shape [{len(x)}, p], got {list(features.shape)}")
        if not features.requires_grad:
            raise ValueError("feature map: the features are not connected to the inputs by differentiable operations")
        double = features.dtype == torch.float64
        shape, mixes = tuple(features.shape), _mixes_samples(module)
        drawn, factor = _native.penalty_probes(shape, double, probe, probes, mixes, address)
        total = features.new_zeros(())
        for cotangent in drawn:
            given = torch.from_numpy(cotangent).to(features.device, features.dtype)
            (gradient,) = torch.autograd.grad(features, inputs, given, create_graph=True, materialize_grads=True)
            total = total + _in_pixels(gradient, std).square().sum()
    return total * factor


def _in_pixels(gradient: torch.Tensor, std: list[float] | None) -> torch.Tensor:
    if std is None:
        return gradient
    if len(std) != gradient.shape[1] or not all(value > 0 for value in std):
        raise ValueError(f"std: expected {gradient.shape[1]} positive standard deviations, one per channel, got {std}")
    return gradient / gradient.new_tensor(std).reshape(1, -1, *(1,) * (gradient.ndim - 2))


def _mixes_samples(module: Any) -> bool:
    modules = module.modules() if isinstance(module, nn.Module) else ()
    return any(isinstance(child, _BATCH_NORM) and child.training for child in modules)


def _check_evaluation(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if child.training:
            where = f"its layer {name!r}" if name else "it"
            raise ValueError(f"module: {where} is in training mode; call module.eval() before measuring")


def _state(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype not in (torch.float32, torch.float64):
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise TypeError(f"feature map: expected features of a floating-point dtype, got {kind}, which has no derivative")
        tensor = tensor.float()
    return tensor.cpu().contiguous().numpy()


@contextmanager
def _count_saved(parameters: Any) -> Iterator[dict[int, int]]:
    """Bytes of every storage that torch keeps for the backward pass, weights excluded."""
    weights = {weight.untyped_storage().data_ptr() for weight in parameters}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        # Without its graph, because a saved output that refers to its own graph would never be freed.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def features_of(
    feature_map: TorchMap, batches: Iterable[tuple[np.ndarray, np.ndarray | None]]
) -> tuple[np.ndarray, np.ndarray | None, tuple[np.ndarray, np.ndarray | None] | None]:
    """The features ``[n, p]`` and the labels of all batches, and the last ``Linear`` where the features are its input."""
    parts, classes = [], []
    for inputs, labels in batches:
        parts.append(feature_map.features(inputs))
        classes.append(labels)
    if not parts:
        raise ValueError("images: there are no samples")
    known = None if any(labels is None for labels in classes) else np.concatenate(classes)
    return np.concatenate(parts), known, _head(feature_map._layer)


def _head(layer: Layer) -> tuple[np.ndarray, np.ndarray | None] | None:
    if not layer.takes_input or not isinstance(layer.target, nn.Linear):
        return None
    return _to_numpy(layer.target.weight), None if layer.target.bias is None else _to_numpy(layer.target.bias)
