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
    whole = lambda *values: onnx.numpy_helper.from_array(np.array(values, np.int64))
    yield "empty_slice", "Reshape at node `r`", model(
        [node("Slice", ["none", "zero", "minus", "zero", "minus"], ["s"]), node("Reshape", ["x", "s"], ["y"], name="r")],
        [named(whole(), "none"), named(whole(0), "zero"), named(whole(-1), "minus")])
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    yield "batch_as_a_number", "a real number of the batch, which is open", model(
        [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Cast", ["n"], ["f"], to=TensorProto.FLOAT), node("Mul", ["x", "f"], ["y"])],
        [named(whole(0), "zero")], [images])
    yield "trained_norm", "BatchNormalization at node `bn`: it has the outputs of training", model(
        [node("BatchNormalization", ["x", "a", "a", "a", "a"], ["y", "m", "v", "sm", "sv"], name="bn")], [tensor("a", 3)], opset=9)
    yield "stretched_number", "a constant of the shape [1]", model(
        [node("Unsqueeze", ["x", "zero"], ["u"]), node("Mul", ["u", "half"], ["y"])],
        [named(whole(0), "zero"), onnx.numpy_helper.from_array(np.array([0.5], np.float32), "half")], [images])
    yield "copies", "the file copies more than", model(
        [node("ConstantOfShape", ["n"], ["c0"], value=whole(1))] + [node("Identity", [f"c{n}"], [f"c{n + 1}"]) for n in range(400)]
        + [node("Reshape", ["x", "c400"], ["y"])], [named(whole(1 << 22), "n")])
    nothing = onnx.numpy_helper.from_array(np.zeros((1 << 20, 0), np.float32), "nothing")
    yield "nothing_joined", "Reshape at node `r`", model(
        [node("Concat", ["nothing"] * 100_000, ["c"], axis=1), node("Shape", ["c"], ["s"]), node("Reshape", ["x", "s"], ["y"], name="r")], [nothing])
    deep = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "deep")
    deep.dims[:] = [4] + [1] * 100_000
    yield "many_axes", "and more extents", model([node("Add", ["deep", "deep"], ["c"]), node("Add", ["x", "c"], ["y"])], [deep])
    yield "many_inputs", "inputs of operators allowed", model([node("Concat", ["x"] * 1_000_000, ["y"], axis=1)])
    yield "many_outputs", "the operator is not supported", model(
        [node("Strange", ["x"], ["y"] + [f"o{n}" for n in range(200_000)], name="long" * 100_000)])


def captured():
    """What tf2onnx makes of the constants that a function captures, and a mean image."""
    node = helper.make_node
    mean = helper.make_tensor_value_info("normalization/Sub/y:0", TensorProto.FLOAT, [1, 1, 1, 3])
    images = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["unk__71", 8, 8, 3])
    taken = [node("Sub", ["input", "normalization/Sub/y:0"], ["s"]), node("Transpose", ["s"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "w"], ["y"])]
    yield "captured", "`normalization/Sub/y:0` is a constant of the model", model(taken, [tensor("w", 4, 3, 3, 3)], [images, mean])
    both = helper.make_tensor_value_info("right", TensorProto.FLOAT, ["n", 3, 8, 8])
    yield "two_images", "the graph has 2 inputs (`x`, `right`), expected one", model([node("Sub", ["x", "right"], ["y"])], (), [X, both])
    image = onnx.numpy_helper.from_array(np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8), "mean")
    wide = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1 << 22])
    half = onnx.numpy_helper.from_array(np.float32(0.5), "half")
    scaled = [node("Mul", ["x" if n == 0 else f"v{n}", "half"], [f"v{n + 1}"]) for n in range(999)] + [node("Relu", ["v999"], ["y"])]
    yield "many_scales", "the file scales and shifts by more than", model(scaled, [half], [wide])
    yield "mean_image", "give that with `--mean-image`", model([node("Sub", ["x", "mean"], ["s"], name="m"), node("Relu", ["s"], ["y"])], [image])


def named(made, name):
    made.name = name
    return made


def main():
    for name, reason, made in [*networks(), *captured()]:
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
