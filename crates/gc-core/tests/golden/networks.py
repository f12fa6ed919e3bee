"""Writes cnn_f64.safetensors and attention_f64.safetensors: weights and inputs of the two networks of tests/suite/networks.rs,
and what torch.func computes for them in f64 on one thread.

    python networks.py
"""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.func import functional_call, grad, jacrev, vmap

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


class Cnn(torch.nn.Module):
    """Twice a convolution, batch norm in evaluation mode, ReLU and 2×2 max pooling, then a linear layer."""

    def __init__(self):
        super().__init__()
        block = lambda inputs, outputs: torch.nn.ModuleDict(
            {"conv": torch.nn.Conv2d(inputs, outputs, 3, padding=1), "norm": torch.nn.BatchNorm2d(outputs)})
        for name, layer in (("0", block(3, 6)), ("1", block(6, 8)), ("2", torch.nn.Linear(8 * 2 * 2, 5))):
            self.add_module(name, layer)

    def forward(self, x):
        for name in ("0", "1"):
            block = getattr(self, name)
            x = F.max_pool2d(F.relu(block["norm"](block["conv"](x))), 2)
        return getattr(self, "2")(x.flatten(1))


class Attention(torch.nn.Module):
    """Self-attention with layer norm and a GELU layer (tanh form, as candle's `gelu`), averaged over 6 tokens of width 8."""

    def __init__(self):
        super().__init__()
        self.qkv, self.first, self.last = torch.nn.Linear(8, 24), torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)
        self.norm0, self.norm1 = torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)

    def forward(self, x):
        query, key, value = self.qkv(self.norm0(x)).split(8, dim=2)
        x = x + torch.softmax(query @ key.transpose(1, 2) / 8**0.5, 2) @ value
        return (x + self.last(F.gelu(self.first(self.norm1(x)), approximate="tanh"))).mean(1)


def write(name, network, x):
    with torch.no_grad():  # norms away from the identity
        for key, value in network.state_dict().items():
            if "norm" in key and value.dtype == torch.float64:
                value.uniform_(0.5, 1.5) if key.endswith(("weight", "running_var")) else value.uniform_(-0.5, 0.5)
    network.eval()
    values = {key: value for key, value in network.state_dict().items() if value.dtype == torch.float64}
    weights = dict(network.named_parameters())

    def per_sample(weights):
        one = lambda sample: functional_call(network, {**values, **weights}, (sample[None],))[0]
        return vmap(jacrev(one))(x).flatten(1).square().sum(1)

    gradients = grad(lambda weights: per_sample(weights).mean())(weights)
    gc = per_sample(weights).detach()
    entries = {f"param.{key}": value for key, value in values.items()}
    entries |= {f"grad_gc.{key}": value.detach() for key, value in gradients.items()}
    entries |= {"x": x, "features": network(x).detach(), "gc_per_sample": gc, "mean_gc": gc.mean()[None]}
    save_file({key: value.contiguous() for key, value in entries.items()}, f"{name}_f64.safetensors")
    print(f"torch {torch.__version__}, {name}: mean GC {gc.mean().item():.12f}")


torch.manual_seed(13)
write("cnn", Cnn(), torch.randn(5, 3, 8, 8))
write("attention", Attention(), torch.randn(5, 6, 8))
