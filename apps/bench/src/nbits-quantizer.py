"""Quantizes weights to 4 bits with onnxruntime's own tools: python nbits-quantizer.py JOB.json

The job names the float model, token lists to calibrate with, the block size and what to make.
"""

import json
import sys
import time

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.matmul_nbits_quantizer import (
    GPTQWeightOnlyQuantConfig,
    HQQWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)


class Tokens(CalibrationDataReader):
    """Reads token lists one by one."""

    def __init__(self, texts):
        self.texts = texts
        self.left = iter(texts)

    def __iter__(self):
        self.left = iter(self.texts)
        return self

    def __next__(self):
        ids = np.array([next(self.left)], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}

    def get_next(self):
        try:
            return self.__next__()
        except StopIteration:
            return None


def quantize(name, model, job):
    block = job["block"]
    config = None
    if "hqq" in name:
        config = HQQWeightOnlyQuantConfig(block_size=block, bits=4)
    elif "gptq" in name:
        config = GPTQWeightOnlyQuantConfig(Tokens(job["texts"]), actorder="energy" in name, mse="search" in name)
    symmetric = "asym" not in name
    made = MatMulNBitsQuantizer(model, bits=4, block_size=block, is_symmetric=symmetric, algo_config=config)
    made.process()
    return made.model.model


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    times, failures = {}, {}
    for name, out in job["outputs"].items():
        start = time.perf_counter()
        try:
            onnx.save(quantize(name, onnx.load(job["model"]), job), out)
        except Exception as error:  # Its failure is a result of the comparison.
            failures[name] = f"{type(error).__name__}: {error}"
        times[name] = time.perf_counter() - start
    import onnxruntime

    # Not by standard output, on which the tools print their progress.
    with open(job["report"], "w", encoding="utf-8") as file:
        json.dump({"seconds": times, "failures": failures, "onnxruntime": onnxruntime.__version__}, file)


main()
