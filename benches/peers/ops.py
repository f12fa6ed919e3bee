#!/usr/bin/env python3
"""The peer of benches/ops: the same convolutions and steps in PyTorch, and the table of ratios.

Run after the Rust side, on the same idle machine and with as many threads:

    RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo bench --package benches --bench ops
    python benches/peers/ops.py [--threads 2] [--target target] [--only step]

Before anything is timed, PyTorch computes every layer again, in f64, from the numbers that the Rust side wrote, and the
script stops if a result differs by more than 5e-5 of its root mean square. Each PyTorch figure is that of the better of the two
memory formats (contiguous, channels last), found anew for each operation. Both sides state the median (and, with --best,
the fastest) of their repetitions. Throughput is nominal: two operations a product of the direct sum; its share of the peak is
that of the gemm crate on square matrices in the same run, which a scheme with fewer products may exceed. About two minutes on an
idle machine with two cores."""
import argparse, json, os, pathlib, platform, resource, statistics, sys, time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
arguments.add_argument("--batch", type=int, default=64)
arguments.add_argument("--best", action="store_true", help="compare the fastest repetitions instead of the medians")
arguments.add_argument("--quick", action="store_true", help="two layers only, and fewer repetitions")
arguments.add_argument("--only", choices=["convolution", "step"])
arguments.add_argument("--memory", choices=["vgg13", "resnet18-cifar"], help="one training step; print the peak memory")
arguments = arguments.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
import torch  # noqa: E402  (after the thread count)
from torch import nn  # noqa: E402

from figures import figure, wanted  # noqa: E402

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
# Input and output channels, image size, kernel size, stride: as LAYERS in benches/ops.rs.
LAYERS = [(3, 64, 32, 3, 1), (64, 64, 32, 3, 1), (64, 128, 16, 3, 1), (128, 128, 16, 3, 1), (128, 256, 8, 3, 1),
          (256, 256, 8, 3, 1), (256, 512, 4, 3, 1), (512, 512, 4, 3, 1), (512, 512, 2, 3, 1), (64, 128, 32, 3, 2),
          (128, 256, 16, 3, 2), (256, 512, 8, 3, 2), (64, 128, 32, 1, 2), (128, 256, 16, 1, 2), (256, 512, 8, 1, 2)]
SUMMARY = min if arguments.best else statistics.median


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def name(layer):
    inputs, outputs, size, kernel, stride = layer
    return f"{inputs}-{outputs} {size}x{size} kernel {kernel} stride {stride}"


def timed(work, seconds):
    """Seconds of each repetition: at least seven (three with --quick), for about this long, after two that do not count."""
    work(), work()
    times, start, least = [], time.perf_counter(), 7
    if arguments.quick:
        seconds, least = seconds / 2, 3
    while len(times) < least or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return SUMMARY(times)


def ours(group, function, parameter):
    """Criterion's figure for one benchmark, in seconds, or None."""
    folder = pathlib.Path(arguments.target) / "criterion" / group / function / parameter / "new"
    try:
        sample = json.loads((folder / "sample.json").read_text())
    except FileNotFoundError:
        return None
    return SUMMARY(time / count for time, count in zip(sample["times"], sample["iters"])) * 1e-9


def derivatives(x, weight, gradient, stride, padding):
    """Output, input gradient, weight gradient, each as a function without arguments."""
    def backward(mask):
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask)
    return {
        "forward": lambda: torch.conv2d(x, weight, stride=stride, padding=padding),
        "input gradient": lambda: backward([True, False, False])[0],
        "weight gradient": lambda: backward([False, True, False])[1],
    }


def check_cases():
    """PyTorch's f64 results against ours, on the numbers that the Rust side wrote."""
    from safetensors.torch import load_file
    path = pathlib.Path(arguments.target) / "tmp" / "ops.safetensors"
    if not path.exists():
        sys.exit(f"{path} is missing: run the Rust side first, or name its target directory with --target")
    cases, worst = load_file(path), 0.0
    for layer in LAYERS:
        case = lambda key: cases[f"{name(layer)}/{key}"].double()  # noqa: E731
        images = lambda key: case(key).permute(0, 3, 1, 2)  # noqa: E731
        wanted = derivatives(images("x"), case("weight"), images("gradient"), layer[4], layer[3] // 2)
        for function, got in [("forward", images("y")), ("input gradient", images("grad_x")),
                              ("weight gradient", case("grad_weight"))]:
            want = wanted[function]()
            error = ((got - want).abs().max() / want.square().mean().sqrt()).item()
            if not error < 5e-5:
                sys.exit(f"{function} of {name(layer)} differs by {error:.1e} of its root mean square: nothing is timed")
            worst = max(worst, error)
    print(f"both sides compute the same: largest difference {worst:.1e} of the root mean square, f32 against f64\n")


def row(label, mine, peer, operations=None, at_peak=None):
    """One line of a table; `at_peak` are the seconds that as many operations take at the peak."""
    cells = [label, "-" if mine is None else f"{mine * 1e3:.3f}", f"{peer * 1e3:.3f}",
             "-" if mine is None else f"{peer / mine:.2f}"]
    if operations:
        cells += ["-" if mine is None else f"{operations / mine * 1e-9:.0f}", f"{operations / peer * 1e-9:.0f}",
                  "-" if mine is None or at_peak is None else f"{at_peak / mine:.0%}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def convolutions():
    side = 1536
    a, b = torch.randn(side, side), torch.randn(side, side)
    gemm = ours("peak", "gemm", f"{side}, cpu")
    print("| convolution | ours, ms | PyTorch, ms | ratio | ours, GFLOP/s | PyTorch, GFLOP/s | ours, share of the peak |\n"
          "|---|---|---|---|---|---|---|")
    row(f"matrix product of {side}x{side}, the peak", gemm, timed(lambda: a @ b, 1), 2 * side**3, gemm)
    for layer in LAYERS[:2] if arguments.quick else LAYERS:
        inputs, outputs, size, kernel, stride = layer
        times = {}
        for memory_format in FORMATS.values():
            x = torch.randn(arguments.batch, inputs, size, size).to(memory_format=memory_format)
            weight = torch.randn(outputs, inputs, kernel, kernel).to(memory_format=memory_format)
            gradient = torch.randn_like(torch.conv2d(x, weight, stride=stride, padding=kernel // 2))
            for function, work in derivatives(x, weight, gradient, stride, kernel // 2).items():
                if not wanted(f"convolution/{function}/{name(layer)}, batch {arguments.batch}, cpu"):
                    continue
                times.setdefault(function, []).append(timed(work, 0.3))
        products = arguments.batch * (size // stride) ** 2 * inputs * outputs * kernel**2
        for function, candidates in times.items():
            row(f"{name(layer)}, {function}", ours("convolution", function, f"{name(layer)}, batch {arguments.batch}, cpu"), min(candidates), 2 * products,
                gemm and gemm * products / side**3)
            figure(f"convolution/{function}/{name(layer)}, batch {arguments.batch}", "PyTorch", [min(candidates)])


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        conv = lambda a, b, k, s: nn.Conv2d(a, b, k, s, k // 2, bias=False)  # noqa: E731
        self.body = nn.Sequential(conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
                                  conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs))
        changes = inputs != outputs or stride != 1
        self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if changes else nn.Identity()

    def forward(self, x):
        return torch.relu_(self.body(x) + self.shortcut(x))


def network(kind):
    """The body up to the features, and the head."""
    if kind == "vgg13":
        parts, channels = [], 3
        for width in (64, 128, 256, 512, 512):
            for _ in range(2):
                parts += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            parts.append(nn.MaxPool2d(2))
    else:
        parts, channels = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)], 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            parts += [Residual(channels, width, stride), Residual(width, width, 1)]
            channels = width
        parts.append(nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*parts, nn.Flatten()), nn.Linear(512, 10)


def step_functions(kind, memory_format):
    body, head = network(kind)
    body = body.to(memory_format=memory_format)
    images = torch.randn(arguments.batch, 3, 32, 32).to(memory_format=memory_format)
    labels = torch.arange(arguments.batch) % 10
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=1e-4, momentum=0.9)

    def train():
        body.train().requires_grad_(True)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(body(images)), labels).backward()
        optimizer.step()

    def input_gradient():
        body.eval().requires_grad_(False)
        x = images.clone().requires_grad_(True)
        torch.autograd.grad(body(x).sum(), x)

    return {"train": train, "input gradient": input_gradient}


def steps():
    print("| step | ours, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
    for kind in ("vgg13", "resnet18-cifar"):
        times = {}
        for memory_format in FORMATS.values():
            for function, work in step_functions(kind, memory_format).items():
                if not wanted(f"step/{function}/{kind} {arguments.batch}x3x32x32, cpu"):
                    continue
                times.setdefault(function, []).append(timed(work, 2))
        for function, candidates in times.items():
            shape = f"{kind} {arguments.batch}x3x32x32"
            row(f"{kind}, {function}", ours("step", function, f"{shape}, cpu"), min(candidates))
            figure(f"step/{function}/{shape}", "PyTorch", [min(candidates)])


if arguments.memory:
    work = step_functions(arguments.memory, torch.channels_last)["train"]
    work(), work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{arguments.memory}, batch {arguments.batch}: peak {peak / 1024:.0f} MiB, Python and PyTorch included")
    sys.exit()
print(f"PyTorch {torch.__version__}, {arguments.threads} threads, batch {arguments.batch}, {processor()}, "
      f"{'fastest' if arguments.best else 'median'} of the repetitions")
check_cases()
if arguments.only != "step":
    convolutions()
    print()
if arguments.only != "convolution":
    steps()
