"""Loss and gradients of one step of quantization-aware training, by PyTorch: a case as JSON in, numbers as JSON out.

Learned steps follow the pseudo code of Esser et al., "Learned Step Size Quantization", 2020, appendix A, in float64
with automatic differentiation; activations of 8 bits count as inside their range as long as rounding lands there, as
in PyTorch's own operators. Moving ranges are PyTorch's fake_quantize, in float32, behind a clamp for 4 bits. Folded
batch normalization is written out with batch_norm; a bias is rounded to the steps of the sums it is added to.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F


def tensor(entry, dtype, learns=False):
    values = torch.tensor(entry["values"], dtype=dtype).reshape(entry["shape"])
    return values.requires_grad_(learns)


def grad_scale(value, factor):
    own = value * factor
    return value.detach() - own.detach() + own


def round_pass(value):
    return value + (value.round() - value).detach()


def along(scale, value):
    return scale.reshape([-1] + [1] * (value.dim() - 1)) if scale.dim() else scale


def weight_scale(value, case, name, p):
    if case["ranges"] == "lsq":
        return p[f"{name}_step"].detach()
    return value.detach().abs().flatten(1).amax(1) / case["weightHigh"]


def bias(value, weight, case, names, p):
    """A bias in steps of the product of both scales, with the gradient of the float one."""
    step = case["activations"][names[0]]["scale"] * weight_scale(weight, case, names[1], p)
    return value + (torch.round(value / step) * step - value).detach()


def weights(value, case, name, p):
    high = case["weightHigh"]
    if case["ranges"] == "lsq":
        step = grad_scale(p[f"{name}_step"], 1 / math.sqrt(value.numel() * high))
        step = along(step, value)
        return round_pass(torch.clamp(value / step, -high, high)) * step
    scale = weight_scale(value, case, name, p).contiguous()
    zero = torch.zeros(scale.numel(), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(value, scale, zero, 0, -high, high)


def activations(value, case, name, p):
    low, high = 0, case["activationHigh"]
    entry = case["activations"][name]
    if case["ranges"] == "lsq":
        zero = entry["zeroPoint"]
        step = grad_scale(p[f"{name}_step"], entry["gradientScale"])
        level = torch.round(value / step) + zero
        where = level if high == 255 else value / step + zero
        inside = (where >= low) & (where <= high)
        end = (torch.clamp(level, low, high) - zero).detach()
        return torch.where(inside, round_pass(value / step), end) * step
    if high == 15:
        ends = [(end - entry["zeroPoint"]) * entry["scale"] for end in (low, high)]
        value = torch.clamp(value, *ends)
    return torch.fake_quantize_per_tensor_affine(value, entry["scale"], entry["zeroPoint"], low, high)


def evaluate(case):
    dtype = torch.float64 if case["ranges"] == "lsq" else torch.float32
    p = {name: tensor(entry, dtype, True) for name, entry in case["parameters"].items()}
    x, target, variance = (tensor(case[name], dtype) for name in ["x", "target", "variance"])
    factor = p["gamma"] / torch.sqrt(variance + 1e-5)
    folded = p["w1"] * factor.reshape(-1, 1, 1, 1)
    y = F.conv2d(activations(x, case, "x", p), weights(folded, case, "w1", p), padding=1)
    y = F.batch_norm(y / factor.reshape(1, -1, 1, 1), None, None, p["gamma"], p["beta"], True, eps=1e-5)
    h = activations(torch.relu(y), case, "h", p)
    y = F.conv2d(h, weights(p["w2"], case, "w2", p), bias(p["b2"], p["w2"], case, ["h", "w2"], p))
    if "o" in case["activations"]:
        y = activations(y, case, "o", p)
    loss = ((y.mean((2, 3)) - target) ** 2).mean()
    loss.backward()
    return {"loss": loss.item(), "gradients": {name: value.grad.flatten().tolist() for name, value in p.items()}}


print(json.dumps([evaluate(case) for case in json.load(sys.stdin)]))
