"""A recurrent model as a BentoML service of one worker, with a dictionary of states."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1024}, metrics={"enabled": False})
class Recurrent:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
        self.start = np.zeros((1, self.graph.get_inputs()[0].shape[1]), np.float32)
        self.states: dict[int, np.ndarray] = {}

    @bentoml.api
    async def step(self, session: int, x: list[float]) -> list[float]:
        inputs = {"state": self.states.get(session, self.start), "x": np.array(x, np.float32).reshape(1, 1, -1)}
        y, self.states[session] = self.graph.run(["y", "next_state"], inputs)
        return y[0, 0].tolist()
