"""GC of a torchvision ResNet-18 and a timm ViT against torch.func's exact value, and against jacobian_regularizer.

Needs torch, torchvision, timm, and jacobian_regularizer (https://github.com/facebookresearch/jacobian_regularizer).

Both estimators average random projections, so their squared error is inversely proportional to the seconds spent. Compared are the
seconds that each needs for the same error: seconds of a call times its mean squared error. Run: python examples/speed_torch.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import timm
import torch
import torchvision
from geometric_collapse import gc
from jacobian import JacobianReg

PROBES = 16
REPEATS = 40


def resnet18() -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """A network, its features, and images."""
    net = torchvision.models.resnet18().eval()
    return net, torch.nn.Sequential(*list(net.children())[:-1], torch.nn.Flatten()), torch.randn(8, 3, 32, 32)


def vit() -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """A ViT-Tiny for images of 64×64."""
    net = timm.create_model("vit_tiny_patch16_224", img_size=64).eval()
    return net, lambda x: net.forward_head(net.forward_features(x), pre_logits=True), torch.randn(8, 3, 64, 64)


def exact_by_torch(features: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> float:
    """The mean of ‖J‖²_F by torch.func."""
    jacobian = torch.func.jacrev(lambda x: features(x[None])[0], chunk_size=64)
    with torch.no_grad():
        return sum(jacobian(image).double().square().sum().item() for image in images) / len(images)


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Seconds and value."""
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def compare(name: str, net: torch.nn.Module, features: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> None:
    """Prints values and seconds."""
    for weight in net.parameters():
        # Else each backward pass of jacobian_regularizer also prepares the gradients of all weights.
        weight.requires_grad_(False)
    seconds, expected = timed(lambda: exact_by_torch(features, images))
    own, exact = timed(lambda: gc.measure(net, images, exact=True, dataset_size=len(images)).value)
    print(f"{name}: torch.func {expected:.7g} in {seconds:.2f} s; gc.measure, exact {exact:.7g} in {own:.2f} s", flush=True)

    regularizer = JacobianReg(n=PROBES)

    def theirs() -> float:
        x = images.clone().requires_grad_(True)
        return 2 * regularizer(x, features(x)).item()

    def ours(seed: int) -> gc.Estimate:
        return gc.measure(net, images, probes=PROBES, probe="sphere", dataset_size=len(images), seed=seed)

    within, both = 0, ([], [])
    for seed in range(REPEATS):
        seconds, estimate = timed(lambda seed=seed: ours(seed))
        both[0].append((seconds, estimate.value / expected - 1))
        within += abs(estimate.value - expected) <= estimate.standard_error.total
        both[1].append((lambda pair: (pair[0], pair[1] / expected - 1))(timed(theirs)))
    medians = [statistics.median(seconds for seconds, _ in runs) for runs in both]
    errors = [statistics.fmean(error**2 for _, error in runs) ** 0.5 for runs in both]
    costs = [seconds * error**2 for seconds, error in zip(medians, errors, strict=True)]
    print(f"  {PROBES} probes, {REPEATS} times: within one stated standard error {within} times (of 27 expected)")
    for who, seconds, error in zip(("gc.measure", "jacobian_regularizer"), medians, errors, strict=True):
        print(f"  {who}: {seconds:.3f} s, relative error {100 * error:.2f} %")
    print(f"  jacobian_regularizer needs {costs[1] / costs[0]:.2f} times our time for the same error", end="")
    print(f", {medians[1] / medians[0]:.2f} times for the same number of probes", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    compare("ResNet-18", *resnet18())
    compare("ViT-Tiny", *vit())
