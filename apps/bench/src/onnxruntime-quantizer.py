"""Quantizes a model with onnxruntime's own tools: python onnxruntime-quantizer.py JOB.json

The job names the float model, a folder of calibration samples (raw float32 files), their shapes and what to make.
"""

import json
import sys
import time

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Samples(CalibrationDataReader):
    """Reads the samples one by one."""

    def __init__(self, job):
        self.left = iter(job["samples"])
        self.name = job["input"]
        self.shape = job["shape"]

    def get_next(self):
        path = next(self.left, None)
        if path is None:
            return None
        return {self.name: np.fromfile(path, dtype=np.float32).reshape(self.shape)}


def quantize(name, prepared, out, job):
    if name == "dynamic":
        types = ["MatMul", "Gemm"]
        quantize_dynamic(prepared, out, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=types)
    elif name == "static defaults":
        quantize_static(prepared, out, Samples(job))
    else:
        quantize_static(
            prepared,
            out,
            Samples(job),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=name == "static per channel",
        )


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    prepared = job["model"]
    if job["prepare"]:
        prepared = job["model"] + ".prepared.onnx"
        try:
            quant_pre_process(job["model"], prepared)
        except Exception:  # Its symbolic shape inference gives up on some models.
            quant_pre_process(job["model"], prepared, skip_symbolic_shape=True)
    times, failures = {}, {}
    for name, out in job["outputs"].items():
        start = time.perf_counter()
        try:
            quantize(name, prepared, out, job)
        except Exception as error:  # Its failure is a result of the comparison.
            failures[name] = f"{type(error).__name__}: {error}"
        times[name] = time.perf_counter() - start
    import onnxruntime

    print(json.dumps({"seconds": times, "failures": failures, "onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}))


main()
