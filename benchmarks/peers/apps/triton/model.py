"""Triton's Python backend for the forecaster: one onnxruntime run for every batch that the sequence batcher makes.

Triton 2's own ONNX backend is not in the wheel from PyPI; correlation ids and flags are read from the requests, which
is faster than control input tensors. Rows lie in one array, gathered and scattered by slot.
"""

import os
import sys

# The interpreter that Triton embeds does not look at PYTHONPATH.
sys.path[:0] = [os.environ["BENCHMARK_PACKAGES"]]

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

CAPACITY = 4096


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
        self.rows = np.zeros((CAPACITY, self.graph.get_inputs()[0].shape[1]), np.float32)
        self.slots = {}
        self.free = list(range(CAPACITY))

    def execute(self, requests):
        slots = [self.slot_of(request) for request in requests]
        x = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        x = x[0] if len(x) == 1 else np.concatenate(x)
        y, self.rows[slots] = self.graph.run(["y", "next_state"], {"state": self.rows[slots], "x": x})
        for request in requests:
            if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
                self.free.append(self.slots.pop(request.correlation_id()))
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", y[index : index + 1])]) for index in range(len(requests))
        ]

    def slot_of(self, request):
        sequence = request.correlation_id()
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
            if sequence not in self.slots:
                self.slots[sequence] = self.free.pop()
            self.rows[self.slots[sequence]] = 0
        return self.slots[sequence]
