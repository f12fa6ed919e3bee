#!/usr/bin/env python3
"""Networks as PyTorch modules name their parameters, and their exact geometric complexity by double-precision autograd.

    python nets.py [FOLDER]      (torch, numpy, safetensors; made with PyTorch 2.15.0)

Writes nets.safetensors (`<case>.param.<name>`, `<case>.x`, `<case>.y`, `<case>.gc`: ‖∂f/∂x‖² of each sample) and nets.json
(the architecture file, and mean complexity of single layers and in pixel units). Evaluation mode, running statistics that
are not those of a fresh network, images that are not square. Weights and inputs are f32 numbers; the values are f64.
"""
import json, math, os, sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
STD = [0.2, 0.3, 0.25]


class Mlp(nn.Module):
    def __init__(self, inputs, hidden, activation, classes):
        super().__init__()
        layers = []
        for index, width in enumerate(hidden):
            layers += [activation()] if index else []
            layers.append(nn.Linear(inputs, width))
            inputs = width
        self.embed, self.head = nn.Sequential(*layers), nn.Linear(inputs, classes)

    def features_of(self, x):
        return self.embed(x.flatten(1))


class Vgg(nn.Module):
    """torchvision's, without the adaptive pooling; `classifier` is one layer, or several with `hidden` between."""

    def __init__(self, channels, size, stages, batch_norm, classes, hidden=()):
        super().__init__()
        layers = []
        for stage in stages:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        inputs = channels * math.prod(side // 2 ** len(stages) for side in size)
        self.features, dense = nn.Sequential(*layers), []
        for width in hidden:
            dense += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout()]
            inputs = width
        head = nn.Linear(inputs, classes)
        self.classifier = nn.Sequential(*dense, head) if hidden else head

    def features_of(self, x):
        flat = self.features(x).flatten(1)
        return self.classifier[:-1](flat) if isinstance(self.classifier, nn.Sequential) else flat


class Block(nn.Module):
    """torchvision's BasicBlock (expansion 1) and Bottleneck (expansion 4)."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
        shapes = shapes if bottleneck else [(inputs, width, 3, stride), (width, width, 3, 1)]
        for index, (a, b, kernel, step) in enumerate(shapes, 1):
            setattr(self, f"conv{index}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{index}", nn.BatchNorm2d(b))
        self.depth, self.outputs = len(shapes), shapes[-1][1]
        same = stride == 1 and inputs == self.outputs
        short = nn.Conv2d(inputs, self.outputs, 1, stride, bias=False)
        self.downsample = None if same else nn.Sequential(short, nn.BatchNorm2d(self.outputs))

    def forward(self, x):
        y = x
        for index in range(1, self.depth + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = F.relu(y) if index < self.depth else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, channels, bottleneck, imagenet, stem, stages, classes):
        super().__init__()
        kernel, stride = (7, 2) if imagenet else (3, 1)
        self.conv1, self.bn1 = nn.Conv2d(channels, stem, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(stem)
        self.maxpool, self.stages = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity(), len(stages)
        for index, (width, count, stride) in enumerate(stages, 1):
            blocks = []
            for block in range(count):
                blocks.append(Block(stem, width, stride if block == 0 else 1, bottleneck))
                stem = blocks[-1].outputs
            setattr(self, f"layer{index}", nn.Sequential(*blocks))
        self.fc = nn.Linear(stem, classes)

    def features_of(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for index in range(1, self.stages + 1):
            x = getattr(self, f"layer{index}")(x)
        return x.mean((2, 3))


class WideBlock(nn.Module):
    """Of https://github.com/xternalz/WideResNet-pytorch."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.convShortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        before = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(before))))
        return y + (x if self.convShortcut is None else self.convShortcut(before))


class WideResNet(nn.Module):
    def __init__(self, channels, blocks, widen, base, classes):
        super().__init__()
        self.conv1, inputs = nn.Conv2d(channels, base, 3, 1, 1, bias=False), base
        for group in (1, 2, 3):
            outputs, layer = base * widen * 2 ** (group - 1), nn.Module()
            steps = [WideBlock(inputs if k == 0 else outputs, outputs, 2 if k == 0 and group > 1 else 1) for k in range(blocks)]
            layer.layer, inputs = nn.Sequential(*steps), outputs
            setattr(self, f"block{group}", layer)
        self.bn1, self.fc = nn.BatchNorm2d(inputs), nn.Linear(inputs, classes)

    def features_of(self, x):
        x = self.block3.layer(self.block2.layer(self.block1.layer(self.conv1(x))))
        return F.relu(self.bn1(x)).mean((2, 3))


def f32(values):
    return torch.from_numpy(np.asarray(values, np.float32)).double()


def draw(net, stream):
    """Weights, and statistics as after some training."""
    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif value.dim() >= 2:
            state[name] = f32(stream.randn(*value.shape) * math.sqrt(2 / value[0].numel()))
        elif name.endswith("running_var"):
            state[name] = f32(0.5 + stream.rand(*value.shape))
        elif name.endswith("weight"):
            state[name] = f32(0.7 + 0.6 * stream.rand(*value.shape))
        else:
            state[name] = f32(0.3 * stream.randn(*value.shape))
    net.load_state_dict(state)


def squares(function, x):
    """Σ over outputs of (∂f/∂x)², shaped like x."""
    x = x.clone().requires_grad_(True)
    y, total = function(x).flatten(1), torch.zeros_like(x)
    for output in range(y.shape[1]):
        total += torch.autograd.grad(y[:, output].sum(), x, retain_graph=True)[0] ** 2
    return total


def layer_of(net, name):
    def function(x):
        kept = []
        hook = dict(net.named_modules())[name].register_forward_hook(lambda module, inputs, output: kept.append(output))
        net.features_of(x)
        hook.remove()
        return kept[0]

    return function


def of_samples(values):
    return values.flatten(1).sum(1)


tensors, described = {}, {}


def case(name, net, description, shape, classes, seed, layer):
    stream = np.random.RandomState(seed)
    net = net.double().eval()
    draw(net, stream)
    x, y = f32(stream.randn(*shape)), torch.from_numpy(stream.randint(0, classes, shape[0]))
    found = squares(net.features_of, x)
    entry = {"architecture": description, "layer": [layer, of_samples(squares(layer_of(net, layer), x)).mean().item()]}
    if x.dim() == 4:
        scale = torch.tensor(STD[: x.shape[1]], dtype=torch.float64).reshape(1, -1, 1, 1)
        entry["std"], entry["pixel"] = STD[: x.shape[1]], of_samples(found / scale**2).mean().item()
    described[name] = entry
    for key, value in net.state_dict().items():
        tensors[f"{name}.param.{key}"] = value.float() if value.is_floating_point() else value
    tensors[f"{name}.x"], tensors[f"{name}.y"], tensors[f"{name}.gc"] = x.float(), y, of_samples(found)
    print(name, of_samples(found).mean().item())


mlp = ("family = 'mlp'\ninputs = {}\nhidden = {}\nactivation = '{}'\nactivation_before_head = false\n"
       "classes = {}\n")
for seed, (inputs, hidden, key, activation, count) in enumerate(
    [(17, [31, 7], "silu", nn.SiLU, 8), (5, [16, 16, 16, 3], "softplus", nn.Softplus, 6), (30, [9], "gelu", nn.GELU, 5)]
):
    net = Mlp(inputs, hidden, activation, 3)
    case(f"mlp_{key}", net, mlp.format(inputs, hidden, key, 3), (count, inputs), 3, seed, "embed.0")

vgg = "family = 'vgg'\nstages = {}\nbatch_norm = {}\nin_channels = {}\ninput_size = {}\nclasses = {}\n"
net = Vgg(1, (9, 14), [[5], [7, 3]], True, 3)
case("vgg_bn", net, vgg.format([[5], [7, 3]], "true", 1, [9, 14], 3), (6, 1, 9, 14), 3, 10, "features.1")
net = Vgg(3, (10, 8), [[6]], False, 2, [11, 7])
case("vgg_hidden", net, vgg.format([[6]], "false", 3, [10, 8], 2) + "hidden = [11, 7]\n", (4, 3, 10, 8), 2, 11, "features.2")

stages = "stages = [{ channels = 3, blocks = 2, stride = 1 }, { channels = 5, blocks = 1, stride = 2 }]\n"
resnet = "family = 'resnet'\nblock = '{}'\nstem = '{}'\nstem_channels = {}\nin_channels = {}\ninput_size = {}\nclasses = 4\n"
for seed, (block, stem, width, channels, size) in enumerate(
    [("bottleneck", "cifar", 4, 2, [7, 11]), ("basic", "imagenet", 5, 3, [27, 18]), ("bottleneck", "imagenet", 6, 1, [19, 24])]
):
    net = ResNet(channels, block == "bottleneck", stem == "imagenet", width, [(3, 2, 1), (5, 1, 2)], 4)
    text = resnet.format(block, stem, width, channels, size) + stages
    case(f"resnet_{block}_{stem}", net, text, (4, channels, *size), 4, 20 + seed, "layer1")

wide = "family = 'wide_resnet'\ndepth = 10\nwiden_factor = 2\nbase_channels = 2\nin_channels = 3\ninput_size = [8, 11]\nclasses = 5\n"
case("wide_resnet", WideResNet(3, 1, 2, 2, 5), wide, (4, 3, 8, 11), 5, 30, "conv1")

save_file({key: value.contiguous().clone() for key, value in tensors.items()}, f"{OUT}/nets.safetensors")
os.chmod(f"{OUT}/nets.safetensors", 0o644)
with open(f"{OUT}/nets.json", "w") as out:
    json.dump(described, out, indent=1)
    out.write("\n")
