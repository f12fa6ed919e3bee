#!/usr/bin/env python3
"""The peer of benches/data and of the example `start`: decoding and batching with PyTorch's DataLoader and torchvision.

    RAYON_NUM_THREADS=2 cargo bench --package benches --bench data
    cargo run --release --package geometric-datasets --example start -- cifar10 [DATA_DIR]
    python benches/peers/data.py [--images 50000] [--workers 0 2] [--seconds 5]

Decoding: as many 32x32 colour PNGs, held in memory, through PIL and through torchvision.io, in one process and in a
DataLoader with workers. Batches: 5,000 images of 3x32x32 held as uint8 tensors (not as files), each one cropped with
padding 4 (reflected), flipped and normalised, in shuffled batches of 128; the workers collate. The fastest number of
workers counts. A first pass through each loader, which starts its workers, is not timed. First the script checks that
what is decoded is what was encoded, and that torchvision makes of the bytes of a batch, which the Rust side wrote, the same
numbers as we do.
"""
import argparse, io, os, pathlib, sys, time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import io as vision_io
from torchvision.transforms import v2

from figures import figure

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--images", type=int, default=50_000)
arguments.add_argument("--workers", type=int, nargs="+", default=[0, 2])
arguments.add_argument("--seconds", type=float, default=5.0)
arguments.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
arguments = arguments.parse_args()
torch.set_num_threads(1)
torch.manual_seed(1)
MEAN, STD = [0.5] * 3, [0.25] * 3


def photograph(rng):
    """Smooth colours with some noise, so that a PNG of it is about as long as one of CIFAR-10."""
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((32, 32), Image.BILINEAR)
    noisy = np.asarray(coarse, dtype=np.int16) + rng.integers(-6, 7, (32, 32, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class Encoded(Dataset):
    def __init__(self, files, count, decode):
        self.files, self.count, self.decode = files, count, decode

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.decode(self.files[index % len(self.files)])


class Images(Dataset):
    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), self.labels[index]


def by_pil(file):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(file)).convert("RGB"))).permute(2, 0, 1).contiguous()


def by_torchvision(file):
    return vision_io.decode_png(torch.frombuffer(bytearray(file), dtype=torch.uint8), vision_io.ImageReadMode.RGB)


def rate(loader, per_batch, seconds):
    """Images a second over at least this long, whole passes, after one that does not count."""
    for _ in loader:
        pass
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for batch in loader:
            images += per_batch(batch)
    return images / (time.perf_counter() - start)


def check():
    """torchvision's values of the bytes that our side wrote, against ours."""
    from safetensors.torch import load_file
    path = pathlib.Path(arguments.target) / "tmp" / "data.safetensors"
    if not path.exists():
        sys.exit(f"{path} is missing: run the Rust side first, or name its target directory with --target")
    case = load_file(path)
    plain = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    error = (plain(case["pixels"]) - case["images"]).abs().max().item()
    if not error < 1e-6 or not torch.equal(case["labels"].long(), torch.arange(len(case["labels"])) % 10):
        sys.exit(f"torchvision's batch differs from ours by {error:.1e}, or in its labels: nothing is timed")
    print(f"both sides make the same batch of {len(case['pixels'])} images: largest difference {error:.1e}", flush=True)


def main():
    check()
    rng = np.random.default_rng(0)
    pictures = [photograph(rng) for _ in range(500)]
    files = [encoded(picture) for picture in pictures]
    print(f"torch {torch.__version__}; PNGs of {np.mean([len(file) for file in files]):.0f} bytes")
    for decode in (by_pil, by_torchvision):
        assert torch.equal(decode(files[3]), torch.from_numpy(pictures[3]).permute(2, 0, 1))
        for workers in arguments.workers:
            loader = DataLoader(Encoded(files, arguments.images, decode), batch_size=500, num_workers=workers)
            start = time.perf_counter()
            total = sum(len(batch) for batch in loader)
            seconds = time.perf_counter() - start
            print(f"decode {decode.__name__[3:]:<12} {workers} workers: {total} images in {seconds:6.2f} s, "
                  f"{total / seconds:9.0f} images/s")
    images = torch.from_numpy(rng.integers(0, 256, (5_000, 3, 32, 32), dtype=np.uint8))
    labels = torch.arange(5_000) % 10
    plain = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    crop = [v2.RandomCrop(32, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    for name, transform in [("plain", plain), ("crop and flip", crop + plain)]:
        speeds = []
        for workers in arguments.workers:
            data = Images(images, labels, v2.Compose(transform))
            loader = DataLoader(data, 128, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
            speed = rate(loader, lambda batch: len(batch[1]), arguments.seconds)
            print(f"batches {name:<14} {workers} workers: {speed:9.0f} images/s")
            speeds.append(speed)
        figure(f"data/batches/{name}/3x32x32, batch 128, prefetched", "PyTorch", [1 / max(speeds)], elements=1)


if __name__ == "__main__":
    main()
