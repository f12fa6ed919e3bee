"""Arrays of the caller as contiguous NumPy arrays in CPU memory, without a copy where the layout allows."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:
    from . import _numpy as np

#: Device types of DLPack whose memory the processor can read: CPU, pinned CUDA, pinned ROCm.
_READABLE_DEVICES = (1, 3, 11)


def as_array(value: Any, name: str) -> np.ndarray:
    """A NumPy array of a NumPy array, a torch tensor, an object with ``__dlpack__`` or ``__array__``, or nested lists."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays are not accepted, because the mask would be lost; leave masked rows out")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if _is_torch_tensor(value):
        return _of_torch(value, name)
    if hasattr(value, "__dlpack_device__"):
        return _of_dlpack(value, name)
    if value is None or isinstance(value, (str, bytes, dict)):
        raise TypeError(f"{name}: expected an array, got {type(value).__name__}")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array with rows of one length ({error})") from error


def as_floats(value: Any, name: str) -> np.ndarray:
    """A contiguous array of f32 or f64; f16 and bf16 become f32 exactly."""
    array = as_array(value, name)
    dtype = array.dtype.newbyteorder("=")
    if dtype in (np.float32, np.float64):
        wanted = dtype
    elif dtype == np.float16 or dtype.name == "bfloat16":
        wanted = np.dtype(np.float32)
    else:
        raise TypeError(f"{name}: expected float16, bfloat16, float32 or float64, got {dtype}; convert the array first")
    return np.require(array, dtype=wanted, requirements=["C", "A"])


def as_matrix(value: Any, name: str = "features") -> np.ndarray:
    """Features ``[n, p]`` as a contiguous array of f32 or f64."""
    array = as_floats(value, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected shape [n, p] with p at least 1, got {list(array.shape)}; flatten all but the first axis"
        )
    return array


def as_labels(value: Any, name: str = "labels") -> np.ndarray:
    """Class numbers ``[n]`` as a contiguous array of int64; negative ones are refused later, with their row."""
    array = as_array(value, name)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected integers, got {array.dtype}; number the classes from 0")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected shape [n], got {list(array.shape)}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        row = int(array.argmax())
        raise ValueError(f"row {row} has label {array[row]}, but labels are class numbers from 0 to 4294967295")
    return np.require(array, dtype=np.int64, requirements=["C", "A"])


def as_vector(value: Any, name: str) -> np.ndarray:
    """Numbers ``[n]`` as a contiguous array of f64; integers are accepted."""
    array = as_array(value, name)
    if array.dtype.kind in "iu" or array.size == 0:
        array = array.astype(np.float64)
    array = as_floats(array, name).astype(np.float64, copy=False)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected shape [n], got {list(array.shape)}")
    return array


def as_count(value: Any, name: str) -> int | None:
    """A whole number from 0; ``None`` as it is."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{name}: expected a whole number from 0, got {number}")
    return number


def as_head(head: Any) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Weight ``[K, p]`` and bias ``[K]`` of a pair, of a weight alone, or of an object with ``weight`` and ``bias``."""
    if head is None:
        return None
    if hasattr(head, "weight") and hasattr(head, "bias"):
        weight, bias = head.weight, head.bias
    elif isinstance(head, tuple):
        if len(head) != 2:
            raise ValueError(f"head: expected a pair of weight [K, p] and bias [K], got {len(head)} entries")
        weight, bias = head
    else:
        weight, bias = head, None
    weight = as_matrix(weight, "head").astype(np.float64, copy=False)
    if bias is not None:
        bias = as_floats(bias, "head").astype(np.float64, copy=False)
        if bias.ndim != 1:
            raise ValueError(f"head: expected a bias of shape [K], got {list(bias.shape)}")
    return weight, bias


def _is_torch_tensor(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def _of_torch(tensor: Any, name: str) -> np.ndarray:
    import torch

    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: expected a tensor in CPU memory, got one on {tensor.device}; call .cpu()")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got the layout {tensor.layout}; call .to_dense()")
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _of_dlpack(value: Any, name: str) -> np.ndarray:
    device = value.__dlpack_device__()[0]
    if int(device) not in _READABLE_DEVICES:
        raise TypeError(f"{name}: expected an array in CPU memory, got one on a device (DLPack type {int(device)}); copy it first")
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError) as error:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        raise TypeError(f"{name}: NumPy cannot read this array ({error}); convert it to float32") from error
