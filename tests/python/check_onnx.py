"""Judge ONNX models with onnx.checker and strict shape inference.

Usage: check_onnx.py MODEL...

Prints one JSON object a line for each model, in order: path, ok, error (null when ok), opset (of the default domain) and ir_version (null
when the file cannot be read). Exits with 0 when every model was judged, whatever the verdicts.
"""

import json
import sys

import onnx
import onnx.checker
import onnx.shape_inference


def infer_shapes(model: onnx.ModelProto) -> None:
    """Strict shape inference with data propagation; raises when a shape cannot be inferred or contradicts the file."""
    # Large tensors are weights: inference needs their shapes alone, and the copies it makes of a model are then small. Small ones
    # may be shapes, whose values data propagation follows.
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {value.name for value in inferred.graph.value_info if value.type.tensor_type.HasField("shape")}
    known.update(value.name for value in inferred.graph.output if value.type.tensor_type.HasField("shape"))
    for node in inferred.graph.node:
        if node.output and node.output[0] and node.output[0] not in known:
            raise ValueError(f"no shape is inferred for {node.output[0]!r}, the output of {node.op_type} {node.name!r}")


def check(path: str) -> dict:
    verdict = {"path": path, "ok": False, "error": None, "opset": None, "ir_version": None}
    try:
        # Given a path, the checker also looks at external data, and has no limit of 2 GiB.
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path, load_external_data=False)
        describe(verdict, model)
        infer_shapes(model)
        verdict["ok"] = True
    except Exception as error:  # noqa: BLE001 - whatever onnx raises is the verdict
        verdict["error"] = f"{type(error).__name__}: {error}"
        if verdict["ir_version"] is None:
            try:
                describe(verdict, onnx.load(path, load_external_data=False))
            except Exception:  # noqa: BLE001 - the verdict says already that the file is bad
                pass
    return verdict


def describe(verdict: dict, model: onnx.ModelProto) -> None:
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    verdict["opset"] = versions[0] if versions else None
    verdict["ir_version"] = model.ir_version


def main() -> int:
    for path in sys.argv[1:]:
        print(json.dumps(check(path)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
