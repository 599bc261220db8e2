"""One training step in PyTorch, for training.ts: reads "NAME RUNS" lines, answers with a JSON list of milliseconds.

Arguments: the number of threads, and "cpu" to measure processor time instead of the clock.
"""

import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.one = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(filters)
        self.two = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(filters)
        same = stride == 1 and channels == filters
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
        )

    def forward(self, x):
        y = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(y)) + self.shortcut(x))


def resnet20():
    blocks = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            blocks.append(Residual(channels, filters, 2 if stage > 0 and block == 0 else 1))
            channels = filters
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(1000, 256)
        self.positions = nn.Parameter(torch.randn(64, 256) * 0.02)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, nn.LayerNorm(256), enable_nested_tensor=False)
        self.classifier = nn.Linear(256, 10)

    def forward(self, tokens):
        return self.classifier(self.encoder(self.tokens(tokens) + self.positions).mean(1))


MODELS = {
    "cnn": (cnn, lambda: torch.randn(64, 3, 32, 32), "adam"),
    "resnet20": (resnet20, lambda: torch.randn(128, 3, 32, 32), "sgd"),
    "mlp": (mlp, lambda: torch.randn(128, 784), "adam"),
    "transformer": (Transformer, lambda: torch.randint(1000, (16, 64)), "adam"),
}


def prepare(name):
    make, data, kind = MODELS[name]
    model, x = make(), data()
    labels = torch.randint(10, (x.shape[0],))
    if kind == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    clock = time.process_time if sys.argv[2:] == ["cpu"] else time.perf_counter
    steps = {}
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        name, runs = line.split()
        step = steps.setdefault(name, None) or prepare(name)
        steps[name] = step
        times = []
        for _ in range(int(runs)):
            start = clock()
            step()
            times.append((clock() - start) * 1e3)
        print(json.dumps(times), flush=True)


main()
