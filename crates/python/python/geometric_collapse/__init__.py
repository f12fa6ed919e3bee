"""Geometric complexity, neural collapse and few-shot transfer of NumPy arrays and torch modules.

======================  ===========================================================================================
module                  contents
======================  ===========================================================================================
``collapse``            CDNV, geometric collapse, NC1 to NC4 of features ``[n, p]`` and labels ``[n]``
``gc``                  geometric complexity (mean of the squared norm of the Jacobian) of torch modules, state dicts, ONNX files
``networks``            features and head of torch modules, state dicts, ONNX files
``fewshot``             episodes, accuracies of heads with intervals, transfer scores
``heads``               the heads with scikit-learn's ``fit`` and ``predict``
``statistics``          intervals, rank correlations, corrections for many tests
``training``            GC and NC along training, as a function for any loop
``lightning``           the same as a Lightning callback
======================  ===========================================================================================

Modules are imported when they are first used: ``import geometric_collapse`` loads neither NumPy nor torch.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["collapse", "fewshot", "gc", "heads", "lightning", "networks", "statistics", "training"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
