"""Write small networks in the manner of the exporters in use, and what ONNX Runtime makes of them.

Usage: onnx_models.py DIRECTORY

Writes NAME.onnx, NAME.x.npy and NAME.y.npy (the first output) for each, and prints one JSON object a line: name, arguments (for every
command), shown (texts that `vgg show` must print), declared (whether the notation has words for it).
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

DIRECTORY = sys.argv[1]
RANDOM = np.random.default_rng(7)


class Net:
    """A graph under construction: `value` is the last result, `channels` what it has of them."""

    def __init__(self, shape, opset=17, ir_version=8, name="main_graph", kind=TensorProto.FLOAT):
        self.nodes, self.tensors, self.infos = [], [], []
        self.opset, self.ir_version, self.name = opset, ir_version, name
        self.input = helper.make_tensor_value_info("input", kind, shape)
        self.value, self.count = "input", 0
        self.channels = shape[1]

    def const(self, array, name=None):
        name = name or f"const_{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, name=None):
        fan = int(np.prod(shape[1:])) or 1
        return self.const((RANDOM.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32), name)

    def row(self, count, around=0.0, spread=0.2, name=None):
        return self.const((around + spread * RANDOM.standard_normal(count)).astype(np.float32), name)

    def op(self, kind, *others, inputs=None, outputs=None, name=None, **attributes):
        self.count += 1
        outputs = outputs or [f"{kind.lower()}_{self.count}_output_0"]
        inputs = inputs or [self.value, *others]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name or f"/{kind}_{self.count}", **attributes))
        self.value = outputs[0]
        return self

    def conv(self, out, kernel=3, group=1, bias=True, name=None, **attributes):
        if "pads" not in attributes and "auto_pad" not in attributes:
            attributes["pads"] = [kernel // 2] * 4
        others = [self.weight(out, self.channels // group, kernel, kernel)]
        if bias:
            others.append(self.row(out))
        self.op("Conv", *others, kernel_shape=[kernel, kernel], group=group, name=name, **attributes)
        self.channels = out
        return self

    def relu(self):
        return self.op("Relu")

    def pool(self, **attributes):
        return self.op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], **attributes)

    def bn(self, channels=None):
        count = channels or self.channels
        others = [self.row(count, 1.0), self.row(count), self.row(count), self.const(np.abs(RANDOM.standard_normal(count)).astype(np.float32) + 0.5)]
        return self.op("BatchNormalization", *others, epsilon=1e-3)

    def gemm(self, features, out, name=None):
        return self.op("Gemm", self.weight(out, features), self.row(out), alpha=1.0, beta=1.0, transB=1, name=name)

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def model(self, outputs=None, as_inputs=False):
        names = outputs or [self.value]
        outputs = [helper.make_tensor_value_info(name, self.input.type.tensor_type.elem_type, None) for name in names]
        inputs = [self.input]
        if as_inputs:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.tensors]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, self.tensors)
        model = helper.make_model(graph, producer_name="imitation", opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = self.ir_version
        return onnx.shape_inference.infer_shapes(model)


def write(name, model, shape, arguments=(), shown=(), declared=True, save=None, dtype=np.float32):
    path = os.path.join(DIRECTORY, name + ".onnx")
    if save:
        save(model, path)
    else:
        onnx.save(model, path)
    x = RANDOM.standard_normal(shape).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    y = session.run(None, {entry.name: x.astype(dtype)})[0].astype(np.float32)
    # Networks take and give their channels first here, whatever the file does.
    if "NHWC" in shown:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    np.save(os.path.join(DIRECTORY, name + ".x.npy"), x)
    np.save(os.path.join(DIRECTORY, name + ".y.npy"), y)
    print(json.dumps({"name": name, "arguments": list(arguments), "shown": list(shown), "declared": declared}))


def features(net, plan=(8, "M", 16, 16, "M"), bn=False):
    """As torchvision names it."""
    for index, out in enumerate(plan):
        if out == "M":
            net.pool(ceil_mode=0, name=f"/features/features.{index}/MaxPool")
            continue
        net.conv(out, dilations=[1, 1], strides=[1, 1], name=f"/features/features.{index}/Conv")
        if bn:
            net.bn()
        net.relu()
    return net


def torchvision():
    """The TorchScript exporter, batch open, adaptive pooling to the size that is there."""
    net = features(Net(["batch", 3, 16, 16]))
    net.op("AveragePool", kernel_shape=[1, 1], strides=[1, 1], name="/avgpool/AveragePool").op("Flatten", axis=1)
    net.gemm(256, 32, name="/classifier/classifier.0/Gemm").relu().op("Identity").gemm(32, 4)
    write("torchvision", net.model(), [3, 3, 16, 16], shown=["/classifier/classifier.0/Gemm", "/features/features.0/Conv"])


def torch_view():
    """`x.view(x.size(0), -1)` of the TorchScript exporter: the shape is computed."""
    net = features(Net(["batch", 3, 16, 16]), bn=True)
    maps = net.value
    net.op("Shape", name="shape").op("Gather", net.const(np.array(0, np.int64)), axis=0).op("Unsqueeze", net.ints(0))
    net.op("Concat", net.ints(-1), axis=0)
    net.op("Reshape", inputs=[maps, net.value]).gemm(256, 10)
    write("torch_view", net.model(), [2, 3, 16, 16], shown=["batch norm folded"])


def dynamo():
    """The exporter of torch.export: opset 20, attributes written out, a reshape to constant extents."""
    net = Net([1, 3, 15, 15], opset=20, ir_version=10)
    net.conv(8, dilations=[1, 1], strides=[2, 2], auto_pad="NOTSET", pads=[1] * 4).bn().relu()
    net.op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0] * 4, dilations=[1, 1], ceil_mode=1, storage_order=0, auto_pad="NOTSET")
    net.op("ReduceMean", net.ints(-1, -2), keepdims=1).op("Reshape", net.ints(1, 8), allowzero=1).gemm(8, 5)
    write("dynamo", net.model(), [1, 3, 15, 15], shown=["batch norm folded"])


def keras():
    """tf2onnx: channels last, transposes around the convolutions, products and additions in the classifier."""
    net = Net(["unk__42", 16, 16, 3], opset=13, ir_version=7, name="tf2onnx")
    net.channels = 3
    net.op("Transpose", perm=[0, 3, 1, 2])
    net.conv(8, bias=False, auto_pad="SAME_UPPER").op("Add", net.const(RANDOM.standard_normal((1, 8, 1, 1)).astype(np.float32))).relu()
    net.conv(8, strides=[1, 1]).relu().pool()
    net.op("Transpose", perm=[0, 2, 3, 1]).op("Pad", net.ints(0, 1, 1, 0, 0, 1, 1, 0)).op("Transpose", perm=[0, 3, 1, 2])
    net.conv(12, pads=[0] * 4).relu().pool().op("Transpose", perm=[0, 2, 3, 1])
    net.op("Reshape", net.ints(-1, 192))
    net.op("MatMul", net.weight(192, 20)).op("Add", net.row(20)).relu()
    net.op("MatMul", net.weight(20, 6)).op("Add", net.row(6)).op("Softmax", axis=1)
    write("keras", net.model(), [2, 16, 16, 3], shown=["NHWC"])


def keras_mean():
    """The same with the mean of the feature maps as its head."""
    net = Net(["n", 16, 16, 3], opset=15, name="tf2onnx")
    net.channels = 3
    net.op("Div", net.const(np.float32(255))).op("Sub", net.row(3)).op("Transpose", perm=[0, 3, 1, 2]).conv(8, pads=[0] * 4).relu().op("Transpose", perm=[0, 2, 3, 1])
    net.op("ReduceMean", axes=[1, 2], keepdims=0).op("MatMul", net.weight(8, 5)).op("Add", net.row(5))
    write("keras_mean", net.model(), [2, 16, 16, 3], shown=["NHWC"])


def old():
    """Opset 7, version 3 of the format: initialisers are inputs as well."""
    net = Net([1, 3, 16, 16], opset=7, ir_version=3)
    net.conv(8).bn().relu().op("LRN", alpha=5e-4, beta=0.75, bias=2.0, size=5).pool(pads=[0] * 4)
    net.op("Dropout", ratio=0.5).op("Reshape", net.const(np.array([1, -1], np.int64), "OC2_DUMMY_1")).gemm(512, 10)
    net.op("Softmax")
    write("old", net.model(as_inputs=True), [1, 3, 16, 16], shown=["batch norm folded"])


def open_extents():
    """Height and width open as well."""
    net = features(Net(["batch", 3, "height", "width"]))
    net.op("GlobalAveragePool").op("Flatten", axis=1).gemm(16, 7)
    write("open_extents", net.model(), [2, 3, 20, 12], arguments=["--input-shape", "3x20x12"])


def norm_first():
    """Batch normalisation before the convolutions: of the input, where padding keeps it apart, and before a layer that takes it."""
    net = Net([1, 3, 12, 12]).bn(3).conv(8).relu().bn().conv(8, pads=[0] * 4).relu().bn().pool().op("Flatten", axis=1)
    net.gemm(200, 10).op("LogSoftmax", axis=1)
    write("norm_first", net.model(), [1, 3, 12, 12], declared=False, shown=["batch norm folded", "cannot say"])


def external():
    net = features(Net([1, 3, 16, 16])).op("Flatten", axis=1).gemm(256, 10)

    def save(model, path):
        convert_model_to_external_data(model, location="external.data", size_threshold=0, convert_attribute=False)
        onnx.save(model, path)

    write("external", net.model(), [1, 3, 16, 16], save=save)


def in_safetensors():
    """Tensors inside a safetensors file: external data like any other."""
    net = features(Net([1, 3, 16, 16])).op("Flatten", axis=1).gemm(256, 10)
    model = net.model()

    def save(model, path):
        entries, data = {}, b""
        for tensor in model.graph.initializer:
            raw = onnx.numpy_helper.to_array(tensor).tobytes()
            entries[tensor.name] = {"dtype": "F32", "shape": list(tensor.dims), "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        with open(os.path.join(DIRECTORY, "weights.safetensors"), "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + data)
        for tensor in model.graph.initializer:
            begin, end = entries[tensor.name]["data_offsets"]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights.safetensors"), ("offset", 8 + len(header) + begin), ("length", end - begin)):
                tensor.external_data.add(key=key, value=str(value))
        onnx.save(model, path)

    write("in_safetensors", model, [1, 3, 16, 16], save=save)


def residual():
    net = Net(["n", 4, 10, 10]).conv(8).relu()
    left = net.value
    net.conv(8).bn().op("Add", left).relu()
    joined = net.value
    net.conv(4, 1).relu()
    small = net.value
    net.op("Concat", inputs=[small, joined], axis=1)
    net.channels = 12
    net.conv(8).op("GlobalMaxPool").op("Squeeze", net.ints(2, 3)).gemm(8, 6)
    write("residual", net.model(outputs=[net.value, small]), [2, 4, 10, 10], declared=False, shown=["outputs"])


def activations():
    net = Net([1, 8, 12, 11])
    net.conv(16, group=2).op("Clip", net.const(np.float32(0)), net.const(np.float32(6)))
    net.conv(16, group=16, strides=[2, 2]).op("LeakyRelu", alpha=0.1)
    net.conv(8, dilations=[2, 2], pads=[2, 1, 0, 2]).op("Sigmoid")
    net.op("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    net.conv(8, 2, auto_pad="SAME_LOWER", strides=[1, 2]).op("GlobalAveragePool").op("Flatten").gemm(8, 3)
    write("activations", net.model(), [1, 8, 12, 11], declared=False, shown=["cannot say"])


def half():
    """A network of half-precision numbers."""
    net = features(Net(["n", 3, 16, 16], kind=TensorProto.FLOAT16)).op("Flatten").gemm(256, 10)
    for tensor in net.tensors:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    write("half", net.model(), [1, 3, 16, 16], shown=["f16 weights converted to f32"], dtype=np.float16)


def computed():
    """Weights and shapes that the file computes, scales and shifts in all places."""
    net = Net(["n", 3, 16, 16], opset=12, ir_version=7)
    net.conv(8, bias=False)
    net.op("Mul", net.const(RANDOM.standard_normal((8, 1, 1)).astype(np.float32))).op("Add", net.const(RANDOM.standard_normal((1, 8, 1, 1)).astype(np.float32)))
    net.relu().pool().op("Div", net.const(np.float32(2.0)))
    net.op("Pad", net.ints(0, 0, 1, 1, 0, 0, 1, 1), net.const(np.float32(0)))
    value = net.value
    net.op("Constant", inputs=[], outputs=["extents"], value=onnx.numpy_helper.from_array(np.array([8, 8, 3, 3], np.int64)))
    net.nodes[-1].ClearField("input")
    net.op("ConstantOfShape", inputs=["extents"], outputs=["filled"], value=onnx.numpy_helper.from_array(np.array([0.05], np.float32)))
    net.op("Transpose", inputs=["filled"], outputs=["turned"], perm=[1, 0, 2, 3]).op("Identity", inputs=["turned"], outputs=["weight"])
    net.op("Conv", inputs=[value, "weight"], kernel_shape=[3, 3]).op("Sub", net.row(1)).relu()
    net.op("Transpose", perm=[0, 2, 3, 1]).op("Transpose", perm=[0, 3, 1, 2])
    net.op("AveragePool", kernel_shape=[8, 8]).op("Squeeze", axes=[2, 3])
    net.op("MatMul", net.weight(8, 6)).op("Add", net.row(6)).op("Dropout").op("Cast", to=TensorProto.FLOAT)
    net.op("Softmax", axis=-1)
    write("computed", net.model(), [2, 3, 16, 16], shown=["dropout removed"])


def vgg_a():
    """Configuration A with batch normalisation, four classes and small images with channels last."""
    net = Net([1, 32, 32, 3], opset=13, name="VggA")
    net.channels = 3
    net.op("Transpose", perm=[0, 3, 1, 2])
    for out in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if out == "M":
            net.pool()
        else:
            net.conv(out).bn().relu()
    net.op("Transpose", perm=[0, 2, 3, 1]).op("Reshape", net.ints(-1, 512))
    for inputs, out in ((512, 4096), (4096, 4096), (4096, 4)):
        net.op("MatMul", net.weight(inputs, out)).op("Add", net.row(out))
        if out == 4096:
            net.relu()
    write("vgg_a", net.model(), [1, 32, 32, 3], shown=["vgg-a with 4 classes, batch norm folded, input 32x32, NHWC, without softmax", "NHWC"])


def keras_colours():
    """`preprocess_input` of Keras: colours sliced out and joined blue first, a mean subtracted, channels last."""
    net = Net(["unk__9", 16, 16, 3], opset=15, name="tf2onnx")
    net.channels = 3
    parts = []
    for start in (2, 1, 0):
        net.op("Slice", inputs=["input", net.ints(start), net.ints(start + 1), net.ints(3)])
        parts.append(net.value)
    net.op("Concat", inputs=parts, axis=3).op("Add", net.const(np.array([[[[-1.03, -1.16, -1.23]]]], np.float32)))
    net.op("Transpose", perm=[0, 3, 1, 2]).conv(8).relu().pool().op("Transpose", perm=[0, 2, 3, 1]).op("Reshape", net.ints(-1, 512))
    net.op("MatMul", net.weight(512, 5)).op("Add", net.row(5))
    write("keras_colours", net.model(), [2, 16, 16, 3], declared=False, shown=["NHWC", "order of channels taken into weights"])


def torch_colours():
    """`x[:, [2, 1, 0]]` and `x.flip(1)` of the TorchScript exporter, and `x[:, [1, 2, 0]]` of torch.export's, one after the other."""
    net = Net(["batch", 3, 16, 16], opset=18)
    net.op("Gather", net.ints(2, 1, 0), axis=1)
    net.op("Slice", net.ints(-1), net.ints(-(2**63) + 1), net.ints(1), net.ints(-1))
    net.op("Transpose", perm=[1, 0, 2, 3]).op("GatherND", net.const(np.array([[1], [2], [0]], np.int64)), batch_dims=0)
    net.op("Transpose", perm=[1, 0, 2, 3])
    features(net).op("Flatten", axis=1).gemm(256, 4)
    write("torch_colours", net.model(), [2, 3, 16, 16], shown=["order of channels taken into weights"])


def torch_stack():
    """`torch.stack([x[:, 2], x[:, 1], x[:, 0]], 1)`, each with a scale of its own, and the largest pixels as the head."""
    net = Net(["s77", 3, 16, 16], opset=18, ir_version=10)
    parts = []
    for channel in (2, 1, 0):
        net.op("Gather", inputs=["input", net.const(np.array(channel, np.int64))], axis=1)
        net.op("Mul", net.const(np.float32(0.5 + channel))).op("Unsqueeze", net.ints(1))
        parts.append(net.value)
    net.op("Concat", inputs=parts, axis=1)
    features(net).op("ReduceMax", net.ints(-2, -1), keepdims=1).op("Reshape", net.ints(-1, 16), allowzero=1).gemm(16, 4)
    write("torch_stack", net.model(), [2, 3, 16, 16], declared=False, shown=["scales folded into weights", "GlobalMaxPool"])


def windows(extent, count):
    """Where the windows of adaptive pooling begin, and how long they are."""
    starts = [index * extent // count for index in range(count)]
    return starts, [-(-(index + 1) * extent // count) - start for index, start in enumerate(starts)]


def adaptive():
    """Adaptive pooling as torch.export takes it apart: windows gathered, where they differ in length masked, summed and divided."""
    folded, equal = "pooling to another size folded into the weights behind it", "pooling to another size made one of equal windows"
    for name, extent, count, shown in (("adaptive", 4, 3, equal), ("adaptive_larger", 4, 7, folded), ("adaptive_uneven", 5, 3, folded)):
        net = features(Net(["s77", 3, 4 * extent, 4 * extent], opset=18, ir_version=10), plan=(8, "M", 16, "M"))
        starts, lengths = windows(extent, count)
        most = max(lengths)
        taken = np.minimum(np.array(starts)[:, None] + np.arange(most), extent - 1)
        index = np.stack(np.broadcast_arrays(taken[:, :, None, None], taken[None, None]), -1).astype(np.int64)
        net.op("Transpose", perm=[2, 3, 0, 1]).op("GatherND", net.const(index), batch_dims=0).op("Transpose", perm=[4, 5, 0, 1, 2, 3])
        if len(set(lengths)) == 1:
            net.op("ReduceMean", net.ints(-3, -1), keepdims=0, noop_with_empty_axes=0)
        else:
            outside = np.arange(most) >= np.array(lengths)[:, None]
            zero = net.const(np.float32(0))
            net.op("Where", inputs=[net.const(outside[:, :, None, None]), zero, net.value])
            net.op("Where", inputs=[net.const(outside), zero, net.value])
            pooled, total = net.value, None
            for row in range(most):
                part = net.op("Gather", inputs=[pooled, net.const(np.array(row, np.int64))], axis=3).value
                for column in range(most):
                    net.op("Gather", inputs=[part, net.const(np.array(column, np.int64))], axis=4)
                    if total:
                        net.op("Add", inputs=[total, net.value])
                    total = net.value
            net.op("Div", net.const(np.outer(lengths, lengths).astype(np.float32)))
        net.op("Reshape", net.ints(-1, 16 * count * count), allowzero=1).gemm(16 * count * count, 12).relu().gemm(12, 4)
        write(name, net.model(), [2, 3, 4 * extent, 4 * extent], shown=[shown])


def reductions():
    """The mean of the feature maps in steps: `x.mean(3).mean(2)`, `x.sum((2, 3)) / n`, `x.flatten(2).mean(2)`, and channels last."""
    def net():
        return features(Net(["batch", 3, 16, 12], opset=18), plan=(8, "M", 16))

    def head(name, made, **given):
        write(name, made.gemm(16, 5).model(), [2, 3, 16, 12], **given)

    for name, first, second, keep in (("columns_rows", -1, -1, 0), ("rows_columns", 2, 2, 0), ("kept_rows", 2, 3, 1)):
        made = net()
        made.op("ReduceMean", made.ints(first), keepdims=keep).op("ReduceMean", made.ints(second), keepdims=keep)
        head(name, made.op("Flatten", axis=1) if keep else made)
    made = net()
    head("sum", made.op("ReduceSum", made.ints(2, 3), keepdims=0).op("Div", made.const(np.float32(48))))
    made = net()
    made.op("ReduceSum", made.ints(3), keepdims=0).op("ReduceSum", made.ints(2), keepdims=0)
    head("sums", made)
    made = net()
    made.op("Reshape", made.ints(0, 16, -1))
    head("flat_pixels", made.op("ReduceMean", made.ints(2), keepdims=0))
    made = Net(["n", 16, 12, 3], opset=13, name="tf2onnx")
    made.channels = 3
    made.op("Transpose", perm=[0, 3, 1, 2]).conv(8).relu().op("Transpose", perm=[0, 2, 3, 1])
    made.op("ReduceMean", axes=[1], keepdims=0).op("ReduceMean", axes=[1], keepdims=0).op("MatMul", made.weight(8, 5))
    write("keras_steps", made.model(), [2, 16, 12, 3], shown=["NHWC"])


def main():
    for make in (torchvision, torch_view, dynamo, keras, keras_mean, old, open_extents, norm_first, external, in_safetensors, residual,
                 activations, half, computed, vgg_a, keras_colours, torch_colours, torch_stack, adaptive,
                 reductions):
        make()


if __name__ == "__main__":
    main()
