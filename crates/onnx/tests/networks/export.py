"""Exports networks with both exporters of PyTorch in their default options, with what autograd says of them.

    python export.py small FOLDER     the networks of this folder's files: a few kB each
    python export.py zoo FOLDER       networks of torchvision and timm, about 1 GB

Beside NAME.onnx lies NAME.safetensors: inputs x [3, ...], the features f (the input of the last linear layer, or the output
where the name says "_output"), cotangents v, and the VJP of v. The graphs are exported with one sample, x has three.
Needs torch, torchvision, timm, onnx, onnxscript and safetensors.
"""

import functools
import logging
import pathlib
import sys
import warnings

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
# The fused attention of nn.MultiheadAttention in evaluation mode, which the older exporter does not know.
torch.backends.mha.set_fastpath_enabled(False)


def settled(model):
    """Running statistics and biases that are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        if "gamma" in name or "layer_scale" in name:
            parameter.data.fill_(0.5)
    return model.eval()


def record(model, x, path):
    kept = {}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if path.stem.removesuffix("_ts").removesuffix("_dynamo").endswith("_output"):
        hook = model.register_forward_hook(lambda *passed: kept.update(f=passed[2]))
    else:
        last = linear[-1] if not isinstance(model, HeadFirst) else model.head
        hook = last.register_forward_pre_hook(lambda _, inputs: kept.update(f=inputs[0]))
    # In f64, so that the comparison shows the error of one side.
    model, x = model.double(), x.double()
    x = x.requires_grad_(True)
    model(x)
    hook.remove()
    f = kept["f"].flatten(1)
    v = torch.randn(f.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (g,) = torch.autograd.grad(f, x, v)
    save_file({"x": x.detach().contiguous(), "f": f.detach().contiguous(), "v": v, "g": g.contiguous()}, path)
    model.float()


def export(name, model, shape, folder):
    torch.manual_seed(0)
    model = settled(model())
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(3))
    for exporter in ("ts", "dynamo"):
        path = folder / f"{name}_{exporter}.onnx"
        try:
            with torch.no_grad():
                torch.onnx.export(model, (x[:1],), str(path), dynamo=exporter == "dynamo", verbose=False)
        except Exception as error:  # An exporter that does not know an operator.
            print(f"{name}: {exporter} does not export it: {str(error).splitlines()[0][:100]}")
            path.unlink(missing_ok=True)
            continue
        without_traces(path)
        with torch.enable_grad():
            record(model, x.clone(), path.with_suffix(".safetensors"))
        print(path.name, flush=True)


def without_traces(path):
    """Removes the stack traces of the exporting machine. The weights stay in their file."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    path.write_bytes(model.SerializeToString())


class HeadFirst(nn.Module):
    """Marks networks whose head is not the last linear layer of `modules()`."""


class Attention(nn.Module):
    def __init__(self, width=8, heads=2):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(approximate="tanh"), nn.Linear(12, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TinyViT(HeadFirst):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        self.blocks, self.norm, self.head = nn.Sequential(Block(), Block()), nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Encoder(HeadFirst):
    """Like BERT, from embedded tokens: norms behind the residuals, the first token classifies."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True)
        self.position, self.norm = nn.Parameter(torch.randn(5, 8)), nn.LayerNorm(8)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.layers(self.norm(x + self.position))[:, 0]))


class Decoder(HeadFirst):
    """Like GPT, from embedded tokens: each token sees those before it, and predicts the next."""

    def __init__(self):
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm2, self.mlp = nn.LayerNorm(8), nn.Sequential(nn.Linear(8, 12), nn.GELU(approximate="tanh"), nn.Linear(12, 8))
        self.head = nn.Linear(8, 7, bias=False)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (part.view(n, t, 2, d // 2).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(d, dim=2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(n, t, d))
        return self.head(x + self.mlp(self.norm2(x)))


class Windows(HeadFirst):
    """Shifted windows: the batch is folded into the windows and back."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = Attention(), nn.Linear(8, 4)

    def forward(self, x):
        n, c, h, w = x.shape
        x = torch.roll(x, (-1, -1), (2, 3)).permute(0, 2, 3, 1)
        x = x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        x = self.inner(x)
        x = x.view(n, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return self.head(torch.roll(x, (1, 1), (1, 2)).mean((1, 2)))


class Shuffle(HeadFirst):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Conv2d(3, 5, 1), nn.Linear(8, 3)

    def forward(self, x):
        n, _, h, w = x.shape
        x = torch.nn.functional.hardswish(self.first(x))
        x = x.view(n, 2, 3, h, w).transpose(1, 2).reshape(n, 6, h, w)
        a, b = x.chunk(2, 1)
        return self.head(torch.cat([a, torch.nn.functional.relu6(self.second(b))], 1).mean((2, 3)))


class Recurrent(HeadFirst):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(5, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Contracted(HeadFirst):
    """Attention written with `einsum`, as in many research codes."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(8, 24), nn.Parameter(torch.randn(2, 4, 8)), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(x.shape[0], x.shape[1], 3, 2, 4).unbind(2)
        weights = torch.einsum("nihd,njhd->nhij", q, k).softmax(-1)
        return self.head(torch.einsum("nhij,njhd,hde->nie", weights, v, self.out).mean(1))


class Sampled(HeadFirst):
    """Pixels read at positions that the network computes, some of them outside the image."""

    def __init__(self):
        super().__init__()
        self.positions, self.head = nn.Linear(40, 12), nn.Linear(12, 3)

    def forward(self, x):
        grid = 1.4 * torch.tanh(self.positions(x.flatten(1))).reshape(-1, 3, 2, 2)
        y = nn.functional.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
        return self.head(y.flatten(1))


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)

    def forward(self, x):
        scale = self.up(nn.functional.silu(self.down(nn.functional.adaptive_avg_pool2d(x, 1))))
        return x * torch.sigmoid(scale)


class Residual(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.first, self.second = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x):
        return torch.relu(self.norm2(self.second(torch.relu(self.norm1(self.first(x))))) + self.shortcut(x))


class Branches(nn.Module):
    """Densely connected: the input goes through each branch and beside them, with batch norm before the convolution."""

    def __init__(self):
        super().__init__()
        self.norm, self.a, self.b = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.norm(x))
        return torch.cat([x, torch.relu(self.a(y)), self.b(nn.functional.max_pool2d(y, 3, 1, 1))], 1)


def convolutional(*layers, features=6, classes=4):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


SMALL = {
    "tiny_vit": (TinyViT, (3, 8, 8)),
    "encoder": (Encoder, (5, 8)),
    "decoder": (Decoder, (5, 8)),
    "windows": (Windows, (8, 4, 4)),
    "shuffle": (Shuffle, (4, 5, 5)),
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 5)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 5)),
    "rectified": (lambda: Recurrent(functools.partial(nn.RNN, nonlinearity="relu")), (4, 5)),
    "contracted": (Contracted, (5, 8)),
    "sampled": (Sampled, (2, 4, 5)),
    "corners": (lambda: convolutional(
        nn.Conv2d(3, 6, 3), nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), nn.Tanh(),
        nn.Upsample(scale_factor=0.7, mode="bicubic", align_corners=True), nn.Conv2d(6, 6, 2), nn.ReLU()), (3, 7, 8)),
    "pools": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.ELU(),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.Flatten(), nn.Linear(36, 3)), (3, 9, 9)),
    "padded": (lambda: convolutional(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.LeakyReLU(0.2),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, padding_mode="circular"), nn.Mish()), (3, 7, 7)),
    "upsampled": (lambda: convolutional(
        nn.Conv2d(3, 4, 3, 2), nn.SELU(), nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Hardtanh()), (3, 9, 9)),
    "squeezed": (lambda: convolutional(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.SiLU(), Squeeze(6), nn.Hardswish()), (3, 6, 6)),
    "residual": (lambda: convolutional(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), Residual(4, 4, 1), Residual(4, 6, 2)), (3, 13, 13)),
    "branches": (lambda: convolutional(Branches(), nn.ReLU6(), nn.AvgPool2d(2)), (3, 8, 8)),
    "group_norm": (lambda: convolutional(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.PReLU(), nn.InstanceNorm2d(6, affine=True), nn.Softplus()), (3, 6, 6)),
    "line": (lambda: nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1), nn.BatchNorm1d(4), nn.Tanh(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(16, 3)), (3, 8)),
    "volume": (lambda: nn.Sequential(
        nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(24, 3)), (2, 4, 4, 4)),
    "perceptron": (lambda: nn.Sequential(
        nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 4), nn.Softmax(-1), nn.Linear(4, 3)), (6,)),
}


def zoo():
    import timm
    import torchvision.models as tv

    sizes = dict(
        resnet18=32, vgg11=32, mobilenet_v2=32, mobilenet_v3_small=32, efficientnet_b0=32, mnasnet0_5=32, regnet_y_400mf=32,
        shufflenet_v2_x0_5=32, densenet121=32, googlenet=64, resnext50_32x4d=32, wide_resnet50_2=32, swin_t=64, convnext_tiny=32,
        vit_b_16=32, squeezenet1_1_output=64, mobilenet_v3_large=64,
    )
    extra = dict(vit_b_16=dict(image_size=32), googlenet=dict(init_weights=False, aux_logits=False))
    for name, size in sizes.items():
        # VGG's pool to 7×7 has another size than 32×32 gives: only one of the exporters knows it.
        yield f"tv_{name}", lambda name=name: getattr(tv, name.removesuffix("_output"))(**extra.get(name, {})), (3, size, size)
    yield "tv_vgg11_at_224", tv.vgg11, (3, 224, 224)
    small = dict(
        convnext_atto=64, convnextv2_atto=64, convnextv2_nano=64, vit_tiny_patch16_224=64, deit_tiny_patch16_224=64,
        mixer_s16_224=224, resnet18d=64, swin_tiny_patch4_window7_224=224, efficientnet_b0=64, mobilenetv3_small_050=64,
    )
    for name, size in small.items():
        kwargs = dict(img_size=size) if "vit" in name or "deit" in name else {}
        yield f"timm_{name}", lambda name=name, kwargs=kwargs: timm.create_model(name, pretrained=False, **kwargs), (3, size, size)


def main():
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[3:]
    if sys.argv[1] == "small":
        entries = [(name, model, shape) for name, (model, shape) in SMALL.items()]
    else:
        entries = list(zoo())
    for name, model, shape in entries:
        if not wanted or name in wanted:
            export(name, model, shape, folder)


main()
