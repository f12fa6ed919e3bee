"""GC and NC of a network along its training.

>>> monitor = Monitor(images, labels)                                # doctest: +SKIP
>>> for step in range(1000):                                         # doctest: +SKIP
...     train_one_step(model)
...     if step % 100 == 0:
...         monitor.record(step, model)
>>> monitor.to_pandas()                                              # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import collapse, gc
from ._batches import batches

if TYPE_CHECKING:
    import pandas
    import polars
    import torch

__all__ = ["MEASURES", "Monitor", "log_to"]

#: The measures that are logged, where they are defined.
MEASURES = (
    "gc",
    "gc_std_error",
    "cdnv",
    "cdnv_std_error",
    "geometric_collapse",
    "nc1",
    "equinorm",
    "equiangularity",
    "self_duality",
    "ncc_agreement",
    "nearest_mean_error",
    "head_accuracy",
)


class Monitor:
    """Measures GC and collapse on fixed images at steps of a training.

    Parameters
    ----------
    images : tensor ``[n, …]``, labels : integers ``[n]``
        The samples that are measured, always the same ones.
    layer : str, optional
        As in :func:`geometric_collapse.gc.measure`: by default the features are the input of the last ``Linear``, which is then also
        the head of NC3 and NC4.
    probes : int
        Random projections per sample for GC; 0 leaves GC out.
    gc_samples : int
        GC is measured on the first samples only, because it costs a backward pass per probe.
    batch_size : int
        Samples of one forward pass.
    log : function, optional
        Called as ``log(name, value, step)`` for every measure; see :func:`log_to`.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: Any,
        *,
        layer: str | None = None,
        probes: int = 4,
        gc_samples: int = 128,
        batch_size: int = 256,
        seed: int = 0,
        log: Callable[[str, float, int], object] | None = None,
    ) -> None:
        self.images, self.labels, self.layer = images, labels, layer
        self.probes, self.gc_samples, self.batch_size, self.seed, self.log = probes, gc_samples, batch_size, seed, log
        self.history: list[dict[str, Any]] = []

    def record(self, step: int, module: torch.nn.Module) -> dict[str, Any]:
        """Measures the module in evaluation mode and restores the mode of each of its layers afterwards."""
        modes = {child: child.training for child in module.modules()}
        module.eval()
        try:
            values = self._measure(module)
        finally:
            for child, training in modes.items():
                child.training = training
        row = {"step": step, **values}
        self.history.append(row)
        if self.log is not None:
            for name, value in values.items():
                self.log(name, value, step)
        return row

    def _measure(self, module: torch.nn.Module) -> dict[str, float]:
        from ._torch import TorchMap, features_of

        values: dict[str, Any] = {}
        if self.probes:
            samples = min(self.gc_samples, len(self.images))
            estimate = gc.measure(module, self.images[:samples], layer=self.layer, probes=self.probes, seed=self.seed)
            values.update(gc=estimate.value, gc_std_error=estimate.standard_error.total)
        feature_map = TorchMap(module, self.layer)
        parts = (self.images[start : start + self.batch_size] for start in range(0, len(self.images), self.batch_size))
        features, _, head = features_of(feature_map, batches(parts, None, feature_map.input_dtype, None))
        report = collapse.report(features, self.labels, head, gc=values.get("gc"))
        values.update((name, getattr(report, name, None)) for name in MEASURES if not name.startswith("gc"))
        return {name: values[name] for name in MEASURES if values.get(name) is not None}

    def to_pandas(self) -> pandas.DataFrame:
        """One row per step."""
        import pandas

        return pandas.DataFrame(self.history)

    def to_polars(self) -> polars.DataFrame:
        """One row per step."""
        import polars

        return polars.DataFrame(self.history, infer_schema_length=None)


def log_to(target: Any, prefix: str = "geometry/") -> Callable[[str, float, int], object]:
    """A ``log`` function for a TensorBoard ``SummaryWriter`` (``add_scalar``) or a Weights & Biases run (``log``)."""
    if hasattr(target, "add_scalar"):
        return lambda name, value, step: target.add_scalar(prefix + name, value, step)
    if hasattr(target, "log"):
        return lambda name, value, step: target.log({prefix + name: value}, step=step)
    raise TypeError(f"log_to: expected an object with add_scalar or log, got {type(target).__name__}")
