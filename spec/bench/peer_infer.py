"""Times one forward pass at evaluation of a timm model: the peers of infer.lua.

    python peer_infer.py KIND MODEL SIZE BATCH THREADS STEPS [--head]     KIND: onnxruntime, openvino or pytorch

Prints one line per pass: wall ms, CPU ms; then peak RSS in MB. The model is exported to ONNX beside this machine's
other temporary files, once per model, size and batch.
"""
import os
import resource
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
kind, model, size, batch, threads, steps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])


def exported():
    path = os.path.join(tempfile.gettempdir(), "foodrt-bench-%s-%d-%d.onnx" % (model, size, batch))
    if not os.path.exists(path):
        import subprocess

        code = (
            "import torch, timm, warnings; warnings.filterwarnings('ignore'); "
            "torch.onnx.export(timm.create_model(%r).eval(), torch.randn(%d, 3, %d, %d), %r, "
            "dynamo=False, opset_version=17)" % (model, batch, size, size, path)
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


if kind == "pytorch":
    import timm
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = timm.create_model(model).eval().to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            net(x)

else:
    import numpy

    x = numpy.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=numpy.float32)
    if kind == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(exported(), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def run():
            session.run(None, {name: x})

    else:
        import openvino

        compiled = openvino.Core().compile_model(
            exported(),
            "CPU",
            {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
        )
        request = compiled.create_infer_request()

        def run():
            request.infer({0: x})


for _ in range(steps):
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    print("%.2f %.2f" % ((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3), flush=True)
print("rss %.1f" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
