"""GC and NC along the training of a small network on random clusters, logged to TensorBoard if it is installed.

Run: python examples/plain_loop.py
"""

from __future__ import annotations

import torch
from geometric_collapse import gc, training


def data(samples: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of one random image per class."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 1, 12, 12, generator=generator)
    labels = torch.arange(samples) % classes
    return centres[labels] + 0.5 * torch.randn(samples, 1, 12, 12, generator=generator), labels


def log():
    """A log function for TensorBoard, or none without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return training.log_to(SummaryWriter("runs/plain_loop"))


def main(steps: int = 200, penalty_weight: float = 1e-3) -> training.Monitor:
    """Trains with a GC penalty and measures every 50 steps."""
    torch.manual_seed(0)
    images, labels = data(512, 4)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(800, 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 4),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    monitor = training.Monitor(images, labels, log=log())
    for step in range(steps + 1):
        if step % 50 == 0:
            row = monitor.record(step, net)
            print("  ".join(f"{name} {row[name]:.4g}" for name in ("step", "gc", "cdnv", "nearest_mean_error")))
        batch = torch.randint(len(images), (64,))
        loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
        loss = loss + penalty_weight * gc.penalty(net, images[batch], step=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return monitor


if __name__ == "__main__":
    main()
