"""Prunes a network with Torch-Pruning: python torch_pruning_peer.py JOB.json

The job names an ONNX file, what to make of it (importance, ratio, scope) and labelled images for importance by
gradients. The file is read as a torch module, pruned, and written again with the weights that are left; prints one
line of JSON with versions and failures by name.
"""

import json
import os
import sys
import traceback

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch_pruning as tp
from onnx import helper, numpy_helper


class Net(nn.Module):
    """A chain of the operators that small image networks use, with the layers as modules under the nodes' names."""

    def __init__(self, model):
        super().__init__()
        self.constants = {one.name: numpy_helper.to_array(one).copy() for one in model.graph.initializer}
        self.nodes = list(model.graph.node)
        self.layers = nn.ModuleDict()
        for node in self.nodes:
            made = self.layer(node)
            if made is not None:
                self.layers[node.name] = made

    def layer(self, node):
        weight = lambda index: torch.from_numpy(self.constants[node.input[index]])
        of = attributes(node)
        if node.op_type == "Conv":
            w = weight(1)
            pads = of.get("pads", [0, 0, 0, 0])
            assert pads[:2] == pads[2:], node.name
            made = nn.Conv2d(
                w.shape[1] * of.get("group", 1),
                w.shape[0],
                tuple(w.shape[2:]),
                tuple(of.get("strides", [1, 1])),
                tuple(pads[:2]),
                groups=of.get("group", 1),
                bias=len(node.input) > 2,
            )
            made.weight.data = w
            if len(node.input) > 2:
                made.bias.data = weight(2)
            return made
        if node.op_type == "Gemm":
            assert of.get("transB", 0) == 1, node.name
            w = weight(1)
            made = nn.Linear(w.shape[1], w.shape[0])
            made.weight.data, made.bias.data = w, weight(2)
            return made
        if node.op_type == "BatchNormalization":
            made = nn.BatchNorm2d(weight(1).shape[0], eps=of.get("epsilon", 1e-5))
            made.weight.data, made.bias.data = weight(1), weight(2)
            made.running_mean, made.running_var = weight(3), weight(4)
            return made
        return None

    def forward(self, x):
        values = {"x": x}
        for node in self.nodes:
            values[node.output[0]] = self.run(node, values)
        return values["logits"]

    def run(self, node, values):
        x = values[node.input[0]]
        of = attributes(node)
        if node.name in self.layers:
            return self.layers[node.name](x)
        if node.op_type == "Relu":
            return F.relu(x)
        if node.op_type == "Clip":
            return F.relu6(x)
        if node.op_type == "Add":
            return x + values[node.input[1]]
        if node.op_type == "MaxPool":
            return F.max_pool2d(x, of["kernel_shape"], of["strides"])
        if node.op_type == "Flatten":
            return torch.flatten(x, 1)
        if node.op_type == "ReduceMean":
            return x.mean((2, 3))
        raise ValueError(f"unknown operator {node.op_type}")


def attributes(node):
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def importance(name):
    if name == "taylor":
        return tp.importance.GroupTaylorImportance()
    if name == "lamp":
        return tp.importance.LAMPImportance()
    if name == "fpgm":
        return tp.importance.FPGMImportance()
    return tp.importance.GroupMagnitudeImportance(p=1 if name == "l1" else 2)


def prune(job, variant):
    model = onnx.load(job["model"])
    net = Net(model).eval()
    x = torch.zeros(1, *job["image"])
    if variant["importance"] == "taylor":
        images = torch.from_numpy(np.fromfile(job["images"], dtype="float32").reshape(-1, *job["image"]))
        labels = torch.from_numpy(np.fromfile(job["labels"], dtype="int64"))
        F.cross_entropy(net(images), labels).backward()
    scope = variant["scope"]
    pruner = tp.pruner.MagnitudePruner(
        net,
        x,
        importance=importance(variant["importance"]),
        global_pruning=scope != "local",
        isomorphic=scope == "isomorphic",
        pruning_ratio=variant["ratio"],
        ignored_layers=[net.layers["classifier"]],
    )
    pruner.step()
    net(x)
    kept = {}
    for node in model.graph.node:
        layer = net.layers[node.name] if node.name in net.layers else None
        if layer is None:
            continue
        tensors = [layer.weight, layer.bias]
        if node.op_type == "BatchNormalization":
            tensors += [layer.running_mean, layer.running_var]
        for name, tensor in zip(node.input[1:], tensors):
            kept[name] = tensor.detach().numpy()
        if node.op_type == "Conv":
            for one in node.attribute:
                if one.name == "group":
                    one.i = layer.groups
    for one in model.graph.initializer:
        if one.name in kept:
            one.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(kept[one.name]), one.name))
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, variant["out"])


def main():
    torch.set_num_threads(1)
    with open(sys.argv[1]) as file:
        job = json.load(file)
    failures = {}
    for variant in job["variants"]:
        try:
            prune(job, variant)
        except Exception:
            failures[os.path.basename(variant["out"])] = traceback.format_exc().strip().splitlines()[-1]
    versions = {"torch-pruning": tp.__version__, "torch": torch.__version__}
    print(json.dumps({"versions": versions, "failures": failures}))


main()
