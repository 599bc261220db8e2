"""Quantizes a model with the tools of others: python peers.py JOB.json

The job names the float model, calibration samples (one file of raw elements per input), and what to make. Prints one
line of JSON: seconds and failures by name, and versions.
"""

import importlib.metadata
import json
import os
import sys
import time
import traceback

import numpy as np
import onnx


def samples_of(job):
    """The samples as dictionaries of arrays."""
    found = []
    for sample in job["samples"]:
        feeds = {}
        for name, item in sample.items():
            feeds[name] = np.fromfile(item["file"], dtype=item["dtype"]).reshape(item["shape"])
        found.append(feeds)
    return found


def reader(samples):
    from onnxruntime.quantization import CalibrationDataReader

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.left = iter(samples)

        def get_next(self):
            return next(self.left, None)

        def rewind(self):
            self.left = iter(samples)

    return Samples()


def prepared(job):
    """The model after onnxruntime's own preprocessing."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    out = job["model"] + ".prepared.onnx"
    if not os.path.exists(out):
        try:
            quant_pre_process(job["model"], out)
        except Exception:  # Its symbolic shape inference gives up on some models.
            quant_pre_process(job["model"], out, skip_symbolic_shape=True)
    return out


def onnxruntime_static(job, samples, out, options):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    if options.get("defaults"):
        quantize_static(prepared(job), out, reader(samples))
        return
    quantize_static(
        prepared(job),
        out,
        reader(samples),
        quant_format=QuantFormat.QDQ,
        activation_type=types[options.get("activations", "u8")],
        weight_type=QuantType.QInt8,
        per_channel=options.get("per_channel", True),
        reduce_range=options.get("reduce_range", False),
        calibrate_method=methods[options.get("method", "minmax")],
        extra_options=options.get("extra", {}),
    )


def onnxruntime_dynamic(job, samples, out, options):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    types = ["MatMul", "Gemm"]
    quantize_dynamic(prepared(job), out, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=types)


def onnxruntime_nbits(job, samples, out, options):
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    block = options.get("block", 32)
    symmetric = options.get("symmetric", True)
    model = onnx.load(job["model"])
    method = options.get("method", "rtn")
    if method == "rtn":
        config = nbits.DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=symmetric, accuracy_level=4, quant_format=QuantFormat.QOperator
        )
    elif method == "hqq":
        config = nbits.HQQWeightOnlyQuantConfig(block_size=block, bits=4, quant_format=QuantFormat.QOperator)
    elif method == "gptq":
        config = nbits.GPTQWeightOnlyQuantConfig(calibration_data_reader=reader(samples), block_size=block)
    else:
        config = nbits.KQuantWeightOnlyQuantConfig()
    quantizer = nbits.MatMulNBitsQuantizer(
        model, block_size=block, is_symmetric=symmetric, accuracy_level=4, algo_config=config
    )
    quantizer.process()
    quantizer.model.save_model_to_file(out, False)


def onnxsim_static(job, samples, out, options):
    import onnxsim

    simplified, _ = onnxsim.simplify(job["model"])
    full = options.get("full_graph", False)
    model = onnxsim.quantize_static(simplified, samples, method=options.get("method", "minmax"), full_graph=full)
    onnx.save(model, out)


def onnxsim_int4(job, samples, out, options):
    import onnxsim

    simplified, _ = onnxsim.simplify(job["model"])
    config = onnxsim.QuantizationConfig(scheme="weight_only", dtype="int4", calibration_data=samples, **options)
    onnx.save(onnxsim.quantize(simplified, config), out)


class Batches:
    """What neural-compressor calls a dataloader: one sample a batch, without a label."""

    batch_size = 1

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        for feeds in self.samples:
            yield (feeds if len(feeds) > 1 else next(iter(feeds.values()))), 0

    def __len__(self):
        return len(self.samples)


def compressor_static(job, samples, out, options):
    from neural_compressor import PostTrainingQuantConfig, quantization

    config = PostTrainingQuantConfig(
        approach=options.get("approach", "static"),
        calibration_sampling_size=[len(samples)],
        recipes=options.get("recipes", {}),
        op_type_dict=options.get("op_type_dict"),
    )
    model = quantization.fit(job["model"], config, calib_dataloader=Batches(samples))
    if model is None:
        raise RuntimeError("quantization.fit gave no model")
    model.save(out)


def compressor_weights(job, samples, out, options):
    from neural_compressor import PostTrainingQuantConfig, quantization

    weight = {"bits": 4, "group_size": 32, "scheme": "sym", "algorithm": options["algorithm"]}
    config = PostTrainingQuantConfig(
        approach="weight_only", calibration_sampling_size=[len(samples)], op_type_dict={".*": {"weight": weight}}
    )
    model = quantization.fit(job["model"], config, calib_dataloader=Batches(samples))
    if model is None:
        raise RuntimeError("quantization.fit gave no model")
    model.save(out)


WAYS = {
    "onnxruntime-static": onnxruntime_static,
    "onnxruntime-dynamic": onnxruntime_dynamic,
    "onnxruntime-nbits": onnxruntime_nbits,
    "onnxsim-static": onnxsim_static,
    "onnxsim-int4": onnxsim_int4,
    "neural-compressor-static": compressor_static,
    "neural-compressor-weights": compressor_weights,
}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    samples = samples_of(job)
    seconds, failures = {}, {}
    for item in job["variants"]:
        start = time.perf_counter()
        try:
            WAYS[item["way"]](job, samples, item["out"], item.get("options", {}))
        except BaseException as error:  # Its failure, too, is a result of the comparison.
            failures[item["name"]] = f"{type(error).__name__}: {error}"[:500]
            traceback.print_exc()
        seconds[item["name"]] = time.perf_counter() - start
    versions = {}
    for name in ["onnx", "onnxruntime", "onnxsim", "neural-compressor"]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    print(json.dumps({"seconds": seconds, "failures": failures, "versions": versions}))


main()
