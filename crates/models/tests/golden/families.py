"""Features and geometric complexity of narrow networks of timm, torchvision and PyTorch in f64: `python families.py` writes
`families.safetensors` beside this file.

Weights, statistics and inputs follow from a formula of their names (`uniform`), which `tests/families.rs` repeats, so that no weights
are stored. Of each network: `features` (the input of the head), `logits`, and `gc`, the mean over the samples of the squared
Frobenius norm of the Jacobian of the features by the input, from `torch.func.jacrev`. `<name>.names` are the names of the state
dict, joined by newlines, as bytes.
"""

import math
import pathlib

import numpy as np
import timm
import timm.layers
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import Bottleneck, ResNet as TimmResNet
from timm.models.vision_transformer import VisionTransformer
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import Bottleneck as TorchvisionBottleneck, ResNet

torch.set_default_dtype(torch.float64)
timm.layers.set_fused_attn(False)


def uniform(name, count):
    """Numbers in [0, 1) from a name and their positions."""
    seed = np.uint32(0)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = seed * np.uint32(31) + np.uint32(byte)
        h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + seed
        for _ in range(2):
            h = (h ^ (h >> np.uint32(16))) * np.uint32(0x45D9F3B)
        h = h ^ (h >> np.uint32(16))
    return torch.from_numpy(h.astype(np.float64) / 2.0**32)


def weight(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    u = uniform(name, math.prod(shape))
    if name.endswith("running_var"):
        values = 0.5 + u
    elif len(shape) >= 2:
        values = (2 * u - 1) * math.sqrt(6 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 0.7 + 0.6 * u
    else:
        values = 0.3 * (2 * u - 1)
    return values.reshape(shape)


class Block(nn.Module):
    """A block of GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(width, 3 * width), "c_proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.attn["c_attn"](self.ln_1(x)).split(width, 2)
        q, k, v = (a.view(n, t, self.heads, width // self.heads).transpose(1, 2) for a in (q, k, v))
        logits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        logits = logits.masked_fill(torch.ones(t, t).triu(1).bool(), -torch.inf)
        x = x + self.attn["c_proj"]((logits.softmax(-1) @ v).transpose(1, 2).reshape(n, t, width))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self, width, heads, depth, classes):
        super().__init__()
        self.h = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, classes, bias=False)

    def features(self, x):
        for block in self.h:
            x = block(x)
        return self.ln_f(x)[:, -1]


class BertLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        linear = lambda a, b: nn.Linear(a, b)
        norm = lambda: nn.LayerNorm(width, eps=1e-12)
        self.heads = heads
        own = nn.ModuleDict({name: linear(width, width) for name in ("query", "key", "value")})
        output = nn.ModuleDict({"dense": linear(width, width), "LayerNorm": norm()})
        self.attention = nn.ModuleDict({"self": own, "output": output})
        self.intermediate = nn.ModuleDict({"dense": linear(width, 2 * width)})
        self.output = nn.ModuleDict({"dense": linear(2 * width, width), "LayerNorm": norm()})

    def forward(self, x):
        n, t, width = x.shape
        own, output = self.attention["self"], self.attention["output"]
        split = lambda a: a.view(n, t, self.heads, width // self.heads).transpose(1, 2)
        q, k, v = (split(own[name](x)) for name in ("query", "key", "value"))
        weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        x = output["LayerNorm"](x + output["dense"]((weights @ v).transpose(1, 2).reshape(n, t, width)))
        return self.output["LayerNorm"](x + self.output["dense"](F.gelu(self.intermediate["dense"](x))))


class Encoder(nn.Module):
    def __init__(self, width, heads, depth, classes):
        super().__init__()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer(width, heads) for _ in range(depth))})
        self.pooler, self.classifier = nn.ModuleDict({"dense": nn.Linear(width, width)}), nn.Linear(width, classes)

    def features(self, x):
        for layer in self.encoder["layer"]:
            x = layer(x)
        return torch.tanh(self.pooler["dense"](x[:, 0]))


class Vgg(nn.Module):
    """torchvision's VGG with narrow stages."""

    def __init__(self):
        super().__init__()
        conv = lambda a, b: [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
        self.features_ = nn.Sequential(*conv(3, 4), nn.MaxPool2d(2), *conv(4, 6), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Linear(6 * 6, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5)
        )

    def features(self, x):
        return self.classifier[:-1](F.adaptive_avg_pool2d(self.features_(x), (3, 2)).flatten(1))


def mobile(net, x, head):
    """The input of the last linear layer of torchvision's MobileNets and EfficientNets."""
    pooled = net.features(x).mean((2, 3))
    return head(pooled)


class ExactHardsigmoid(nn.Module):
    def forward(self, x):
        return F.relu6(x + 3) / 6


pooled = lambda net, x: net.features(x).mean((2, 3))
timm_features = lambda net, x: net.forward_head(net.forward_features(x), pre_logits=True)
own_features = lambda net, x: net.features(x)


def resnet_features(net, x):
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x)))).mean((2, 3))


def narrow_resnet(groups, width_per_group):
    net = ResNet(TorchvisionBottleneck, [1, 1, 1, 1], 5, groups=groups, width_per_group=width_per_group)
    return net


v3 = InvertedResidualConfig
nets = {
    "vit": (
        VisionTransformer(img_size=(8, 12), patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5),
        timm_features, (2, 3, 8, 12), "head",
    ),
    "vit-mean": (
        VisionTransformer(img_size=(8, 12), patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=5,
                          global_pool="avg", class_token=False, init_values=0.1),
        timm_features, (2, 3, 8, 12), "head",
    ),
    "convnext": (
        ConvNeXt(in_chans=3, num_classes=5, depths=(1, 2, 1, 1), dims=(4, 6, 8, 8), conv_mlp=True),
        timm_features, (2, 3, 32, 64), "head.fc",
    ),
    "convnext-linear": (
        ConvNeXt(in_chans=3, num_classes=5, depths=(1, 1, 1, 1), dims=(4, 4, 6, 8)),
        timm_features, (2, 3, 32, 32), "head.fc",
    ),
    "mixer": (
        MlpMixer(num_classes=5, img_size=(8, 12), patch_size=4, num_blocks=2, embed_dim=12, mlp_ratio=(0.5, 2.0)),
        timm_features, (2, 3, 8, 12), "head",
    ),
    "mobilenet_v2": (
        MobileNetV2(5, width_mult=0.25, round_nearest=4,
                    inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [3, 32, 1, 1]]),
        pooled, (2, 3, 12, 16), "classifier.1",
    ),
    "mobilenet_v3": (
        MobileNetV3([v3(16, 3, 16, 8, True, "RE", 2, 1, 1), v3(8, 5, 24, 8, True, "HS", 1, 1, 1),
                     v3(8, 3, 32, 16, False, "HS", 1, 1, 1)], 12, 5),
        lambda net, x: mobile(net, x, net.classifier[:2]), (2, 3, 12, 16), "classifier.3",
    ),
    "efficientnet": (
        EfficientNet([MBConvConfig(1, 3, 1, 8, 8, 1, 1, 1), MBConvConfig(3, 5, 2, 8, 16, 2, 1, 1)], 0.2),
        pooled, (2, 3, 12, 16), "classifier.1",
    ),
    "densenet": (
        DenseNet(growth_rate=4, block_config=(2, 3), num_init_features=6, bn_size=2, num_classes=5),
        lambda net, x: F.relu(net.features(x)).mean((2, 3)), (2, 3, 32, 24), "classifier",
    ),
    "resnet-d": (
        TimmResNet(Bottleneck, (1, 1, 1, 1), num_classes=5, stem_width=3, stem_type="deep", avg_down=True,
                   channels=(4, 4, 6, 6)),
        timm_features, (2, 3, 34, 48), "fc",
    ),
    "decoder": (Decoder(12, 3, 2, 5), own_features, (2, 5, 12), "lm_head"),
    "encoder": (Encoder(12, 3, 2, 5), own_features, (2, 5, 12), "classifier"),
    "vgg-pool": (Vgg(), own_features, (2, 3, 20, 28), "classifier.6"),
}


def narrow(layers, widths, groups, group_width):
    """torchvision's bottleneck stages with other channels."""
    net = narrow_resnet(groups, group_width)
    net.conv1, net.bn1, net.inplanes = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), 4
    for index, (count, width) in enumerate(zip(layers, widths)):
        setattr(net, f"layer{index + 1}", net._make_layer(TorchvisionBottleneck, width, count, 1 if index == 0 else 2))
    net.fc = nn.Linear(4 * widths[-1], 5)
    return net


# 16 channels with 4 groups of 16/64·16 = 4 channels, and twice the width inside.
nets["resnext"] = (narrow([1, 1, 1, 1], [8, 8, 8, 8], 2, 16), resnet_features, (2, 3, 33, 40), "fc")
nets["wide-resnet"] = (narrow([1, 1, 1, 1], [4, 4, 6, 6], 1, 128), resnet_features, (2, 3, 33, 40), "fc")

results = {}
for name, (net, features, shape, head) in nets.items():
    net = net.double().eval()
    for module in net.modules():
        # PyTorch's own derivative of the hard sigmoid is 1/6 rounded to f32, in f64 as well.
        if isinstance(module, torchvision.ops.SqueezeExcitation) and isinstance(module.scale_activation, nn.Hardsigmoid):
            module.scale_activation = ExactHardsigmoid()
    state = {key: weight(key.replace("features_", "features"), value.shape) for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    x = 2 * uniform(f"{name}/x", math.prod(shape)).reshape(shape) - 1
    with torch.no_grad():
        found = features(net, x)
        linear = net.get_submodule(head)
        logits = linear(found)
        one = lambda sample: features(net, sample[None])[0]
        jacobian = torch.func.vmap(torch.func.jacrev(one), chunk_size=1)(x)
    gc = jacobian.square().flatten(1).sum(1).mean()
    names = "\n".join(sorted(key.replace("features_", "features") for key in state)).encode()
    results |= {f"{name}.features": found, f"{name}.logits": logits, f"{name}.gc": gc.reshape(1)}
    results[f"{name}.names"] = torch.tensor(list(names), dtype=torch.uint8)
    print(f"{name}: features {tuple(found.shape)}, GC {gc.item():.6g}")

path = pathlib.Path(__file__).with_name("families.safetensors")
versions = {"torch": torch.__version__, "timm": timm.__version__, "torchvision": torchvision.__version__}
save_file({key: value.contiguous() for key, value in results.items()}, path, versions)
print(path, path.stat().st_size)
