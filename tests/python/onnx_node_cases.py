"""Write the operator tests that the package onnx generates, as files for the importer.

Usage: onnx_node_cases.py DIRECTORY OPERATOR...

Every test of one node of these operators is written in the forms that apply:
  activation  the first input of real numbers is the network's, the others are written into the file: weights are constants
  shape       the same for Shape and Size, whose results do not depend on the input's numbers: they are made the bias of a layer of zeros
  network     small networks of this program's own, for what those tests leave out, with the outputs of the package's reference
              implementation
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
# Nothing is left to compute of these when their attributes say how things lie; a function that changes nothing stands behind them.
NOTHING = {"Cast", "Concat", "Dropout", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
# Operators whose activations the importer takes; all others are for constants alone.
CONSTANT_ONLY = {
    "Ceil", "Constant", "ConstantOfShape", "DequantizeLinear", "Equal", "Expand", "Floor", "Gather", "Max", "Min", "Neg", "ReduceProd", "Sqrt", "Where",
}
NOT_CONSTANT = {
    "AveragePool", "BatchNormalization", "Clip", "Conv", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "LRN", "LeakyRelu", "LogSoftmax",
    "MatMul", "MaxPool", "Pad", "ReduceMean", "ReduceSum", "Relu", "Sigmoid", "Softmax",
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
            made = given(model, inputs, infos[real].name)
            if op in NOTHING and len(made.graph.output) == 1:
                made.graph.node.append(helper.make_node("LeakyRelu", [made.graph.output[0].name], ["same"], alpha=1.0))
                made.graph.output[0].name = "same"
            yield "activation", made, array(inputs[real]), array(output)
        elif infos:
            yield "activation", given(model, inputs, infos[0].name), None, None
    if op not in NOT_CONSTANT and all(plain(value) for value in inputs):
        made = given(model, inputs, None)
        value = array(output)
        if value is not None and value.size > 0:
            made.graph.input.append(helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 1]))
            as_bias(made, value, "x0", [1, 1])
            yield "constant", made, np.ones((1, 1), np.float32), value


def networks():
    """(operator, name, opset, nodes, constants, shape of the input) of the networks of this program's own."""
    node, rows = helper.make_node, lambda *values: np.array(values, np.int64)
    weight = np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)
    image = [2, 3, 6, 5]
    for keep in (0, 1):
        yield "ReduceMean", f"attribute_keepdims_{keep}", 13, [node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=keep)], {}, image
        yield "ReduceMean", f"input_keepdims_{keep}", 18, [node("ReduceMean", ["x", "a"], ["y"], keepdims=keep)], {"a": rows(-1, -2)}, image
        yield "ReduceSum", f"attribute_keepdims_{keep}", 11, [node("ReduceSum", ["x"], ["y"], axes=[2, 3], keepdims=keep)], {}, image
        yield "ReduceSum", f"input_keepdims_{keep}", 13, [node("ReduceSum", ["x", "a"], ["y"], keepdims=keep)], {"a": rows(-2, 3)}, image
    conv = node("Conv", ["p", "w"], ["y"])
    yield "Pad", "opset_7", 7, [node("Pad", ["x"], ["p"], pads=[0, 0, 1, 2, 0, 0, 0, 1]), conv], {"w": weight}, image
    yield "Pad", "opset_17", 17, [node("Pad", ["x", "s"], ["p"]), conv], {"w": weight, "s": rows(0, 0, 1, 2, 0, 0, 0, 1)}, image
    yield "Pad", "opset_18_axes", 18, [node("Pad", ["x", "s", "", "a"], ["p"]), conv], {"w": weight, "s": rows(1, 2, 0, 1), "a": rows(2, -1)}, image
    relu = node("Relu", ["x"], ["r"])
    pool = node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    yield "Pad", "max_pool", 17, [relu, node("Pad", ["r", "s"], ["p"]), pool], {"s": rows(0, 0, 1, 1, 0, 0, 1, 1)}, image
    mean = node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], strides=[1, 2])
    yield "Pad", "average_pool", 17, [node("Pad", ["x", "s"], ["p"]), mean], {"s": rows(0, 0, 1, 1, 0, 0, 1, 1)}, image
    for name in ("Add", "Mul"):
        yield name, "two_activations", 17, [relu, node(name, ["r", "x"], ["y"])], {}, image
    channels = np.array([0.5, -2.0, 3.0], np.float32).reshape(3, 1, 1)
    for name in ("Add", "Sub", "Mul", "Div"):
        yield name, "channels", 17, [node(name, ["x", "c"], ["y"])], {"c": channels}, image
        yield name, "number", 17, [node(name, ["x", "c"], ["y"])], {"c": np.float32(0.75)}, image
        yield name, "elements_of_a_vector", 17, [node(name, ["x", "c"], ["y"])], {"c": np.arange(1, 7, dtype=np.float32)}, [2, 6]
    yield "Sub", "from_a_number", 17, [node("Sub", ["c", "x"], ["y"])], {"c": np.float32(1.5)}, image
    yield "Concat", "channels", 17, [relu, node("Concat", ["r", "x"], ["y"], axis=1)], {}, image
    yield "Concat", "vectors", 17, [relu, node("Concat", ["r", "x", "r"], ["y"], axis=-1)], {}, [2, 6]
    turn, back = node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]), node("Transpose", ["r"], ["y"], perm=[0, 3, 1, 2])
    yield "Transpose", "there_and_back", 17, [turn, node("Relu", ["t"], ["r"]), back], {}, image
    for opset in (11, 13):
        for name in ("Softmax", "LogSoftmax"):
            yield name, f"pixels_opset_{opset}", opset, [node(name, ["x"], ["y"], axis=1)], {}, [2, 7, 1, 1]
            yield name, f"default_opset_{opset}", opset, [node(name, ["x"], ["y"])], {}, [2, 7]
    squeeze = [node("GlobalAveragePool", ["x"], ["p"]), node("Squeeze", ["p"], ["y"], axes=[2, 3])]
    yield "Squeeze", "opset_11", 11, squeeze, {}, image
    squeeze = [node("GlobalMaxPool", ["x"], ["p"]), node("Squeeze", ["p", "a"], ["y"])]
    yield "Squeeze", "opset_13", 13, squeeze, {"a": rows(2, 3)}, image
    for opset in (7, 9, 17):
        gemm = node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0, transB=opset % 2)
        constants = {"w": weight.reshape(-1, 6)[:4] if opset % 2 else weight.reshape(-1, 6)[:4].T.copy(), "c": np.float32([1, 2, 3, 4])}
        yield "Gemm", f"opset_{opset}", opset, [gemm], constants, [2, 6]
    grouped = {"w": weight[:, :1].copy()[:3]}
    yield "Conv", "groups", 17, [node("Conv", ["x", "w"], ["y"], group=3, pads=[1, 1, 1, 1])], grouped, image
    yield "Conv", "dilations", 17, [node("Conv", ["x", "w"], ["y"], dilations=[2, 1], pads=[2, 0, 1, 1])], {"w": weight}, image
    yield "Clip", "opset_11", 11, [node("Clip", ["x", "a", "b"], ["y"])], {"a": np.float32(-0.5), "b": np.float32(0.25)}, image
    yield "Clip", "opset_7", 7, [node("Clip", ["x"], ["y"], min=-0.5, max=0.25)], {}, image
    yield "Clip", "relu_6", 17, [node("Clip", ["x", "a", "b"], ["y"])], {"a": np.float32(0), "b": np.float32(6)}, image
    yield "Dropout", "opset_7", 7, [relu, node("Dropout", ["r"], ["y"], ratio=0.5)], {}, image
    yield "Cast", "activations", 17, [relu, node("Cast", ["r"], ["d"], to=TensorProto.DOUBLE), node("Cast", ["d"], ["y"], to=TensorProto.FLOAT)], {}, image


def own(operators):
    """(operator, name, model, input, output) of the networks of this program's own."""
    from onnx.reference import ReferenceEvaluator

    for op, name, opset, nodes, constants, shape in networks():
        if op not in operators:
            continue
        x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
        graph = helper.make_graph(
            nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        yield op, f"{op.lower()}_{name}", model, x, ReferenceEvaluator(model).run(None, {"x": x})[0]


def main():
    directory, operators = sys.argv[1], set(sys.argv[2:])
    warnings.filterwarnings("ignore")
    from onnx.backend.test.case.node import collect_testcases

    def put(op, name, form, model, x, y, rtol, atol):
        stem = os.path.join(directory, f"{form}-{name}")
        onnx.save(model, stem + ".onnx")
        paths = []
        for kind, value in (("x", x), ("y", y)):
            path = None
            if value is not None:
                path = f"{stem}.{kind}.npy"
                np.save(path, value if kind == "x" else value.reshape(-1))
            paths.append(path)
        print(json.dumps({
            "name": name, "op": op, "form": form, "model": stem + ".onnx", "input": paths[0], "output": paths[1], "rtol": rtol, "atol": atol,
        }))

    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in operators:
            continue
        for form, model, x, y in forms(case):
            put(nodes[0].op_type, case.name, form, model, x, y, case.rtol, case.atol)
    for op, name, model, x, y in own(operators):
        # Sums of products in another order.
        put(op, name, "network", model, x, np.asarray(y), 1e-3, 1e-5)


if __name__ == "__main__":
    main()
