"""Progress bars, if tqdm is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(wanted: bool, total: int | None, unit: str) -> Iterator[Callable[[int], object] | None]:
    """A function that advances a bar by a number of units, or ``None`` without tqdm."""
    tqdm = _tqdm() if wanted else None
    if tqdm is None:
        yield None
        return
    with tqdm(total=total, unit=f" {unit}") as bar:
        yield bar.update


def _tqdm():
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
