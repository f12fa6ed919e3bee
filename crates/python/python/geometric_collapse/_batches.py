"""Images of the caller, as one array or as batches, in the form that the native functions read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ._arrays import as_array, as_floats, as_labels

if TYPE_CHECKING:
    import numpy as np

#: Samples of one batch when inputs are given as one array; a measurement divides them again by its memory budget.
BATCH = 128


def batches(images: Any, labels: Any, dtype: Any, advance: Callable[[int], object] | None) -> Iterator[Any]:
    """Pairs of contiguous inputs and labels (or ``None``)."""
    for batch, classes in pairs(images, labels):
        inputs = as_floats(on_cpu(batch), "images")
        if dtype is not None:
            inputs = inputs.astype(dtype, copy=False)
        yield inputs, None if classes is None else as_labels(on_cpu(classes))
        if advance is not None:
            advance(len(inputs))


def pairs(images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of inputs and labels (or ``None``) as the caller has them."""
    if is_array(images):
        inputs = as_array(on_cpu(images), "images")
        classes = None if labels is None else as_labels(on_cpu(labels))
        if inputs.ndim == 0:
            raise ValueError("images: expected shape [n, …], got a single number")
        if classes is not None and len(classes) != len(inputs):
            raise ValueError(f"batch: expected one label per sample, got {len(classes)} labels for {len(inputs)} samples")
        for start in range(0, len(inputs), BATCH):
            end = start + BATCH
            yield inputs[start:end], None if classes is None else classes[start:end]
        return
    if labels is not None:
        raise ValueError("labels: batches of an iterable carry their own labels, as the second entry of a tuple")
    if isinstance(images, (str, bytes, dict)) or not hasattr(images, "__iter__"):
        raise TypeError(f"images: expected an array [n, …] or an iterable over batches, got {type(images).__name__}")
    for batch in images:
        if isinstance(batch, (tuple, list)):
            if not batch or isinstance(batch[0], (int, float, list, tuple)):
                raise TypeError("images: expected arrays or tensors as batches, got nested lists; make one array of them")
            yield batch[0], batch[1] if len(batch) > 1 else None
        else:
            yield batch, None


def on_cpu(value: Any) -> Any:
    """A torch tensor of any device in CPU memory; other values as they are."""
    return value.detach().cpu() if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "cpu") else value


def is_array(value: Any) -> bool:
    """Whether a value is one array or tensor, and not an iterable over batches."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def count(images: Any) -> int | None:
    """The number of samples, where it is known before they are read."""
    if is_array(images):
        return len(images) if len(images.shape) else None
    dataset = getattr(images, "dataset", None)
    try:
        return None if dataset is None else len(dataset)
    except TypeError:
        return None


class Peekable:
    """Batches whose first inputs can be seen before they are taken: a network in a file is read in their dtype."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        first = next(source, None)
        self._pending = [] if first is None else [first]
        #: The shape of one sample; ``None`` if there is none.
        self.sample: list[int] | None = None if first is None else list(first[0].shape[1:])
        #: Whether the inputs are f64.
        self.double: bool = first is not None and first[0].dtype.itemsize == 8

    def __iter__(self) -> Peekable:
        return self

    def __next__(self) -> Any:
        return self._pending.pop() if self._pending else next(self._source)
