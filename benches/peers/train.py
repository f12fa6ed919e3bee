#!/usr/bin/env python3
"""The peer of benches/train and of the example cifar_accuracy: whole networks trained in PyTorch.

    RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo bench --package benches --bench train
    python benches/peers/train.py bench [--threads 2] [--target target] [--only vgg13]

prints images a second of one training step (batch 64, 32x32) on both sides and their ratio; PyTorch's figure is that of the
better of the two memory formats. With --case FOLDER (where the Rust side, run with TRAIN_PEER_FILES=FOLDER, wrote weights and a
batch) PyTorch first computes loss and gradient of the first convolution in training mode, and the script stops where the loss
differs from ours by more than 1e-4, or the gradient by more than 5 % of its norm (rounding decides some ReLUs otherwise).

    for net in vgg13 resnet18-cifar resnet50-cifar; do
      BENCH_DEVICE=cuda:0 cargo run --release --package benches --features cudnn --example training_step -- $net 256 30; done
    python benches/peers/train.py bench --device cuda --batch 256

is the same on a GPU: PyTorch's figures there are for f32 products (as ours are) and for TF32 (its default for convolutions).

    cargo run --release --package benches --example cifar_accuracy -- images.safetensors 15
    python benches/peers/train.py accuracy images.safetensors 15 [--threads 2]

trains VGG-13 at a quarter of its width on the same 10,000 images by the same recipe over three seeds and prints the test
accuracy; the two means should lie within 1.5 points of each other."""
import argparse, json, math, os, pathlib, statistics, sys, time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["bench", "accuracy"])
parser.add_argument("images", nargs="?")
parser.add_argument("epochs", nargs="?", type=int, default=15)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
parser.add_argument("--only")
parser.add_argument("--case")
parser.add_argument("--seconds", type=float, default=2.0)
parser.add_argument("--device", default="cpu")
parser.add_argument("--batch", type=int, default=64)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
import torch  # noqa: E402  (after the thread count)
import torch.nn.functional as F  # noqa: E402
import torchvision  # noqa: E402
from torch import nn  # noqa: E402

import zoo  # noqa: E402
from figures import figure, wanted  # noqa: E402

torch.set_num_threads(arguments.threads)
BATCH = arguments.batch
SHAPE = f"{BATCH}x3x32x32, cpu"


class Net(nn.Module):
    """A network of zoo.py with its head, called as PyTorch calls one."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        head = next(getattr(net, name) for name in ("fc", "classifier", "head") if hasattr(net, name))
        self.head = head["fc"] if isinstance(head, nn.ModuleDict) else head

    def forward(self, x):
        return self.head(self.net.features(x))


def vgg(widths, batch_norm=False):
    return Net(zoo.Vgg(widths, batch_norm, 1 if len(widths) == 5 else 4))


def deep(*counts):
    return [[width] * count for width, count in zip((64, 128, 256, 512, 512), counts)]


def resnet50():
    net = torchvision.models.resnet50(weights=None, num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


NETS = {
    "vgg-small": lambda: vgg([[8], [16], [32, 32], [32, 32]], True),
    "vgg13": lambda: vgg(deep(2, 2, 2, 2, 2)),
    "vgg13_bn": lambda: vgg(deep(2, 2, 2, 2, 2), True),
    "vgg16": lambda: vgg(deep(2, 2, 3, 3, 3)),
    "resnet18-cifar": lambda: zoo.cifar(torchvision.models.resnet18(weights=None, num_classes=10)),
    "resnet50-cifar": resnet50,
    "wide-resnet28-4": lambda: Net(zoo.WideResNet(28, 4)),
    "conv4": lambda: Net(zoo.Conv4([64] * 4, 4)),
    "vit-tiny-cifar": lambda: Net(zoo.vit_tiny_cifar()),
    "convnext-atto-cifar": lambda: Net(zoo.convnext_atto_cifar()),
}


def images_a_second(make, memory_format):
    torch.manual_seed(1)
    net = make().to(arguments.device, memory_format=memory_format).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    x = torch.randn(BATCH, 3, 32, 32).to(arguments.device, memory_format=memory_format)
    y = (torch.arange(BATCH) % 10).to(arguments.device)
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < arguments.seconds:
        before = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - before)
    return BATCH / statistics.median(times[2:])


def bench_gpu():
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}, batch {BATCH}, 32x32, images a second")
    print("| network | f32 products | TF32 products |\n|---|---|---|")
    for name, make in NETS.items():
        if arguments.only not in (None, name):
            continue
        figures = []
        for allowed in (False, True):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
            torch.backends.cudnn.benchmark = True
            figures.append(max(images_a_second(make, f) for f in (torch.contiguous_format, torch.channels_last)))
        print(f"| {name} | {figures[0]:.0f} | {figures[1]:.0f} |", flush=True)


def check(name, make):
    """Loss and gradient of the first convolution for the weights and the batch that our side wrote."""
    from safetensors.torch import load_file
    stored = load_file(pathlib.Path(arguments.case) / f"{name}.safetensors")
    case = {key: stored.pop(key) for key in list(stored) if key.startswith("case/")}
    net = make().train()
    getattr(net, "net", net).load_state_dict(stored, strict=True)
    loss = F.cross_entropy(net(case["case/images"]), case["case/labels"].long())
    loss.backward()
    first = next(key for key in case if key.startswith("case/gradient/"))
    ours = case[first]
    theirs = next(m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3).weight.grad
    errors = (abs(loss.item() / case["case/loss"].item() - 1), ((theirs - ours).norm() / ours.norm()).item())
    # In f32 rounding decides some ReLUs and maxima otherwise, and what they gate differs all the way down to the first layer.
    if not (errors[0] < 1e-4 and errors[1] < 5e-2):
        sys.exit(f"{name}: loss and gradient differ by {errors[0]:.1e} and {errors[1]:.1e} (relative): nothing is timed")
    print(f"{name}: both sides compute the same loss and gradient, but for {errors[0]:.1e} and {errors[1]:.1e}", flush=True)


def bench():
    if arguments.device != "cpu":
        return bench_gpu()
    chosen = {name: make for name, make in NETS.items()
              if arguments.only in (None, name) and wanted(f"train/{name}/64x3x32x32, cpu")}
    if arguments.case:
        for name, make in chosen.items():
            check(name, make)
    else:
        print("without --case nothing is checked", file=sys.stderr)
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, batch {BATCH}, 32x32, images a second")
    print("| network | ours | PyTorch | ratio |\n|---|---|---|---|")
    for name, make in chosen.items():
        peer = max(images_a_second(make, f) for f in (torch.contiguous_format, torch.channels_last))
        file = pathlib.Path(arguments.target) / "criterion/train" / name / SHAPE / "new/estimates.json"
        ours = BATCH / (json.loads(file.read_text())["median"]["point_estimate"] * 1e-9) if file.exists() else math.nan
        print(f"| {name} | {ours:.0f} | {peer:.0f} | {ours / peer:.2f} |", flush=True)
        figure(f"train/{name}/64x3x32x32", "PyTorch", [BATCH / peer])


def accuracy():
    from safetensors.torch import load_file
    stored = load_file(arguments.images)
    x, y, test_x, test_y = (stored[key] for key in ("train.x", "train.y", "test.x", "test.y"))
    y, test_y, per_epoch, found = y.long(), test_y.long(), len(x) // BATCH, []
    steps = arguments.epochs * per_epoch
    for seed in range(3):
        torch.manual_seed(seed)
        net = vgg([[16] * 2, [32] * 2, [64] * 2, [128] * 2, [128] * 2])
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(x))
            chosen = order[step % per_epoch * BATCH:][:BATCH]
            warm = (step - 100) / max(steps - 100, 1)
            rate = 0.02 * ((step + 1) / 100 if step < 100 else 0.5 * (1 + math.cos(math.pi * warm)))
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(net(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(test_x.split(500), test_y.split(500)))
        found.append(100 * right / len(test_x))
        print(f"seed {seed}: last training loss {loss.item():.3f}, test accuracy {found[-1]:.2f} %", flush=True)
    print(f"mean over 3 seeds: {statistics.mean(found):.2f} %")


if __name__ == "__main__":
    {"bench": bench, "accuracy": accuracy}[arguments.what]()
