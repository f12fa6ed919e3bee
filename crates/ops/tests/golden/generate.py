"""Values and derivatives of the operations by PyTorch in f64: `python generate.py` writes `pytorch.safetensors` beside this file.

Of each case: the arguments `x` and `p0`, `p1` (channels last), a cotangent `g` and a tangent `t`, the value `y`, the gradients of
<y, g> `by_x`, `by_p0`, ..., the JVP `jvp`, and the gradients of <g, J t> `term_x`, `term_p0`, ... with g and t held fixed.
"""

import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
tensors = {}


def draw(*shape):
    return torch.randn(*shape, generator=generator)


def case(name, f, x, *parameters):
    """f takes channels-last tensors."""
    y = f(x, *parameters)
    g, t = torch.randn(y.shape, generator=generator), torch.randn(x.shape, generator=generator)
    arguments = (x, *parameters)
    value = lambda *a: (f(*a) * g).sum()
    jvp_of = lambda *a: torch.func.jvp(lambda x: f(x, *a[1:]), (a[0],), (t,))[1]
    numbers = tuple(range(len(arguments)))
    first = torch.func.grad(value, argnums=numbers)(*arguments)
    # <g, J t> as <t, J^T g>: not every operation of PyTorch has a derivative of its JVP.
    second = torch.func.grad(lambda *a: (torch.func.grad(value)(*a) * t).sum(), argnums=numbers)(*arguments)
    names = ["x"] + [f"p{index}" for index in range(len(parameters))]
    entry = {"y": y, "g": g, "t": t, "jvp": jvp_of(*arguments)}
    for name_of, argument, one, two in zip(names, arguments, first, second):
        entry |= {name_of: argument, f"by_{name_of}": one, f"term_{name_of}": two}
    tensors.update({f"{name}.{key}": tensor.detach().contiguous().clone() for key, tensor in entry.items()})


def outside(x):
    """Channels second."""
    return x.movedim(-1, 1)


def inside(x):
    return x.movedim(1, -1)


def attention(heads, causal=False, mask=None):
    def f(x, *bias):
        n, t, width = x.shape
        q, k, v = x.reshape(n, t, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if bias:
            logits = logits + bias[0]
        visible = torch.ones(t, t, dtype=torch.bool)
        if causal:
            visible = visible.tril()
        if mask is not None:
            visible = visible & mask.bool()[:, None]
        logits = logits.masked_fill(~visible, -torch.inf)
        return (logits.softmax(-1) @ v).transpose(1, 2).reshape(n, t, width // 3)

    return f


generator = torch.Generator().manual_seed(20261128)
x, gamma, beta = draw(3, 4, 5, 6), draw(6), draw(6)
case("layer_norm", lambda x, a, b: F.layer_norm(x, (6,), a, b, 1e-5), x, gamma, beta)
case("rms_norm", lambda x, a: F.rms_norm(x, (6,), a, 1e-5), x, gamma)
case("group_norm", lambda x, a, b: inside(F.group_norm(outside(x), 3, a, b, 1e-5)), x, gamma, beta)
case("instance_norm", lambda x: inside(F.instance_norm(outside(x), eps=1e-5)), x)
case("softmax", lambda x: x.softmax(-1), draw(4, 7))
x = draw(2, 5, 12)
case("attention", attention(2), x)
case("attention_causal_bias", attention(2, causal=True), x, draw(2, 5, 5))
padding = torch.tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 0]]], dtype=torch.uint8)
tensors["attention_padding.mask"] = padding
case("attention_padding", attention(2, mask=padding), x)
x = 3 * draw(3, 11)
for name, f in {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "mish": F.mish,
    "relu6": F.relu6,
    # PyTorch's own hard sigmoid has no second derivative.
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,
    "hardswish": F.hardswish,
    "leakyrelu": lambda x: F.leaky_relu(x, 0.1),
    "elu": lambda x: F.elu(x, 0.7),
}.items():
    case(name, f, x)
case("prelu", lambda x, w: inside(F.prelu(outside(x), w)), draw(2, 4, 3), draw(3))
case("conv1d", lambda x, w, b: inside(F.conv1d(outside(x), w, b, 2, 1, 2, 2)), draw(2, 9, 4), draw(6, 2, 3), draw(6))
x = draw(2, 7, 5, 3)
case("adaptive_avg_pool2d", lambda x: inside(F.adaptive_avg_pool2d(outside(x), (3, 4))), x)
case("avg_pool2d_ceil", lambda x: inside(F.avg_pool2d(outside(x), (3, 2), (3, 4), (1, 0), True, True)), x)
case("avg_pool2d_ceil_inside", lambda x: inside(F.avg_pool2d(outside(x), (3, 2), (3, 4), (1, 0), True, False)), x)
case("max_pool2d_ceil", lambda x: inside(F.max_pool2d(outside(x), (3, 2), (3, 4), (1, 0), 1, True)), x)
case("channel_shuffle", lambda x: inside(F.channel_shuffle(outside(x), 2)), draw(2, 3, 2, 6))
case("squeeze_scale", lambda x, s: x * s[:, None, None], draw(2, 3, 4, 5), draw(2, 5))

path = pathlib.Path(__file__).with_name("pytorch.safetensors")
save_file(tensors, path, {"torch": torch.__version__})
print(path, path.stat().st_size)
