"""Seconds of a collapse report of 50,000 × 512 and of 10,000 episodes, of the import, and of GC of a torchvision ResNet-18.

`speed.rs` does the first two in Rust. Run: python examples/speed.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometric_collapse import collapse, fewshot, gc


def timed(name: str, work: Callable[[], Any], repeats: int = 3) -> Any:
    """Prints the seconds of every repeat."""
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        print(f"{name}: {time.perf_counter() - start:.2f} s", flush=True)
    return result


def features() -> None:
    """The work of `speed.rs`."""
    rng = np.random.default_rng(0)
    labels = np.arange(50_000) % 100
    values = rng.standard_normal((50_000, 512), dtype=np.float32)
    values[np.arange(50_000), labels] += 6.0
    timed("report", lambda: collapse.report(values, labels))
    timed("10,000 episodes", lambda: fewshot.evaluate(values, labels, heads=["ncm"], episodes=10_000))


def imports() -> None:
    """Seconds of a new interpreter with the import, less those of an empty one."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    for code in ("import geometric_collapse", "import numpy", "from geometric_collapse import collapse, fewshot, gc"):
        both = sorted(seconds(code) - seconds("pass") for _ in range(7))
        print(f"{code}: {both[3]:.3f} s", flush=True)


def resnet() -> None:
    """GC of a ResNet-18 with random weights on 4 images of 32×32, against torch.func."""
    try:
        import torch
        import torchvision
    except ImportError:
        print("GC of ResNet-18: torch and torchvision are not installed")
        return
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    images = torch.randn(4, 3, 32, 32)
    body = torch.nn.Sequential(*list(net.children())[:-1], torch.nn.Flatten())

    def exact() -> float:
        jacobian = torch.func.jacrev(lambda x: body(x[None])[0], chunk_size=128)
        with torch.no_grad():
            return sum(jacobian(image).square().sum().item() for image in images) / len(images)

    expected = timed("torch.func.jacrev, exact", exact, 1)
    ours = timed("gc.measure, exact", lambda: gc.measure(net, images, exact=True), 1)
    print(f"jacrev {expected:.7g}, gc.measure {ours.value:.7g}")
    quick = timed("gc.measure, 64 probes", lambda: gc.measure(net, images, probes=64, dataset_size=4), 1)
    print(f"{quick!r}")
    own = timed("gc.measure_weights, exact", lambda: gc.measure_weights(net.state_dict(), images, "resnet18", exact=True), 1)
    print(f"gc.measure_weights {own.value:.7g}")


if __name__ == "__main__":
    imports()
    features()
    resnet()
