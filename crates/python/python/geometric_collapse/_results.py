"""Frozen results: attributes, dictionaries, tables, and a form for notebooks."""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas
    import polars


class Result:
    """A result with named values that cannot be changed.

    The values are attributes under the names that they have in the Rust crates, in JSON and in CSV files. ``to_dict`` gives
    all of them, ``to_pandas`` and ``to_polars`` give a table.
    """

    __slots__ = ("_text", "_values")

    #: Classes of the nested results.
    _nested: ClassVar[dict[str, type[Result]]] = {}

    _values: dict[str, Any]
    _text: str

    def __init__(self, values: Mapping[str, Any], text: str = "") -> None:
        object.__setattr__(self, "_values", {name: self._wrapped(name, value) for name, value in values.items()})
        object.__setattr__(self, "_text", text)

    @classmethod
    def _wrapped(cls, name: str, value: Any) -> Any:
        kind = cls._nested.get(name, Result)
        if isinstance(value, dict):
            return kind(value)
        if isinstance(value, (list, tuple)):
            return tuple(cls._wrapped(name, entry) for entry in value)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no value {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be deleted")

    def __dir__(self) -> list[str]:
        return sorted([*object.__dir__(self), *self._values])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result) or type(self) is not type(other):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.to_dict(), self._text)

    def to_dict(self) -> dict[str, Any]:
        """All values as a new dictionary of numbers, strings, lists and dictionaries."""
        return {name: _plain(value) for name, value in self._values.items()}

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table: one, with the values that are single numbers or strings; nested names have dots."""
        return [dict(_flat(self._values, ""))]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas ``DataFrame``."""
        import pandas

        return pandas.DataFrame(self.rows())

    def to_polars(self) -> polars.DataFrame:
        """The rows as a polars ``DataFrame``."""
        import polars

        return polars.DataFrame(self.rows(), infer_schema_length=None)

    def __str__(self) -> str:
        return self._text or repr(self)

    def __repr__(self) -> str:
        name = type(self).__name__
        if "\n" in self._text:
            # The first line says what the result is of; every other line is one value.
            first, *lines = self._text.splitlines()
            return "\n".join([f"{name}({first})", *(f"  {line}" for line in lines)])
        if self._text:
            return f"{name}({self._text})"
        shown = ((key, value) for key, value in self._values.items() if not isinstance(value, (tuple, Result)))
        return f"{name}({', '.join(f'{key}={number(value)}' for key, value in shown)})"

    def _plot(self) -> str:
        """A small plot as SVG, or nothing."""
        return ""

    def _lines(self) -> list[tuple[str, str]]:
        """Names and values for a notebook."""
        lines = self._text.splitlines()[1:]
        if lines:
            return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return [(key, number(value)) for key, value in _flat(self._values, "")]

    def _title(self) -> str:
        """One line for a notebook."""
        name = type(self).__name__
        return f"{name}: {self._text.splitlines()[0]}" if self._text else name

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in self._lines()
        )
        return f"<div><b>{html.escape(self._title())}</b><br/>{self._plot()}<table>{cells}</table></div>"


def table(results: list[Result], kind: str) -> Any:
    """The rows of several results in one ``pandas`` or ``polars`` table."""
    if kind not in ("pandas", "polars"):
        raise ValueError(f"kind: expected pandas or polars, got {kind!r}")
    rows = [row for result in results for row in result.rows()]
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(rows)
    import polars

    return polars.DataFrame(rows, infer_schema_length=None)


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return copy.copy(value)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Result):
            yield from _flat(value._values, f"{prefix}{name}.")
        elif not isinstance(value, tuple):
            yield f"{prefix}{name}", value


def number(value: Any) -> str:
    """A number with up to six significant digits; other values as they are."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)


def plus_minus(value: float | None, error: float | None) -> str:
    """Value and standard error, both rounded to the first digit of the error (the first two if it begins with 1)."""
    if value is None:
        return "undefined"
    if error is None or not math.isfinite(error) or error <= 0 or not math.isfinite(value):
        return f"{value:.4g}"
    last = math.floor(math.log10(error))
    if error / 10.0**last < 1.95:
        last -= 1
    rounded = round(error, -last)
    scale = math.floor(math.log10(max(abs(value), rounded)))
    if -4 <= scale <= 6:
        decimals = max(-last, 0)
        return f"{round(value, -last):.{decimals}f} ± {rounded:.{decimals}f}"
    decimals = max(scale - last, 0)
    return f"({value / 10.0**scale:.{decimals}f} ± {rounded / 10.0**scale:.{decimals}f})e{scale}"
