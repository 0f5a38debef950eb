"""One inference runtime in a process of its own, for `cargo xtask bench --peers`.

    worker.py convert PEER MODEL.onnx DIRECTORY      writes what the peer reads to DIRECTORY, for those that do not read ONNX
    worker.py serve PEER MODEL INPUT.npy THREADS     where MODEL is an ONNX file or such a DIRECTORY

`serve` loads the model, computes once, and writes one line of JSON: {"version", "load_ms", "first_ms", "peak_rss_bytes", "output"}. For
every line on standard input it computes once more and answers {"ms"}. It ends when standard input does.
All arithmetic and all weights are f32.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np


class Onnxruntime:
    def __init__(self, model, x, threads):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Its threads must not spin on while another runtime has its turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: x}
        self.version = ort.__version__

    def run(self):
        return self.session.run(None, self.feed)[0]


class Openvino:
    def __init__(self, model, x, threads):
        import openvino

        properties = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.request = openvino.Core().compile_model(str(model), "CPU", properties).create_infer_request()
        self.x = x
        self.version = openvino.__version__.split("-")[0]

    def run(self):
        (output,) = self.request.infer({0: self.x}).values()
        return output


class Ncnn:
    """It has no batches: images are computed one after the other."""

    def __init__(self, model, x, threads):
        import ncnn

        self.ncnn, self.net, self.images = ncnn, ncnn.Net(), list(x)
        self.net.opt.num_threads = threads
        self.net.opt.use_fp16_packed = False
        self.net.opt.use_fp16_storage = False
        self.net.opt.use_fp16_arithmetic = False
        self.net.opt.use_bf16_storage = False
        for load, name in [(self.net.load_param, "model.ncnn.param"), (self.net.load_model, "model.ncnn.bin")]:
            if load(str(model / name)) != 0:
                raise RuntimeError(f"ncnn cannot load {name}")
        self.version = ncnn.__version__

    @staticmethod
    def convert(model, directory):
        # It writes its files beside the model. Importing the package would import torch.
        link = directory / "model.onnx"
        os.link(model, link)
        program = pathlib.Path(importlib.util.find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
        program.chmod(0o755)
        subprocess.run([program, link, "fp16=0"], cwd=directory, check=True, stdout=sys.stderr)
        for path in directory.glob("model*"):
            if ".ncnn." not in path.name:
                path.unlink()

    def run(self):
        outputs = []
        for image in self.images:
            extractor = self.net.create_extractor()
            extractor.input("in0", self.ncnn.Mat(image))
            status, output = extractor.extract("out0")
            if status != 0:
                raise RuntimeError("ncnn cannot compute out0")
            outputs.append(np.array(output))
        return np.stack(outputs)


class Mnn:
    def __init__(self, model, x, threads):
        import MNN

        self.expr = MNN.expr
        settings = {"backend": "CPU", "precision": "high", "numThread": threads}
        runtime = MNN.nn.create_runtime_manager((settings,))
        self.net = MNN.nn.load_module_from_file(str(model / "model.mnn"), [], [], runtime_manager=runtime)
        self.input = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW)
        self.input.write(x.flatten().tolist())
        self.version = MNN.version()

    @staticmethod
    def convert(model, directory):
        # The module behind MNN.tools.mnnconvert: that one installs packages and reports its use over the network.
        import _tools

        target = directory / "model.mnn"
        _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(target), "--bizCode", "vgg"])
        if not target.is_file():
            raise RuntimeError("MNN's converter has written nothing")

    def run(self):
        output = self.net.forward(self.expr.convert(self.input, self.expr.NC4HW4))
        return self.expr.convert(output, self.expr.NCHW).read()


PEERS = {"onnxruntime": Onnxruntime, "openvino": Openvino, "ncnn": Ncnn, "mnn": Mnn}


def peak_rss():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def serve(peer, model, input_file, threads):
    # Some runtimes write to standard output; that is ours alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    x = np.load(input_file)

    def timed(work):
        start = time.perf_counter()
        result = work()
        return result, (time.perf_counter() - start) * 1e3

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    runtime, load = timed(lambda: PEERS[peer](model, x, threads))
    output, first = timed(runtime.run)
    output = np.asarray(output, dtype=np.float32).reshape(-1).tolist()
    answer(version=runtime.version, load_ms=load, first_ms=first, peak_rss_bytes=peak_rss(), output=output)
    for _ in sys.stdin:
        answer(ms=timed(runtime.run)[1])


def main():
    task, peer, model, *rest = sys.argv[1:]
    if task == "convert":
        (directory,) = rest
        PEERS[peer].convert(pathlib.Path(model), pathlib.Path(directory))
    else:
        input_file, threads = rest
        serve(peer, pathlib.Path(model), input_file, int(threads))


main()
