"""Run a network in NumPy with naive loops in 64-bit arithmetic, from its definition in the papers' terms.

Usage: forward.py NETWORK.json

NETWORK.json: {"input": X.npy, "output": Y.npy, "layers": [..]}; paths are relative to the file. A layer is one of
  {"op": "conv", "weight": W.npy, "bias": B.npy, "stride": s, "pad": p}      W is [out, in, height, width]; cross-correlation
  {"op": "relu"}    {"op": "softmax"}
  {"op": "maxpool", "kernel": k, "stride": s, "ceil": bool}
  {"op": "lrn", "size": n, "alpha": a, "beta": b, "k": k}                    alpha is divided by n
  {"op": "flatten", "order": "CHW" or "HWC"}
  {"op": "fc", "weight": W.npy, "bias": B.npy}                               W is [out, in]
The input is one image [1, C, H, W]; the output is written as little-endian f32 with a leading 1.
"""

import json
import math
import os
import sys

import numpy as np


def conv(x, layer, load):
    w, b, s, p = load("weight"), load("bias"), layer["stride"], layer["pad"]
    x = np.pad(x, [(0, 0), (p, p), (p, p)])
    out, _, kh, kw = w.shape
    rows, cols = (x.shape[1] - kh) // s + 1, (x.shape[2] - kw) // s + 1
    y = np.zeros((out, rows, cols))
    for i in range(rows):
        for j in range(cols):
            y[:, i, j] = np.tensordot(w, x[:, i * s : i * s + kh, j * s : j * s + kw], axes=3) + b
    return y


def maxpool(x, layer):
    k, s = layer["kernel"], layer["stride"]
    count = lambda extent: (math.ceil if layer["ceil"] else math.floor)((extent - k) / s) + 1
    y = np.zeros((x.shape[0], count(x.shape[1]), count(x.shape[2])))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            y[:, i, j] = x[:, i * s : i * s + k, j * s : j * s + k].max(axis=(1, 2))
    return y


def lrn(x, layer):
    n, y = layer["size"], np.zeros_like(x)
    for c in range(x.shape[0]):
        first, last = max(0, c - (n - 1) // 2), min(x.shape[0] - 1, c + math.ceil((n - 1) / 2))
        squares = (x[first : last + 1] ** 2).sum(axis=0)
        y[c] = x[c] / (layer["k"] + layer["alpha"] / n * squares) ** layer["beta"]
    return y


def flatten(x, layer):
    return x.reshape(-1) if layer["order"] == "CHW" else x.transpose(1, 2, 0).reshape(-1)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def main():
    path = sys.argv[1]
    with open(path) as file:
        network = json.load(file)
    read = lambda name: np.load(os.path.join(os.path.dirname(path), name)).astype(np.float64)
    x = read(network["input"])[0]
    for layer in network["layers"]:
        load = lambda name: read(layer[name])
        op = layer["op"]
        if op == "conv":
            x = conv(x, layer, load)
        elif op == "relu":
            x = np.maximum(x, 0)
        elif op == "maxpool":
            x = maxpool(x, layer)
        elif op == "lrn":
            x = lrn(x, layer)
        elif op == "flatten":
            x = flatten(x, layer)
        elif op == "fc":
            x = load("weight") @ x + load("bias")
        elif op == "softmax":
            x = softmax(x)
        else:
            raise SystemExit(f"unknown layer {op}")
    np.save(os.path.join(os.path.dirname(path), network["output"]), np.ascontiguousarray(x[None].astype("<f4")))


if __name__ == "__main__":
    main()
