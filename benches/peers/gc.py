#!/usr/bin/env python3
"""The work of benches/benches/gc.rs with PyTorch: exact, estimated and penalised geometric complexity of VGG-13, and exact
values of a ViT and a ConvNeXt.

Needs torch, torchvision, safetensors; facebookresearch/jacobian_regularizer where it can be imported (its result is half
of the squared norm, and is doubled here).

    GC_PEER_FILES=/tmp/gc cargo bench -p benches --bench gc -- nothing      # weights, images, and our numbers of a small case
    python gc.py /tmp/gc [--threads 2] [--rows 32] [--samples N] [--probes N] [--only check,exact,candle,families,estimate,trained,step] [--quick]

Before anything is timed, the small case is computed again: exact values of two images, and in training mode a penalty along a
given cotangent with its gradient by every weight, with and without batch norm. Nothing is timed unless they are ours.
Each variant runs in both memory formats and the faster one counts. Exact values are timed on --rows of the p outputs, as
forward pass + p/rows times the rest, because every row costs the same; --rows 512 leaves nothing to scale for VGG-13. The estimate
takes the samples and probes that our planner chose for 1 % (plan.json, which the Rust side wrote), so that the errors are equal
(the regularizer's unit vectors have the variance of sphere probes).
"""
import argparse
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch.func import functional_call, jacrev, vmap

import zoo
from figures import figure, wanted

BATCH = 64


def backbone(folder, name):
    """The layers up to the features, with the weights of the other side."""
    net = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["B"], batch_norm=name.endswith("bn"))
    weights = load_file(os.path.join(folder, f"{name}.safetensors"))
    own = {key.removeprefix("features."): value for key, value in weights.items() if key.startswith("features.")}
    missing, unexpected = net.load_state_dict(own, strict=False)
    assert not unexpected and all("num_batches_tracked" in key for key in missing), (missing, unexpected)
    head = torch.nn.Linear(512, 10)
    return torch.nn.Sequential(net, torch.nn.Flatten()), head


def check(folder, regularizer):
    """Our numbers of the small case, computed again; leaves with a message where they differ."""
    case = load_file(os.path.join(folder, "case.safetensors"))
    signs = case["cotangent"]
    images = load_file(os.path.join(folder, "images.safetensors"))["images"][:len(signs)]
    for name in ("vgg13", "vgg13_bn"):
        net, _ = backbone(folder, name)
        two = images[:2].clone().requires_grad_(True)
        rows = torch.zeros(2, dtype=torch.float64)
        features = net.eval()(two)
        for row in range(512):
            (gradient,) = torch.autograd.grad(features[:, row].sum(), two, retain_graph=True)
            rows += gradient.double().pow(2).sum((1, 2, 3))
        differences = {"exact": ((rows - case[f"{name}.exact"]) / rows).abs().max().item()}
        if regularizer:
            whole = 2.0 * regularizer(n=-1)(two, net(two)).item()
            differences["exact by jacobian_regularizer"] = abs(whole / rows.mean().item() - 1)
        inputs = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(net.train()(inputs), inputs, signs, create_graph=True)
        value = gradient.pow(2).sum() / len(inputs)
        value.backward()
        differences["penalty"] = abs(value.item() / case[f"{name}.penalty"].item() - 1)
        weights = dict(net.named_parameters(prefix="features"))
        weights = {key.replace("features.0.", "features.", 1): weight for key, weight in weights.items()}
        found = {key: torch.tensor([weight.grad.norm().item(), (weight.grad * weight).sum().item()], dtype=torch.float64)
                 for key, weight in weights.items() if weight.grad is not None}
        ours = {key.removeprefix(f"{name}.gradient."): pair for key, pair in case.items() if key.startswith(f"{name}.gradient.")}
        norm = sum(pair[0].item() ** 2 for pair in found.values()) ** 0.5
        # A weight that one side leaves out has no influence, so a gradient of zero.
        for key in found.keys() | ours.keys():
            left, right = (side.get(key, torch.zeros(2, dtype=torch.float64)) for side in (found, ours))
            scale = torch.tensor([norm, norm * weights[key].norm().item()])
            differences[f"gradient by {key}"] = ((left - right) / scale).abs().max().item()
        worst = max(differences, key=differences.get)
        # In f32 a ReLU here and there decides the other way.
        if not differences[worst] < 1e-3:
            sys.exit(f"{name}: {worst} differs by {differences[worst]:.2e}: nothing is timed")
        print(f"{name}: both sides compute the same {len(differences)} numbers to {differences[worst]:.1e} ({worst})", flush=True)


def timed(work, repeats, hopeless=float("inf")):
    """The shortest of several runs after a first one, or the first run alone, where that takes longer than `hopeless`."""
    start = time.perf_counter()
    result = work()
    first = time.perf_counter() - start
    if first > hopeless:
        return first, result
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def best(name, make, repeats=3, so_far=float("inf")):
    """The faster of the two memory formats. What takes twice as long as the fastest, or as `so_far` of another variant, is run once."""
    outcomes = []
    for layout in (torch.contiguous_format, torch.channels_last):
        work = make(layout)
        try:
            fastest = min([so_far, *(outcome[0] for outcome in outcomes)])
            outcomes.append((*timed(work, repeats, 2 * fastest), layout))
        except RuntimeError as error:
            print(f"{name:<58} {layout}: {str(error).splitlines()[0]}", flush=True)
    seconds, value, layout = min(outcomes, key=lambda outcome: outcome[0])
    print(f"{name:<58} {seconds:9.3f} s   {str(layout).removeprefix('torch.'):<18} {value}", flush=True)
    return seconds


def frozen(net, layout):
    net = net.to(memory_format=layout).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


def by_rows(net, x, rows):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_(True)
    features, total = net(x), 0.0
    for row in range(rows):
        (gradient,) = torch.autograd.grad(features[:, row].sum(), x, retain_graph=True)
        total += gradient.double().pow(2).sum().item()
    return total / len(x)


def by_batched_rows(net, x, rows, chunk):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_(True)
    features, total = net(x), 0.0
    for first in range(0, rows, chunk):
        cotangents = torch.zeros(chunk, *features.shape)
        for lane in range(chunk):
            cotangents[lane, :, first + lane] = 1.0
        (gradient,) = torch.autograd.grad(features, x, cotangents, retain_graph=True, is_grads_batched=True)
        total += gradient.double().pow(2).sum().item()
    return total / len(x)


def by_jacrev(net, x, rows, chunk):
    weights = dict(net.named_parameters()) | dict(net.named_buffers())
    one = lambda image: functional_call(net, weights, (image[None],))[0, :rows]
    jacobian = vmap(jacrev(one, chunk_size=chunk), chunk_size=None)(x)
    return jacobian.double().pow(2).sum().item() / len(x)


def by_regularizer(JacobianReg, net, x, probes, rows=None):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_(True)
    features = net(x) if rows is None else net(x)[:, :rows]
    return 2.0 * JacobianReg(n=probes)(x, features).item()


def family(folder, name):
    """A network of zoo.py, with the weights of the other side, up to its features."""
    net = FAMILIES[name][0]()
    net.load_state_dict(load_file(os.path.join(folder, f"{name}.safetensors")), strict=True)
    net.forward = net.features
    return net


def check_family(folder, name, images):
    """Exact values of two images, computed again."""
    case = load_file(os.path.join(folder, "case.safetensors"))[f"{name}.exact"]
    net = frozen(family(folder, name), torch.contiguous_format)
    found = torch.tensor([by_rows(net, image[None], FAMILIES[name][1]) for image in images[:2]], dtype=torch.float64)
    difference = (found / case - 1).abs().max().item()
    if not difference < 1e-3:
        sys.exit(f"{name}: the exact values differ by {difference:.2e}: nothing is timed")
    print(f"{name}: both sides compute the same exact values to {difference:.1e}", flush=True)


def exact(net, images, rows, regularizer, quick):
    wholes = []

    def scaled(name, work):
        """Forward pass + (all rows)/rows times the rest."""
        repeats = 1 if quick or rows > 64 else 2
        whole = best(f"{name}, {rows} rows", lambda layout: prepare(layout, work), repeats, min(wholes, default=float("inf")))
        wholes.append(whole)
        seconds = forward + (whole - forward) * 512 / rows
        print(f"{'':<58} {seconds:9.3f} s   for all 512 rows", flush=True)
        return seconds

    def prepare(layout, work):
        model, x = frozen(net, layout), images[:BATCH].to(memory_format=layout)
        return lambda: work(model, x)

    forward = best("forward", lambda layout: prepare(layout, lambda model, x: float(model(x).sum())))
    seconds = [scaled("autograd, row by row", lambda model, x: by_rows(model, x, rows))]
    for chunk in (4,) if quick else (4, 16):
        seconds.append(scaled(f"autograd, {chunk} rows batched", lambda model, x: by_batched_rows(model, x, rows, chunk)))
        seconds.append(scaled(f"torch.func, jacrev chunk {chunk}", lambda model, x: by_jacrev(model, x, rows, chunk)))
    if regularizer:
        seconds.append(scaled("jacobian_regularizer, exact", lambda model, x: by_regularizer(regularizer, model, x, -1, rows)))
    print(f"best exact on {BATCH} images: {min(seconds):.2f} s", flush=True)
    figure(EXACT, "PyTorch", [min(seconds)], elements=BATCH, device=None)


def exact_family(name, net, images):
    """All rows of a network of FAMILIES: the fastest variant by the time of an image. One cotangent a pass pays on many images, several at
    once on few. These networks take long, so that a few rows are timed, once."""
    all_rows, seconds = FAMILIES[name][1], {}
    variants = [("autograd, row by row", BATCH, 4, by_rows),
                ("autograd, 32 rows batched", 8, 32, lambda model, x, rows: by_batched_rows(model, x, rows, 32)),
                ("torch.func, jacrev chunk 16", 8, 32, lambda model, x, rows: by_jacrev(model, x, rows, 16)),
                ("torch.func, jacrev chunk 32", 8, 32, lambda model, x, rows: by_jacrev(model, x, rows, 32))]
    for variant, count, rows, work in variants:
        def prepare(layout, work):
            model, x = frozen(net, layout), images[:count].to(memory_format=layout)
            return lambda: work(model, x)

        forward = best(f"forward, {count} images", lambda layout: prepare(layout, lambda model, x: float(model(x).sum())), 2)
        whole = best(f"{variant}, {count} images, {rows} rows", lambda layout: prepare(layout, lambda model, x: work(model, x, rows)), 1)
        seconds[variant] = (forward + (whole - forward) * all_rows / rows) / count
        print(f"{'':<58} {seconds[variant]:9.3f} s   an image, all {all_rows} rows", flush=True)
    figure(FAMILY_WORK[name], "PyTorch", [min(seconds.values())], elements=1, device=None)
    of_func = [cost for variant, cost in seconds.items() if variant.startswith("torch.func")]
    figure(FAMILY_WORK[name], "torch.func", [min(of_func)], elements=1, device=None)


def candle_cnn(folder, images):
    """The small CNN of gc.rs: checked on the images of the case, then vmap(jacrev) of all 10 logits is timed."""
    layers = [torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
              torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
              torch.nn.Flatten(), torch.nn.Linear(64 * 8 * 8, 10)]
    net = torch.nn.Sequential(*layers)
    net.load_state_dict(load_file(os.path.join(folder, "candle_cnn.safetensors")))
    case = load_file(os.path.join(folder, "case.safetensors"))
    few = images[:len(case["cotangent"])]
    difference = abs(by_jacrev(frozen(net, torch.contiguous_format), few, 10, None) / case["candle_cnn.exact"].item() - 1)
    if not difference < 1e-3:
        sys.exit(f"candle CNN: the exact value differs by {difference:.2e}: nothing is timed")

    def prepare(layout):
        model, x = frozen(net, layout), images[:BATCH].to(memory_format=layout)
        return lambda: by_jacrev(model, x, 10, None)

    seconds = best("candle CNN, vmap(jacrev)", prepare, repeats=10)
    figure(CANDLE, "PyTorch", [seconds], elements=BATCH, device=None)


# By our names: how to build each network, and its number of features.
FAMILIES = {"vit-tiny-cifar": (zoo.vit_tiny_cifar, 192), "convnext-atto-cifar": (zoo.convnext_atto_cifar, 320)}
FAMILY_WORK = {name: f"gc/exact, {name}, p={p}/each image of 3x32x32, cpu" for name, (_, p) in FAMILIES.items()}
EXACT = "gc/exact, vgg13, p=512/each image of 3x32x32, cpu"
CANDLE = "gc/exact, candle CNN, p=10/each image of 3x32x32"
ESTIMATES = ("gc/estimate, vgg13, 2048 images/1 % by rows", "gc/estimate, vgg13, 2048 images/1 % by rows, regression")
GLYPHS = tuple(f"gc/estimate, trained vgg-small, 2048 glyphs/1 % by rows{end}" for end in ("", ", regression"))


def small_vgg(folder):
    """The presets' small VGG for images of one channel, with the trained weights of the other side, up to its features."""
    layers, width = [], 1
    for stage in ([8], [16], [32, 32], [32, 32]):
        for out in stage:
            layers += [torch.nn.Conv2d(width, out, 3, padding=1), torch.nn.BatchNorm2d(out), torch.nn.ReLU()]
            width = out
        layers.append(torch.nn.MaxPool2d(2))
    net = torch.nn.Sequential(*layers)
    weights = load_file(os.path.join(folder, "vgg-small.safetensors"))
    net.load_state_dict({key.removeprefix("features."): value for key, value in weights.items() if key.startswith("features.")})
    return torch.nn.Sequential(net, torch.nn.Flatten())


def after_training(folder, regularizer, quick):
    """The estimate to 1 % of a trained network, whose exact values of two images are computed again first."""
    case, net = load_file(os.path.join(folder, "glyphs.safetensors")), small_vgg(folder)
    images, frozen_net = case["images"], frozen(net, torch.contiguous_format)
    features = frozen_net(images[:1]).shape[1]
    found = torch.tensor([by_rows(frozen_net, image[None], features) for image in images[:2]], dtype=torch.float64)
    difference = (found / case["exact"] - 1).abs().max().item()
    if not difference < 1e-3:
        sys.exit(f"trained vgg-small: the exact values differ by {difference:.2e}: nothing is timed")
    estimate(net, images, our_plan(folder, "glyphs-plan.json"), regularizer, quick, GLYPHS)


def estimate(net, images, plan, regularizer, quick, works=ESTIMATES):
    """The estimate to 1 % with 1, 2, 4 and 8 directions for each image, on as many images as each needs. On quick runs there may be none."""
    def prepare(layout, estimator, samples):
        model = frozen(net, layout)
        x = images[:samples].to(memory_format=layout)

        def work():
            values = [estimator(model, batch) * len(batch) for batch in x.split(BATCH)]
            return sum(values) / samples

        return work

    def plain(probes):
        def one(model, batch):
            batch = batch.clone(memory_format=torch.preserve_format).requires_grad_(True)
            features, total = model(batch), 0.0
            for _ in range(probes):
                signs = torch.randint(0, 2, features.shape).float() * 2 - 1
                (gradient,) = torch.autograd.grad(features, batch, signs, retain_graph=True)
                total += gradient.double().pow(2).sum().item()
            return total / probes / len(batch)
        return one

    sides = {"PyTorch": plain}
    if regularizer:
        sides["jacobian_regularizer"] = lambda probes: lambda model, batch: by_regularizer(regularizer, model, batch, probes)
    for side, estimator in sides.items():
        seconds = {}
        for probes, samples in plan.items():
            name = f"estimate, {side}, {samples} images × {probes} directions"
            one = estimator(int(probes))
            seconds[probes] = best(name, lambda layout: prepare(layout, one, samples), 1 if quick else 3)
        for work in filter(wanted, (f"{name}, cpu" for name in works)):
            if side == "jacobian_regularizer":
                # n = 1 is the package's default.
                if "1" in seconds:
                    figure(work, side, [seconds["1"]], device=None)
                figure(work, f"{side}, its best n", [min(seconds.values())], device=None)
            else:
                figure(work, side, [min(seconds.values())], device=None)


def our_plan(folder, name="plan.json"):
    with open(os.path.join(folder, name)) as file:
        return json.load(file)


def step(name, net, head, images, regularizer, quick):
    labels, repeats = torch.arange(BATCH) % 10, 1 if quick else 3

    def prepare(layout, penalty):
        model, x = net.to(memory_format=layout).train(), images[:BATCH].to(memory_format=layout)
        parameters = [*model.parameters(), *head.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        sgd = torch.optim.SGD(parameters, lr=1e-6)

        def work():
            inputs = x.clone(memory_format=torch.preserve_format).requires_grad_(penalty is not None)
            features = model(inputs)
            loss = F.cross_entropy(head(features), labels)
            if penalty is not None:
                loss = loss + 1e-4 * penalty(inputs, features)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return round(loss.item(), 6)

        return work

    def double_backward(inputs, features):
        signs = torch.randint(0, 2, features.shape).float() * 2 - 1
        (gradient,) = torch.autograd.grad(features, inputs, signs, create_graph=True)
        return gradient.pow(2).sum() / len(inputs)

    plain = best(f"{name}: plain step", lambda layout: prepare(layout, None), repeats)
    penalised = best(f"{name}: penalised step, double backward", lambda layout: prepare(layout, double_backward), repeats)
    print(f"{name}: penalised/plain {penalised / plain:.2f}", flush=True)
    figure(f"gc/training step, batch {BATCH}/{name}/plain", "PyTorch", [plain])
    figure(f"gc/training step, batch {BATCH}/{name}/penalised", "PyTorch", [penalised])
    if regularizer:
        regularized = lambda inputs, features: 2.0 * regularizer(n=1)(inputs, features)
        other = best(f"{name}: penalised step, jacobian_regularizer", lambda layout: prepare(layout, regularized), repeats)
        print(f"{name}: penalised/plain {other / plain:.2f}", flush=True)
        figure(f"gc/training step, batch {BATCH}/{name}/penalised", "jacobian_regularizer", [other])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--only", default="check,exact,candle,families,estimate,trained,step")
    parser.add_argument("--quick", action="store_true", help="8 rows, one repetition, VGG-13 without batch norm only")
    options = parser.parse_args()
    if options.quick:
        options.rows = min(options.rows, 8)
    torch.set_num_threads(options.threads)
    try:
        from jacobian import JacobianReg as regularizer
    except ImportError:
        print("jacobian_regularizer cannot be imported and is left out", file=sys.stderr)
        regularizer = None
    images = load_file(os.path.join(options.folder, "images.safetensors"))["images"]
    # Work of which nothing is asked for is not measured.
    works = {"exact": [EXACT], "candle": [CANDLE], "families": [*FAMILY_WORK.values()], "estimate": [f"{name}, cpu" for name in ESTIMATES],
             "trained": [f"{name}, cpu" for name in GLYPHS],
             "step": [f"gc/training step, batch {BATCH}/{name}/{kind}, cpu" for name in ("vgg13", "vgg13_bn") for kind in ("plain", "penalised")]}
    for part in options.only.split(","):
        if part in works and not any(map(wanted, works[part])):
            continue
        net, head = backbone(options.folder, "vgg13")
        if part == "check":
            check(options.folder, regularizer)
        elif part == "exact":
            exact(net, images, options.rows, regularizer, options.quick)
        elif part == "candle":
            candle_cnn(options.folder, images)
        elif part == "families" and not options.quick:
            for name in FAMILIES:
                if wanted(FAMILY_WORK[name]):
                    check_family(options.folder, name, images)
                    exact_family(name, family(options.folder, name), images)
        elif part == "estimate":
            estimate(net, images, our_plan(options.folder), regularizer, options.quick)
        elif part == "trained":
            after_training(options.folder, regularizer, options.quick)
        elif part == "step":
            step("vgg13", net, head, images, regularizer, options.quick)
            if not options.quick:
                step("vgg13_bn", *backbone(options.folder, "vgg13_bn"), images, regularizer, options.quick)


if __name__ == "__main__":
    main()
