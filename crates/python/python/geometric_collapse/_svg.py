"""Small plots for notebooks: intervals and quantiles on a line. Colours follow the text, so that dark pages work too."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

_WIDTH, _ROW, _LABEL = 420, 22, 150


def intervals(rows: Sequence[tuple[str, float, float | None, float | None]], bounds: tuple[float, float] | None = None) -> str:
    """One line per row ``(label, value, low, high)``: a point, and its interval if both ends are known."""
    rows = [row for row in rows if math.isfinite(row[1])]
    if not rows:
        return ""
    ends = [end for _, value, low, high in rows for end in (value, low, high) if end is not None and math.isfinite(end)]
    low, high = bounds or (min(ends), max(ends))
    place = _scale(low, high)
    parts = []
    for index, (label, value, start, end) in enumerate(rows):
        y = _ROW * index + _ROW / 2
        parts.append(_text(0, y + 4, label))
        if start is not None and end is not None:
            parts.append(_line(place(start), place(end), y))
        parts.append(f'<circle cx="{place(value):.1f}" cy="{y:.1f}" r="4" fill="currentColor"/>')
    return _figure(parts, len(rows), low, high)


def quantiles(label: str, low: float, q05: float, q25: float, median: float, q75: float, q95: float, high: float) -> str:
    """A box from the first to the third quartile, whiskers to the 5 % and 95 % quantiles, and points at both ends."""
    place, y = _scale(low, high), _ROW / 2
    width = max(place(q75) - place(q25), 1.0)
    parts = [
        _text(0, y + 4, label),
        _line(place(q05), place(q95), y),
        f'<rect x="{place(q25):.1f}" y="{y - 6}" width="{width:.1f}" height="12" fill="currentColor" fill-opacity="0.35"/>',
        f'<rect x="{place(median) - 1:.1f}" y="{y - 7}" width="2" height="14" fill="currentColor"/>',
    ]
    parts += [f'<circle cx="{place(end):.1f}" cy="{y}" r="1.5" fill="currentColor"/>' for end in (low, high)]
    return _figure(parts, 1, low, high)


def _scale(low: float, high: float):
    span = high - low
    return lambda value: _LABEL + (_WIDTH - _LABEL - 10) * (0.5 if span == 0 else (min(max(value, low), high) - low) / span)


def _line(start: float, end: float, y: float) -> str:
    return f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" font-family="sans-serif" '
        f'fill="currentColor">{html.escape(text)}</text>'
    )


def _figure(parts: list[str], rows: int, low: float, high: float) -> str:
    axis = _ROW * rows + 14
    ends = _text(_LABEL, axis, f"{low:.4g}") + (_text(_WIDTH, axis, f"{high:.4g}", "end") if high > low else "")
    height = axis + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img">{"".join(parts)}{ends}</svg>'
    )
