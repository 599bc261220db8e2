"""Operators and their gradients with PyTorch, from the ONNX operator specification: reads cases as JSON, writes losses and gradients."""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
dtypes = {"float64": torch.float64, "float32": torch.float32, "int64": torch.int64, "bool": torch.bool,
          "int8": torch.int8, "uint8": torch.uint8}


class NoCounterpart(Exception):
    """PyTorch has nothing that does this."""


table = {}


def op(*names):
    def register(f):
        for name in names:
            table[name] = f
        return f

    return register


def ints(t):
    return None if t is None else [int(v) for v in t.flatten()]


# Elementwise

simple = {
    "Neg": torch.neg, "Abs": torch.abs, "Exp": torch.exp, "Erf": torch.erf, "Sin": torch.sin, "Cos": torch.cos,
    "Sinh": torch.sinh, "Cosh": torch.cosh, "Tanh": torch.tanh, "Atan": torch.atan, "Asinh": torch.asinh,
    "Identity": torch.clone, "Sqrt": torch.sqrt, "Log": torch.log, "Reciprocal": torch.reciprocal, "Tan": torch.tan,
    "Asin": torch.asin, "Acos": torch.acos, "Atanh": torch.atanh, "Acosh": torch.acosh, "Relu": F.relu,
    "Selu": F.selu, "Sigmoid": torch.sigmoid, "Softplus": F.softplus, "Softsign": F.softsign,
    "HardSwish": F.hardswish, "Mish": F.mish, "com.microsoft:Gelu": F.gelu,
}
for name, function in simple.items():
    table[name] = lambda a, x, function=function: function(x)

binary = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow}
for name, function in binary.items():
    table[name] = lambda a, x, y, function=function: function(x, y)


def folded(function, *xs):
    result = xs[0]
    for x in xs[1:]:
        result = function(result, x)
    return result


table["Max"] = lambda a, *xs: folded(torch.maximum, *xs)
table["Min"] = lambda a, *xs: folded(torch.minimum, *xs)
table["Sum"] = lambda a, *xs: folded(torch.add, *xs)
table["Mean"] = lambda a, *xs: folded(torch.add, *xs) / len(xs)
table["Where"] = lambda a, c, x, y: torch.where(c, x, y)
table["Clip"] = lambda a, x, low=None, high=None: torch.clamp(x, low, high)
table["LeakyRelu"] = lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01))
table["Elu"] = lambda a, x: F.elu(x, a.get("alpha", 1.0))
table["Celu"] = lambda a, x: F.celu(x, a.get("alpha", 1.0))
table["Gelu"] = lambda a, x: F.gelu(x, approximate=a.get("approximate", "none"))
table["ThresholdedRelu"] = lambda a, x: F.threshold(x, a.get("alpha", 1.0), 0.0)
table["HardSigmoid"] = lambda a, x: torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1)
table["PRelu"] = lambda a, x, slope: torch.where(x >= 0, x, slope * x)
table["Softmax"] = lambda a, x: F.softmax(x, a.get("axis", -1))
table["LogSoftmax"] = lambda a, x: F.log_softmax(x, a.get("axis", -1))
table["Dropout"] = lambda a, x: F.dropout(x, training=False)
table["CastLike"] = lambda a, x, like: x.to(like.dtype)
table["com.microsoft:BiasGelu"] = lambda a, x, bias: F.gelu(x + bias)
table["com.microsoft:FastGelu"] = lambda a, x, bias=0.0: F.gelu(x + bias, approximate="tanh")
table["com.microsoft:QuickGelu"] = lambda a, x: x * torch.sigmoid(1.702 * x)


@op("Cast")
def cast(a, x):
    return x.to({1: torch.float32, 11: torch.float64}[a["to"]])


@op("Mod")
def mod(a, x, y):
    return torch.fmod(x, y) if a.get("fmod") else torch.remainder(x, y)


@op("Shrink")
def shrink(a, x):
    bias, threshold = a.get("bias", 0.0), a.get("lambd", 0.5)
    return torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, x * 0))


# Reductions


def product(x, axes, keep):
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


norm = torch.linalg.vector_norm
reductions = {
    "ReduceSum": lambda x, d, k: torch.sum(x, d, keepdim=k),
    "ReduceMean": lambda x, d, k: torch.mean(x, d, keepdim=k),
    "ReduceMax": lambda x, d, k: torch.amax(x, d, keepdim=k),
    "ReduceMin": lambda x, d, k: torch.amin(x, d, keepdim=k),
    "ReduceProd": product,
    "ReduceSumSquare": lambda x, d, k: torch.sum(x * x, d, keepdim=k),
    "ReduceL1": lambda x, d, k: norm(x, 1, d, keepdim=k),
    "ReduceL2": lambda x, d, k: norm(x, 2, d, keepdim=k),
    "ReduceLogSum": lambda x, d, k: torch.sum(x, d, keepdim=k).log(),
    "ReduceLogSumExp": lambda x, d, k: torch.logsumexp(x, d, keepdim=k),
}



def reduction(function):
    def run(a, x, axes=None):
        if a.get("noop_with_empty_axes") and not ints(axes):
            raise NoCounterpart("no axis at all")
        return function(x, ints(axes) or list(range(x.dim())), bool(a.get("keepdims", 1)))

    return run


for name, function in reductions.items():
    table[name] = reduction(function)


@op("CumSum")
def cumsum(a, x, axis):
    axis = int(axis)
    y = x.flip(axis) if a.get("reverse") else x
    total = torch.cumsum(y, axis) - (y if a.get("exclusive") else 0)
    return total.flip(axis) if a.get("reverse") else total


# Shapes and indices

table["Squeeze"] = lambda a, x, axes: torch.squeeze(x, tuple(ints(axes)))
table["Unsqueeze"] = lambda a, x, axes: folded(torch.unsqueeze, x, *sorted(ints(axes)))
table["Expand"] = lambda a, x, shape: x * torch.ones(ints(shape))
table["Transpose"] = lambda a, x: x.permute(a.get("perm") or list(range(x.dim()))[::-1])
table["Concat"] = lambda a, *xs: torch.cat(xs, a["axis"])
table["Split"] = lambda a, x, sizes: torch.split(x, ints(sizes), a.get("axis", 0))
table["Tile"] = lambda a, x, repeats: x.repeat(ints(repeats))
table["GatherElements"] = lambda a, x, i: torch.gather(x, a.get("axis", 0), i % x.shape[a.get("axis", 0)])
table["ScatterElements"] = lambda a, x, i, u: torch.scatter(x, a.get("axis", 0), i, u)
table["GatherND"] = lambda a, x, i: x[tuple(i.unbind(-1))]
table["ScatterND"] = lambda a, x, i, u: x.index_put(tuple(i.unbind(-1)), u)
table["Trilu"] = lambda a, x, k=0: torch.triu(x, int(k)) if a.get("upper", 1) else torch.tril(x, int(k))
table["TopK"] = lambda a, x, k: torch.topk(x, int(k), a.get("axis", -1), bool(a.get("largest", 1)))


@op("Reshape")
def reshape(a, x, shape):
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(ints(shape))])


@op("Flatten")
def flatten(a, x):
    return x.reshape(int(np.prod(x.shape[: a.get("axis", 1)])), -1)


@op("Gather")
def gather(a, x, i):
    return x[(slice(None),) * (a.get("axis", 0) % x.dim()) + (i,)]


@op("Slice")
def slice_(a, x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts), ints(ends)
    axes, steps = ints(axes) or range(len(starts)), ints(steps) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        x = torch.index_select(x, axis, torch.tensor(range(x.shape[axis])[start:end:step]))
    return x


@op("Pad")
def pad(a, x, pads, value=None, axes=None):
    pads, axes = ints(pads), [i % x.dim() for i in ints(axes) or range(x.dim())]
    around = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    mode = a.get("mode", "constant")
    if mode == "constant":
        flat = [n for axis in reversed(range(x.dim())) for n in around.get(axis, (0, 0))]
        return F.pad(x, flat, value=0.0 if value is None else float(value))
    for axis, widths in around.items():
        x = torch.index_select(x, axis, torch.from_numpy(np.pad(np.arange(x.shape[axis]), widths, mode=mode)))
    return x


@op("DepthToSpace")
def depth_to_space(a, x):
    n, c, h, w = x.shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "DCR":
        x = x.reshape(n, b * b, c // (b * b), h, w).transpose(1, 2).reshape(n, c, h, w)
    return F.pixel_shuffle(x, b)


@op("SpaceToDepth")
def space_to_depth(a, x):
    n, c, h, w = x.shape
    b = a["blocksize"]
    y = F.pixel_unshuffle(x, b)
    return y.reshape(n, c, b * b, h // b, w // b).transpose(1, 2).reshape(n, c * b * b, h // b, w // b)


@op("ReverseSequence")
def reverse_sequence(a, x, lengths):
    time, batch = a.get("time_axis", 0), a.get("batch_axis", 1)
    y = x.movedim((batch, time), (0, 1))
    rows = [torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(y, ints(lengths))]
    return torch.stack(rows).movedim((0, 1), (batch, time))


# Products, convolution and pooling

table["MatMul"] = lambda a, x, y: torch.matmul(x, y)
table["Einsum"] = lambda a, *xs: torch.einsum(a["equation"], *xs)


@op("Gemm")
def gemm(a, x, y, c=None):
    x, y = (x.T if a.get("transA") else x), (y.T if a.get("transB") else y)
    result = a.get("alpha", 1.0) * (x @ y)
    return result if c is None else result + a.get("beta", 1.0) * c


def window(a, x, kernel):
    """Kernel, strides, dilations and what is added before and after each axis."""
    rank = len(kernel)
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    pads = a.get("pads", [0] * 2 * rank)
    around = [(pads[i], pads[i + rank]) for i in range(rank)]
    automatic = a.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        around = []
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations):
            total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            small, large = total // 2, total - total // 2
            around.append((small, large) if automatic == "SAME_UPPER" else (large, small))
    return strides, dilations, around


def padded(x, around, value=0.0):
    return F.pad(x, [n for pair in reversed(around) for n in pair], value=value)


@op("Conv")
def conv(a, x, w, b=None):
    strides, dilations, around = window(a, x, w.shape[2:])
    f = [F.conv1d, F.conv2d, F.conv3d][w.dim() - 3]
    return f(padded(x, around), w, b, strides, 0, dilations, a.get("group", 1))


@op("ConvTranspose")
def conv_transpose(a, x, w, b=None):
    if "auto_pad" in a or "output_shape" in a:
        raise NoCounterpart("padding by output shape")
    strides, dilations, around = window(a, x, w.shape[2:])
    if any(begin != end for begin, end in around):
        raise NoCounterpart("uneven padding")
    f = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][w.dim() - 3]
    more = a.get("output_padding", [0] * len(strides))
    return f(x, w, b, strides, [begin for begin, _ in around], more, a.get("group", 1), dilations)


@op("MaxPool")
def max_pool(a, x):
    kernel = a["kernel_shape"]
    strides, dilations, around = window(a, x, kernel)
    f = [F.max_pool1d, F.max_pool2d, F.max_pool3d][len(kernel) - 1]
    return f(padded(x, around, -torch.inf), kernel, strides, 0, dilations, bool(a.get("ceil_mode")))


@op("AveragePool")
def average_pool(a, x):
    kernel = a["kernel_shape"]
    strides, _, around = window(a, x, kernel)
    if a.get("ceil_mode") or "dilations" in a:
        raise NoCounterpart("rounding up or dilation")
    f = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][len(kernel) - 1]
    mean = f(padded(x, around), kernel, strides)
    if a.get("count_include_pad"):
        return mean
    return mean / f(padded(torch.ones_like(x), around), kernel, strides)


@op("LpPool")
def lp_pool(a, x):
    kernel = a["kernel_shape"]
    strides, _, around = window(a, x, kernel)
    f = [F.lp_pool1d, F.lp_pool2d, F.lp_pool3d][len(kernel) - 1]
    p = a.get("p", 2)
    if len(kernel) == 1:
        kernel, strides = kernel[0], strides[0]
    return f(padded(x.abs(), around), float(p), kernel, strides)


def spatial(x):
    return tuple(range(2, x.dim()))


table["GlobalAveragePool"] = lambda a, x: x.mean(spatial(x), keepdim=True)
table["GlobalMaxPool"] = lambda a, x: torch.amax(x, spatial(x), keepdim=True)
table["GlobalLpPool"] = lambda a, x: norm(x, a.get("p", 2), spatial(x), keepdim=True)


# Normalization


@op("BatchNormalization")
def batch_norm(a, x, scale, bias, mean, variance):
    eps = a.get("epsilon", 1e-5)
    if a.get("training_mode"):
        return F.batch_norm(x, mean.clone(), variance.clone(), scale, bias, training=True, eps=eps)
    # Written out: F.batch_norm has no gradient by the running statistics.
    scale, bias, mean, variance = (t.reshape(-1, *[1] * (x.dim() - 2)) for t in (scale, bias, mean, variance))
    return (x - mean) / torch.sqrt(variance + eps) * scale + bias


@op("LayerNormalization")
def layer_norm(a, x, scale, bias=None):
    return F.layer_norm(x, x.shape[a.get("axis", -1) % x.dim():], scale, bias, a.get("epsilon", 1e-5))


@op("SimplifiedLayerNormalization")
def rms_norm(a, x, scale):
    return F.rms_norm(x, x.shape[a.get("axis", -1) % x.dim():], scale, a.get("epsilon", 1e-5))


@op("InstanceNormalization")
def instance_norm(a, x, scale, bias):
    return F.instance_norm(x, weight=scale, bias=bias, eps=a.get("epsilon", 1e-5))


@op("GroupNormalization")
def group_norm(a, x, scale, bias):
    return F.group_norm(x, a["num_groups"], scale, bias, a.get("epsilon", 1e-5))


@op("LpNormalization")
def lp_norm(a, x):
    return F.normalize(x, p=a.get("p", 2), dim=a.get("axis", -1))


@op("MeanVarianceNormalization")
def mean_variance(a, x):
    axes = a.get("axes", [0, 2, 3])
    deviation = torch.std(x, axes, correction=0, keepdim=True)
    return (x - x.mean(axes, keepdim=True)) / (deviation + 1e-9)


@op("LRN")
def lrn(a, x):
    # The longer side of an even window lies after the channel in ONNX, before it in PyTorch.
    f = F.local_response_norm
    return f(x.flip(1), a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)).flip(1)


@op("Resize")
def resize(a, x, roi=None, scales=None, sizes=None):
    mode, corners = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    known = {"mode", "coordinate_transformation_mode"}
    if set(a) - known or x.dim() != 4 or corners not in ("half_pixel", "align_corners"):
        raise NoCounterpart(f"{mode} with {corners} and other options")
    by = {"size": ints(sizes)[2:]} if scales is None else {"scale_factor": [float(s) for s in scales][2:]}
    if mode == "nearest":
        if corners != "half_pixel" or any(f % 1 for f in by.get("scale_factor", [0.5])):
            raise NoCounterpart("nearest, halves rounded down")
        return F.interpolate(x, **by, mode="nearest")
    kind = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    # By scales PyTorch looks at the scales themselves, as ONNX does, not at the ratio of the sizes.
    y = F.interpolate(x, **by, mode=kind, align_corners=corners == "align_corners")
    if y.shape == x.shape:
        raise NoCounterpart("PyTorch copies what keeps its size, whatever the scale")
    return y


# Recurrent layers: torch.nn, with its order of gates; but for the GRU that resets the state before the product.

order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}
layers = {"RNN": torch.nn.RNN, "GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}


def gru_reset_first(x, w, r, b, h):
    wz, wr, wh = w.chunk(3)
    rz, rr, rh = r.chunk(3)
    bwz, bwr, bwh, brz, brr, brh = b.chunk(6)
    steps = []
    for xt in x:
        z = torch.sigmoid(xt @ wz.T + h @ rz.T + bwz + brz)
        reset = torch.sigmoid(xt @ wr.T + h @ rr.T + bwr + brr)
        candidate = torch.tanh(xt @ wh.T + (reset * h) @ rh.T + bwh + brh)
        h = (1 - z) * candidate + z * h
        steps.append(h)
    return torch.stack(steps), h.unsqueeze(0)


def recurrent(kind):
    def run(a, x, w, r, b=None, lengths=None, *initial):
        if set(a) - {"hidden_size", "direction", "layout", "linear_before_reset"}:
            raise NoCounterpart("other activations, clipping or coupled gates")
        if lengths is not None:
            raise NoCounterpart("lengths of sequences")
        hidden, layout, direction = a["hidden_size"], a.get("layout", 0), a.get("direction", "forward")
        if layout:
            x, initial = x.transpose(0, 1), [s.transpose(0, 1) for s in initial]
        states = 2 if kind == "LSTM" else 1
        directions, batch = w.shape[0], x.shape[1]
        initial = list(initial) or [x.new_zeros(directions, batch, hidden)] * states
        b = w.new_zeros(directions, 2 * w.shape[1]) if b is None else b
        gates = lambda t: torch.cat([t.chunk(len(order[kind]))[i] for i in order[kind]])
        ys, lasts = [], [[] for _ in range(states)]
        for d in range(directions):
            back = direction == "reverse" or d == 1
            steps, start = (x.flip(0) if back else x), [s[d: d + 1] for s in initial]
            if kind == "GRU" and not a.get("linear_before_reset"):
                y, last = gru_reset_first(steps, w[d], r[d], b[d], start[0][0])
            else:
                bw, br = b[d].chunk(2)
                named = {"weight_ih_l0": gates(w[d]), "weight_hh_l0": gates(r[d]), "bias_ih_l0": gates(bw),
                         "bias_hh_l0": gates(br)}
                begin = tuple(s.contiguous() for s in start)
                y, last = torch.func.functional_call(
                    layers[kind](x.shape[2], hidden), named, (steps, begin if states == 2 else begin[0]))
            ys.append(y.flip(0) if back else y)
            for kept, state in zip(lasts, last if states == 2 else [last]):
                kept.append(state[0])
        y, lasts = torch.stack(ys, 1), [torch.stack(kept) for kept in lasts]
        if layout:
            y, lasts = y.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in lasts]
        return [y, *lasts]

    return run


for name in layers:
    table[name] = recurrent(name)


# Quantization and back: PyTorch's own, and with a learned step size written out with detach (LSQ).


@op("QuantizeLinear+DequantizeLinear")
def fake_quantize(a, x, scale, zero):
    low, high = (-128, 127) if zero.dtype == torch.int8 else (0, 255)
    axis = a.get("axis", 1)
    if scale.dim() == 1:
        shape = [-1 if i == axis else 1 for i in range(x.dim())]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    steps = x / scale
    zero = zero.to(x.dtype)
    level = steps + (torch.round(steps) - steps).detach()
    return (torch.clamp(level + zero, low, high) - zero) * scale


def tensor(entry):
    if entry is None:
        return None
    t = torch.tensor(entry["values"], dtype=dtypes[entry["dtype"]]).reshape(entry["shape"])
    return t.requires_grad_(True) if entry["learns"] else t


def evaluate(case):
    key = case["op"] if case["domain"] == "" else f"{case['domain']}:{case['op']}"
    if key not in table:
        return {"missing": "no counterpart"}
    inputs = [tensor(entry) for entry in case["inputs"]]
    try:
        outputs = table[key](case["attributes"], *inputs)
    except NoCounterpart as reason:
        return {"missing": str(reason)}
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    weighted = [(y * tensor(w)).sum() for y, w in zip(outputs, case["weights"], strict=False) if w is not None]
    for y, w in zip(outputs, case["weights"]):
        if w is not None and list(y.shape) != w["shape"]:
            raise ValueError(f"{case['op']}: shape {list(y.shape)} against {w['shape']}")
    loss = sum(weighted)
    leaves = [t for t in inputs if t is not None and t.requires_grad]
    slopes = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return {"loss": loss.item(), "gradients": [g.flatten().tolist() for g in slopes]}


def guarded(case):
    try:
        return evaluate(case)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


json.dump({"version": torch.__version__, "results": [guarded(case) for case in json.load(sys.stdin)]}, sys.stdout)
