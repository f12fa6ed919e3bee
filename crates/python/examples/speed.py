"""Seconds of a collapse report of 50,000 × 512 and of 10,000 episodes from Python and from Rust, and of the imports.

Both programs work on the same array, take turns, and must give the same values bit for bit. From the folder of this package:

    cargo build --release --example speed --target-dir ../../target
    python examples/speed.py ../../target/release/examples/speed
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from geometric_collapse import collapse, fewshot

REPEATS = 9


def main(rust: str) -> None:
    """Prints one line per task: medians of both, and the median and range of the ratio Python / Rust of a turn."""
    rng = np.random.default_rng(0)
    labels = np.arange(50_000) % 100
    values = rng.standard_normal((50_000, 512), dtype=np.float32)
    values[np.arange(50_000), labels] += 6.0
    tasks: dict[str, Callable[[], float]] = {
        "report": lambda: collapse.report(values, labels).cdnv,
        "episodes": lambda: fewshot.evaluate(values, labels, heads=["ncm"], episodes=10_000).head("ncm").accuracy.mean,
    }
    with tempfile.NamedTemporaryFile() as file:
        values.astype("<f4").tofile(file.name)
        with subprocess.Popen([rust, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            for name, work in tasks.items():
                turns = [turn(other, name, work, first=number % 2) for number in range(REPEATS + 1)][1:]
                print(f"{name}: {summary(turns)}", flush=True)
            other.stdin.close()


def turn(other: subprocess.Popen[str], name: str, work: Callable[[], float], first: int) -> tuple[float, float]:
    """Seconds of Python and of Rust, whose order changes from turn to turn."""
    if first:
        theirs = in_rust(other, name)
    start = time.perf_counter()
    value = work()
    ours = time.perf_counter() - start
    if not first:
        theirs = in_rust(other, name)
    if value != theirs[1]:
        raise AssertionError(f"{name}: Python gives {value!r}, Rust {theirs[1]!r}")
    return ours, theirs[0]


def in_rust(other: subprocess.Popen[str], name: str) -> tuple[float, float]:
    """Seconds and value of one task of the Rust program."""
    other.stdin.write(f"{name}\n")
    other.stdin.flush()
    seconds, value = other.stdout.readline().split()
    return float(seconds), float(value)


def summary(turns: list[tuple[float, float]]) -> str:
    """Medians, and the ratio of each turn."""
    ours, theirs = (statistics.median(column) for column in zip(*turns, strict=True))
    ratios = sorted(python / rust for python, rust in turns)
    middle = statistics.median(ratios)
    return f"Python {ours:.3f} s, Rust {theirs:.3f} s, ratio {middle:.3f} (from {ratios[0]:.3f} to {ratios[-1]:.3f})"


def imports() -> None:
    """Seconds of a new interpreter with the import, less those of an empty one."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    for code in ("import geometric_collapse", "from geometric_collapse import collapse, fewshot, gc", "import numpy"):
        both = [seconds(code) - seconds("pass") for _ in range(11)]
        print(f"{code}: {statistics.median(both):.3f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    imports()
    main(sys.argv[1])
