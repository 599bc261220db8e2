"""The losses of @lithe/distillation once more, with PyTorch: reads features as JSON, writes losses and gradients."""

import json
import sys

import torch
import torch.nn.functional as F

job = json.load(sys.stdin)


def tensor(entry):
    return torch.tensor(entry["values"], dtype=torch.float32).reshape(entry["shape"])


def kd(s, t, T):
    return F.kl_div(F.log_softmax(s / T, 1), F.softmax(t / T, 1), reduction="batchmean") * T * T


def standardized(z):
    return (z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True, unbiased=False) + 1e-7)


def decoupled(s, t, y, T, alpha, beta):
    hot = F.one_hot(y, s.shape[1]).bool()
    ps, pt = F.softmax(s / T, 1), F.softmax(t / T, 1)
    pair = lambda p: torch.stack([p[hot], (p * ~hot).sum(1)], 1)
    target = F.kl_div(torch.log(pair(ps)), pair(pt), reduction="batchmean") * T * T
    rest = lambda z: z[~hot].reshape(len(z), -1) / T
    others = F.kl_div(F.log_softmax(rest(s), 1), F.softmax(rest(t), 1), reduction="batchmean") * T * T
    return alpha * target + beta * others


def correlation(s, t, T, beta, gamma):
    pearson = lambda a, b: F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), eps=1e-8)
    p, q = F.softmax(s / T, 1), F.softmax(t / T, 1)
    return T * T * (beta * (1 - pearson(p, q).mean()) + gamma * (1 - pearson(p.T, q.T).mean()))


def attention(s, t):
    at = lambda x: F.normalize(x.pow(2).mean(1).flatten(1))
    return (at(s) - at(t)).pow(2).mean()


def similarity(s, t):
    gram = lambda x: F.normalize(x.flatten(1) @ x.flatten(1).T)
    return (gram(s) - gram(t)).pow(2).sum() / len(s) ** 2


def relations(s, t):
    def distances(x):
        d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        return d / d[d > 0].mean()

    def angles(x):
        e = F.normalize(x.unsqueeze(0) - x.unsqueeze(1), dim=2)
        return torch.bmm(e, e.transpose(1, 2))

    return 25 * F.smooth_l1_loss(distances(s), distances(t)) + 50 * F.smooth_l1_loss(angles(s), angles(t))


def values(s, t):
    relation = lambda v: F.log_softmax(v @ v.transpose(2, 3) / v.shape[3] ** 0.5, 3)
    return F.kl_div(relation(s), relation(t), reduction="sum", log_target=True) / (s.shape[0] * s.shape[1] * s.shape[2])


s, t, y = tensor(job["logits"][0]), tensor(job["logits"][1]), torch.tensor(job["labels"])
fs, ft = map(tensor, job["images"])
vs, vt = map(tensor, job["values"])
rs, rt = map(tensor, job["rows"])
terms = {
    "soft targets": (s, lambda: kd(s, t, 4.0)),
    "standardized": (s, lambda: kd(standardized(s), standardized(t), 2.0)),
    "decoupled": (s, lambda: decoupled(s, t, y, 4.0, 1.0, 8.0)),
    "correlation": (s, lambda: correlation(s, t, 4.0, 1.0, 1.0)),
    "hint": (rs, lambda: F.mse_loss(rs, rt)),
    "attention transfer": (fs, lambda: attention(fs, ft)),
    "similarity": (fs, lambda: similarity(fs, ft)),
    "relations": (rs, lambda: relations(rs, rt)),
    "value relations": (vs, lambda: values(vs, vt)),
}
results = {}
for name, (leaf, term) in terms.items():
    leaf.requires_grad_(True)
    loss = term()
    (gradient,) = torch.autograd.grad(loss, leaf)
    results[name] = {"loss": loss.item(), "gradient": gradient.flatten().tolist()}
json.dump(results, sys.stdout)
