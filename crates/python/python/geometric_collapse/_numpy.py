"""NumPy, imported when a function first needs it: its import takes longer than that of the rest of this package.

``from . import _numpy as np`` is used like ``import numpy as np``.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    import numpy

    value = getattr(numpy, name)
    # Later uses of the name find it in the module, without this function.
    globals()[name] = value
    return value
