"""GC and NC along training as a Lightning callback. Needs ``lightning`` or ``pytorch_lightning``."""

from __future__ import annotations

from typing import Any

from .training import Monitor

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError as error:
        raise ImportError("geometric_collapse.lightning needs lightning: pip install lightning") from error

__all__ = ["GeometryCallback"]


class GeometryCallback(Callback):
    """Logs GC and NC after every ``every_n_epochs`` epochs to the trainer's loggers (TensorBoard, Weights & Biases, CSV).

    ``images`` ``[n, …]`` and ``labels`` ``[n]`` are measured; ``attribute`` names the network inside the LightningModule, which is
    the LightningModule itself by default. The other settings are those of :class:`geometric_collapse.training.Monitor`.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        *,
        attribute: str | None = None,
        every_n_epochs: int = 1,
        prefix: str = "geometry/",
        **settings: Any,
    ) -> None:
        super().__init__()
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs: expected at least 1, got {every_n_epochs}")
        self.monitor = Monitor(images, labels, **settings)
        self.attribute, self.every_n_epochs, self.prefix = attribute, every_n_epochs, prefix

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measures and logs."""
        if (trainer.current_epoch + 1) % self.every_n_epochs or not trainer.is_global_zero:
            return
        network = getattr(pl_module, self.attribute) if self.attribute else pl_module
        row = self.monitor.record(trainer.global_step, network)
        values = {self.prefix + name: value for name, value in row.items() if name != "step"}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
