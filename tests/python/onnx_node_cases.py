"""Write the operator tests that the package onnx generates, as files for the importer.

Usage: onnx_node_cases.py DIRECTORY OPERATOR...

Every test of one node of these operators is written in the forms that apply:
  activation  the first input of real numbers is the network's, the others are written into the file: weights are constants
  shape       the same for Shape and Size, whose results do not depend on the input's numbers: they are made the bias of a layer of zeros
  constant    all inputs are written into the file, and the result is the bias of a layer of zeros: what is evaluated at import
Prints one JSON object a line: name, op, form, model, input, output (arrays of f32; null where there is none), rtol, atol.
"""

import json
import os
import sys
import warnings

import numpy as np
import onnx
import onnx.numpy_helper
from onnx import TensorProto, helper

REAL = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
SHAPES = {"Shape", "Size"}
# Operators whose activations the importer takes; all others are for constants alone.
CONSTANT_ONLY = {
    "Ceil", "Constant", "ConstantOfShape", "Equal", "Expand", "Floor", "Gather", "Max", "Min", "Neg", "ReduceProd", "Sqrt", "Where",
}
NOT_CONSTANT = {
    "AveragePool", "BatchNormalization", "Clip", "Conv", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "LRN", "LeakyRelu", "LogSoftmax",
    "MatMul", "MaxPool", "Pad", "ReduceMean", "Relu", "Sigmoid", "Softmax",
}


def tensor(value, name):
    if isinstance(value, TensorProto):
        made = TensorProto()
        made.CopyFrom(value)
        made.name = name
        return made
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def array(value):
    """The numbers as f32, or None for what has none."""
    if isinstance(value, TensorProto):
        value = onnx.numpy_helper.to_array(value)
    try:
        return np.ascontiguousarray(np.asarray(value).astype(np.float32))
    except (TypeError, ValueError):
        return None


def plain(value):
    return isinstance(value, (np.ndarray, np.generic, TensorProto, int, float))


def given(model, data, keep):
    """The model with all inputs but `keep` as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.input[:]
    for info, value in zip(model.graph.input, data):
        if info.name == keep or not plain(value):
            made.graph.input.append(info)
        else:
            made.graph.initializer.append(tensor(value, info.name))
    return made


def as_bias(model, output, x, shape):
    """A layer of zeros behind `x` with the result as its bias: y = 0 x + result."""
    graph = model.graph
    count = max(1, int(np.prod(np.shape(output))))
    features = int(np.prod(shape[1:], dtype=np.int64))
    result = model.graph.output[0].name
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((features, count), np.float32), "zeros"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1], np.int64), "row"))
    graph.node.append(helper.make_node("Cast", [result], ["real"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Reshape", ["real", "row"], ["bias"]))
    graph.node.append(helper.make_node("Flatten", [x], ["flat"], axis=1))
    graph.node.append(helper.make_node("Gemm", ["flat", "zeros", "bias"], ["layer"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("layer", TensorProto.FLOAT, [shape[0], count]))


def forms(case):
    """(form, model, input, output) of a test, its first set of data."""
    model, (inputs, outputs) = case.model, case.data_sets[0]
    op = model.graph.node[0].op_type
    infos = model.graph.input
    output = outputs[0]
    kinds = [info.type.tensor_type.elem_type if info.type.HasField("tensor_type") else None for info in infos]
    real = next((index for index, kind in enumerate(kinds) if kind in REAL), None)
    if op in SHAPES:
        if real is not None:
            made = given(model, inputs, infos[real].name)
            x = array(inputs[real])
            as_bias(made, output, infos[real].name, x.shape)
            yield "shape", made, x, np.tile(array(output).reshape(1, -1), (x.shape[0], 1))
    elif op not in CONSTANT_ONLY:
        if real is not None:
            yield "activation", given(model, inputs, infos[real].name), array(inputs[real]), array(output)
        elif infos:
            yield "activation", given(model, inputs, infos[0].name), None, None
    if op not in NOT_CONSTANT and all(plain(value) for value in inputs):
        made = given(model, inputs, None)
        value = array(output)
        if value is not None and value.size > 0:
            made.graph.input.append(helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 1]))
            as_bias(made, value, "x0", [1, 1])
            yield "constant", made, np.ones((1, 1), np.float32), value


def main():
    directory, operators = sys.argv[1], set(sys.argv[2:])
    warnings.filterwarnings("ignore")
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in operators:
            continue
        for form, model, x, y in forms(case):
            stem = os.path.join(directory, f"{form}-{case.name}")
            onnx.save(model, stem + ".onnx")
            paths = []
            for kind, value in (("x", x), ("y", y)):
                path = None
                if value is not None:
                    path = f"{stem}.{kind}.npy"
                    np.save(path, value if kind == "x" else value.reshape(-1))
                paths.append(path)
            print(json.dumps({
                "name": case.name, "op": nodes[0].op_type, "form": form, "model": stem + ".onnx",
                "input": paths[0], "output": paths[1], "rtol": case.rtol, "atol": case.atol,
            }))


if __name__ == "__main__":
    main()
