"""Write ONNX files that are no networks of the family, or no proper files.

Usage: onnx_foreign.py DIRECTORY

Writes NAME.onnx for each, and prints one JSON object a line: name, and a part of the reason for which it must be refused.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

DIRECTORY = sys.argv[1]
X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)


def put(name, reason, data):
    with open(os.path.join(DIRECTORY, name + ".onnx"), "wb") as file:
        file.write(data)
    print(json.dumps({"name": name, "reason": reason}))


def model(nodes, tensors=(), inputs=(X,), outputs=(Y,), opset=17, domains=()):
    graph = helper.make_graph(nodes, "graph", list(inputs), list(outputs), list(tensors))
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1) for domain in domains]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 8
    return made


def tensor(name, *shape):
    return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)


def networks():
    node = helper.make_node
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "sequence"])
    attention = [
        node("Gather", ["table", "tokens"], ["h"]), node("MatMul", ["h", "q"], ["a"]), node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["a", "t"], ["s"]), node("Softmax", ["s"], ["y"]),
    ]
    yield "transformer", "`tokens` holds numbers of the type Int64", model(attention, [tensor("table", 100, 16), tensor("q", 16, 16)], [tokens])
    yield "layer_norm", "LayerNormalization at node `norm`: the operator is not supported", model(
        [node("LayerNormalization", ["x", "s"], ["y"], name="norm")], [tensor("s", 8)])
    yield "attention", "it multiplies two activations", model(
        [node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["x", "t"], ["y"], name="scores")])
    zero = onnx.numpy_helper.from_array(np.array(0, np.uint8), "z")
    yield "quantised", "the network is quantised", model([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
                                                         [tensor("s"), zero])
    yield "contrib", "it is of the domain `com.microsoft`", model([node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft")], [tensor("w", 4, 3, 3, 3)],
                                                                  domains=["com.microsoft"])
    branch = helper.make_graph([node("Relu", ["x"], ["b"])], "branch", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    yield "control", "decides at run time", model([node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [condition])
    yield "up", "Resize at node `up`: the operator is not supported", model([node("Resize", ["x", "", "s"], ["y"], name="up")], [tensor("s", 4)])
    yield "two_inputs", "the graph has 2 inputs (`x`, `x2`), expected one", model(
        [node("Add", ["x", "x2"], ["y"])], inputs=[X, helper.make_tensor_value_info("x2", TensorProto.FLOAT, [1, 3, 8, 8])])
    volume = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8, 8])
    yield "volume", "its input has 5 axes, expected [N, C, H, W]", model([node("Conv", ["x", "w"], ["y"], name="c")], [tensor("w", 4, 3, 3, 3, 3)], [volume])
    yield "batch", "its first axis", model([node("Reshape", ["x", "s"], ["y"], name="all")], [onnx.numpy_helper.from_array(np.array([3, -1]), "s")])
    yield "training", "training_mode is true", model([node("Dropout", ["x", "r", "t"], ["y"])], [tensor("r"), onnx.numpy_helper.from_array(np.array(True), "t")])
    yield "constant", "does not depend on the input", model([node("Relu", ["x"], ["r"]), node("Shape", ["r"], ["y"])])


def main():
    for name, reason, made in networks():
        put(name, reason, made.SerializeToString())
    whole = model([helper.make_node("Conv", ["x", "w"], ["y"])], [tensor("w", 64, 3, 3, 3)])
    data = whole.SerializeToString()
    put("truncated", "not an ONNX file, or cut off", data[: len(data) // 2])
    put("noise", "not an ONNX file", bytes(range(255, 0, -1)) * 40)
    huge = model([helper.make_node("Conv", ["x", "w"], ["y"])], [tensor("w", 64, 3, 3, 3)])
    huge.graph.initializer[0].dims[:] = [1 << 40, 1 << 40, 3, 3]
    put("huge_claim", "which is too large", huge.SerializeToString())
    huge.graph.initializer[0].dims[:] = [1 << 20, 3, 3, 3]
    put("short_data", "has 1728 elements, expected", huge.SerializeToString())
    filled = model([helper.make_node("ConstantOfShape", ["s"], ["w"]), helper.make_node("Conv", ["x", "w"], ["y"])],
                   [onnx.numpy_helper.from_array(np.array([1 << 20, 3, 1 << 10, 1 << 10]), "s")])
    put("huge_constant", "too large", filled.SerializeToString())
    many = model([helper.make_node("Relu", ["x" if n == 0 else f"v{n}"], ["y" if n == 39999 else f"v{n + 1}"]) for n in range(40000)])
    put("many_nodes", "far more than a network of the family", many.SerializeToString())


if __name__ == "__main__":
    main()
