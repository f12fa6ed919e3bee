"""State dicts between PyTorch and this workspace.

  zoo.py fixture OUT.safetensors     features of PyTorch's nets for weights from a formula (the fixture of crates/models/tests)
  zoo.py write NAME OUT.safetensors  a PyTorch net after one training pass: its state dict, inputs and features
  zoo.py read NAME IN.safetensors    loads a state dict that we wrote into PyTorch's net (strictly) and compares the features
                                     with those that we stored beside it
  zoo.py check BINARY [NAME...]      both ways for every net below (4 GB of memory, 2 minutes), where BINARY is
                                     target/release/examples/state_dict (`cargo build --release -p geometric-models --examples`)

Wide ResNet and Conv-4 have no form in torchvision: they are written out below, as in the papers' PyTorch code.
"""
import pathlib
import subprocess
import sys
import tempfile
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file


class WideBlock(nn.Module):
    """Zagoruyko and Komodakis, arXiv 1605.07146."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x):
        normed = F.relu(self.bn1(x))
        branch = self.conv2(F.relu(self.bn2(self.conv1(normed))))
        return branch + (x if self.convShortcut is None else self.convShortcut(normed))


class WideGroup(nn.Module):
    def __init__(self, blocks, inputs, outputs, stride):
        super().__init__()
        self.layer = nn.Sequential(
            *[WideBlock(inputs if i == 0 else outputs, outputs, stride if i == 0 else 1) for i in range(blocks)]
        )

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, depth, widen, base=16, classes=10):
        super().__init__()
        blocks, widths = (depth - 4) // 6, [base] + [base * m * widen for m in (1, 2, 4)]
        self.conv1 = nn.Conv2d(3, base, 3, 1, 1, bias=False)
        self.block1, self.block2, self.block3 = (WideGroup(blocks, widths[i], widths[i + 1], 1 + (i > 0)) for i in range(3))
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], classes)

    def features(self, x):
        return F.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x)))))).mean((2, 3))


class Conv4(nn.Module):
    """Snell et al., arXiv 1703.05175, with a linear head."""

    def __init__(self, channels, pixels, classes=10):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
        self.encoder = nn.Sequential(*[block(i, o) for i, o in zip([3] + channels, channels)])
        self.classifier = nn.Linear(channels[-1] * pixels, classes)

    def features(self, x):
        return self.encoder(x).flatten(1)


class VitBlock(nn.Module):
    """timm's block, with PyTorch's fused attention as timm uses it."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        n, t, width = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.attn["proj"](F.scaled_dot_product_attention(*qkv.unbind(0)).transpose(1, 2).reshape(n, t, width))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Vit(nn.Module):
    """Dosovitskiy et al., arXiv 2010.11929, with timm's names; the features are the class token after the last norm."""

    def __init__(self, width, heads, depth, patch, tokens, classes=10):
        super().__init__()
        self.cls_token, self.pos_embed = (nn.Parameter(torch.zeros(1, t, width)) for t in (1, tokens + 1))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(VitBlock(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def features(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class ChannelNorm(nn.LayerNorm):
    """timm's LayerNorm2d: over the channels of [n, c, h, w]."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv_dw, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), ChannelNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Conv2d(width, 4 * width, 1), "fc2": nn.Conv2d(4 * width, width, 1)})
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x):
        branch = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm(self.conv_dw(x)))))
        return x + branch * self.gamma.reshape(1, -1, 1, 1)


class ConvNext(nn.Module):
    """Liu et al., arXiv 2201.03545, with timm's names and 1x1 convolutions in the blocks, as timm's atto has them."""

    def __init__(self, widths, counts, patch, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], patch, patch), ChannelNorm(widths[0], eps=1e-6))
        stage = lambda before, width, count, first: nn.ModuleDict({
            "downsample": nn.Identity() if first else nn.Sequential(ChannelNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)),
            "blocks": nn.Sequential(*(ConvNextBlock(width) for _ in range(count))),
        })
        sizes = zip([widths[0], *widths], widths, counts)
        self.stages = nn.ModuleList(stage(*size, index == 0) for index, size in enumerate(sizes))
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(widths[-1], eps=1e-6), "fc": nn.Linear(widths[-1], classes)})

    def features(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage["blocks"](stage["downsample"](x))
        return self.head["norm"](x.mean((2, 3)))


def vit_tiny_cifar():
    return Vit(192, 3, 12, 4, 64)


def convnext_atto_cifar():
    return ConvNext((40, 80, 160, 320), (2, 2, 6, 2), 1)


class Vgg(nn.Module):
    """torchvision's layout with the stages given; the classifier is one linear layer, or torchvision's three."""

    def __init__(self, stages, batch_norm, pixels, hidden=None, classes=10):
        super().__init__()
        layers, inputs = [], 3
        for stage in stages:
            for width in stage:
                layers += [nn.Conv2d(inputs, width, 3, padding=1)] + [nn.BatchNorm2d(width)] * batch_norm + [nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.stack = nn.Sequential(*layers)
        if hidden is None:
            self.classifier = nn.Linear(inputs * pixels, classes)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(inputs * pixels, hidden[0]), nn.ReLU(), nn.Dropout(),
                nn.Linear(hidden[0], hidden[1]), nn.ReLU(), nn.Dropout(), nn.Linear(hidden[1], classes),
            )

    def features(self, x):
        flat = self.stack(x).flatten(1)
        return self.classifier[:-1](flat) if isinstance(self.classifier, nn.Sequential) else flat

    def state_dict(self, *a, **k):
        return OrderedDict((n.replace("stack.", "features."), v) for n, v in super().state_dict(*a, **k).items())

    def load_state_dict(self, state, strict=True):
        return super().load_state_dict({n.replace("features.", "stack."): v for n, v in state.items()}, strict)


class Mlp(nn.Module):
    def __init__(self, sizes, activation, classes, activation_before_head=False):
        super().__init__()
        layers = []
        for i, o in zip(sizes, sizes[1:]):
            layers += [nn.Linear(i, o), activation()]
        layers = layers if activation_before_head else layers[:-1]
        self.embed, self.head = nn.Sequential(*layers), nn.Linear(sizes[-1], classes)

    def features(self, x):
        return self.embed(x)


def cut(net):
    """torchvision's ResNet up to the input of its last layer."""
    def features(x):
        head, net.fc = net.fc, nn.Identity()
        y = net(x)
        net.fc = head
        return y
    net.features = features
    return net


def cifar(net, width=64):
    net.conv1, net.maxpool = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.Identity()
    return net


def small_bottleneck(stem):
    """torchvision's own blocks with few channels: stages of 4 (one block) and 6 (two blocks, stride 2)."""
    net = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=5)
    net.inplanes = 4
    net.conv1, net.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
    net.layer1, net.layer2 = net._make_layer(torchvision.models.resnet.Bottleneck, 4, 1), net._make_layer(
        torchvision.models.resnet.Bottleneck, 6, 2, stride=2)
    net.layer3, net.layer4, net.fc = nn.Identity(), nn.Identity(), nn.Linear(24, 5)
    return cut(net if stem == "imagenet" else cifar(net, 4))


NETS = {
    "resnet18": (lambda: cut(torchvision.models.resnet18(weights=None)), (2, 3, 64, 48)),
    "resnet18-cifar": (lambda: cut(cifar(torchvision.models.resnet18(weights=None, num_classes=10))), (2, 3, 16, 12)),
    "bottleneck-cifar": (lambda: small_bottleneck("cifar"), (3, 3, 10, 14)),
    "bottleneck-imagenet": (lambda: small_bottleneck("imagenet"), (3, 3, 33, 26)),
    "vgg-batch-norm": (lambda: Vgg([[4, 6], [8], [5, 7]], True, 1 * 2), (3, 3, 11, 17)),
    "vgg-hidden": (lambda: Vgg([[4], [6, 6]], False, 2 * 3, hidden=(9, 7)), (3, 3, 8, 12)),
    "wide-resnet10-2": (lambda: WideResNet(10, 2, base=4), (2, 3, 12, 8)),
    "wide-resnet28-4": (lambda: WideResNet(28, 4), (2, 3, 16, 8)),
    "conv4": (lambda: Conv4([5, 6, 7, 8], 1 * 2), (3, 3, 16, 32)),
    "mlp-gelu": (lambda: Mlp([10, 7, 6, 4], nn.GELU, 3), (4, 10)),
    "mlp-silu": (lambda: Mlp([10, 7, 4], nn.SiLU, 3), (4, 10)),
}


class Whole(nn.Module):
    """A torchvision net as it is, with its features up to the last layer beside it."""

    def __init__(self, net, last):
        super().__init__()
        self.net, self.last = net, last

    def features(self, x):
        seen = []
        hook = self.net.get_submodule(self.last).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        self.net(x)
        hook.remove()
        return seen[0]

    def state_dict(self):
        return self.net.state_dict()

    def load_state_dict(self, state, strict=True):
        return self.net.load_state_dict(state, strict)


def torchvision_net(name, last, **options):
    return lambda: Whole(torchvision.models.get_model(name, weights=None, **options), last)


def cifar_resnet(name):
    return lambda: Whole(cifar(torchvision.models.get_model(name, weights=None, num_classes=10)), "fc")


def cifar_vgg(counts, batch_norm):
    return lambda: Vgg([[w] * n for w, n in zip((64, 128, 256, 512, 512), counts)], batch_norm, 1)


VGGS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}

# The nets of the zoo by our names.
ZOO = {
    **{f"{n}{b}-imagenet": (torchvision_net(n + b, "classifier.6"), (1, 3, 224, 224)) for n in VGGS for b in ("", "_bn")},
    **{f"{n}{b}": (cifar_vgg(counts, bool(b)), (2, 3, 32, 32)) for n, counts in VGGS.items() for b in ("", "_bn")},
    **{n: (torchvision_net(n, "fc"), (2, 3, 64, 48)) for n in ("resnet18", "resnet34", "resnet50")},
    **{f"{n}-cifar": (cifar_resnet(n), (2, 3, 16, 12)) for n in ("resnet18", "resnet34", "resnet50")},
    "wide-resnet16-4": (lambda: WideResNet(16, 4), (2, 3, 16, 8)),
    "wide-resnet28-4": (lambda: WideResNet(28, 4), (2, 3, 16, 8)),
    "conv4": (lambda: Conv4([64] * 4, 2 * 3), (3, 3, 32, 48)),
    "vit-tiny-cifar": (vit_tiny_cifar, (2, 3, 32, 32)),
    "convnext-atto-cifar": (convnext_atto_cifar, (2, 3, 32, 48)),
    "mlp": (lambda: Mlp([3072, 512, 512], nn.ReLU, 10, activation_before_head=True), (4, 3072)),
}

# Descriptions of nets of the fixture that have no name.
DESCRIPTIONS = {
    "bottleneck-imagenet": "family = 'resnet'\nblock = 'bottleneck'\nstem = 'imagenet'\nclasses = 5\n"
    "stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 2, stride = 2 }]",
    "vgg-batch-norm": "family = 'vgg'\nstages = [[4, 6], [8], [5, 7]]\nbatch_norm = true",
    "vgg-hidden": "family = 'vgg'\nstages = [[4], [6, 6]]\nhidden = [9, 7]",
    "mlp-gelu": "family = 'mlp'\ninputs = 10\nhidden = [7, 6, 4]\nactivation = 'gelu'\n"
    "activation_before_head = false\nclasses = 3",
}


def uniform(name, count):
    """Numbers in [0, 1) from a name and their positions: mixed 32-bit integers over 2^32, exact in every language."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % 2**32
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
        for shift, factor in ((16, 0x45D9F3B), (16, 0x45D9F3B)):
            h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
        h ^= h >> np.uint32(16)
    return torch.from_numpy(h.astype(np.float64) / 2**32)


def formula(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    u = uniform(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("running_var"):
        return 0.5 + u
    if len(shape) >= 2:
        return (2 * u - 1) * (6.0 / np.prod(shape[1:])) ** 0.5
    if name.endswith("weight"):
        return 0.7 + 0.6 * u
    return 0.3 * (2 * u - 1)


def fixture(out):
    tensors = {}
    for name, (make, shape) in NETS.items():
        net = make().double().eval()
        net.load_state_dict({key: formula(key, tuple(value.shape)) for key, value in net.state_dict().items()})
        x = (2 * uniform(name + "/x", int(np.prod(shape))) - 1).reshape(shape)
        with torch.no_grad():
            tensors[name] = net.features(x).contiguous()
        # The parameters that PyTorch's net has: names in their order, with their sizes.
        print(name, tuple(tensors[name].shape), sum(v.numel() for v in net.state_dict().values()))
    save_file(tensors, out, metadata={"generator": f"benches/peers/zoo.py, torch {torch.__version__}"})


def known(name):
    make, shape = ZOO.get(name) or NETS[name]
    torch.manual_seed(0)
    return make(), shape


def read(name, path):
    stored = load_file(path)
    x, ours = stored.pop("input.x"), stored.pop("output.features")
    net, _ = known(name)
    net.load_state_dict(stored, strict=True)
    with torch.no_grad():
        theirs = net.eval().features(x)
    distance = ((theirs - ours).norm() / theirs.norm()).item()
    print(f"{name}: {len(stored)} tensors loaded strictly by PyTorch; features differ by {distance:.2e} (relative)")
    if not distance <= 1e-5:
        sys.exit(f"{name}: the features are not ours")


def write(name, path):
    net, shape = known(name)
    x = torch.randn(shape)
    with torch.no_grad():
        net.train().features(x)  # running statistics that are not those of a fresh net
        y = net.eval().features(x)
    save_file({**net.state_dict(), "input.x": x, "output.features": y.contiguous()}, path)


def check(binary, *names):
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = f"{folder}/theirs.safetensors", f"{folder}/ours.safetensors"
        for name in names or [*ZOO, *DESCRIPTIONS]:
            architecture = name
            if name in DESCRIPTIONS:
                architecture = f"{folder}/{name}.toml"
                pathlib.Path(architecture).write_text(DESCRIPTIONS[name])
            write(name, theirs)
            subprocess.run([binary, architecture, theirs, ours], check=True)
            read(name, ours)


if __name__ == "__main__":
    torch.backends.mkldnn.enabled = False
    {"fixture": fixture, "read": read, "write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
