"""Give the inputs and outputs of the light models that come with the package onnx.

Usage: onnx_light_models.py DIRECTORY NAME...

Writes NAME.x.npy, the input that the package's own runner makes for these models, and NAME.y.npy, the output that comes with them, and
prints the path of each model.
"""

import os
import sys

import numpy as np
import onnx
import onnx.backend.test
import onnx.numpy_helper


def main():
    directory = sys.argv[1]
    data = os.path.join(os.path.dirname(onnx.backend.test.__file__), "data", "light")
    for name in sys.argv[2:]:
        path = os.path.join(data, f"light_{name}.onnx")
        graph = onnx.load(path).graph
        given = {tensor.name for tensor in graph.initializer}
        (entry,) = [info for info in graph.input if info.name not in given]
        shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        count = int(np.prod(shape))
        np.save(os.path.join(directory, f"{name}.x.npy"), (np.arange(count).reshape(shape) / count).astype(np.float32))
        with open(os.path.join(data, f"light_{name}_output_0.pb"), "rb") as file:
            output = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(file.read()))
        np.save(os.path.join(directory, f"{name}.y.npy"), output.astype(np.float32))
        print(path)


if __name__ == "__main__":
    main()
