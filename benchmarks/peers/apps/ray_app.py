"""A recurrent model as a Ray Serve deployment of one replica, with a dictionary of states."""

import os
import time

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class Recurrent:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
        self.start = np.zeros((1, self.graph.get_inputs()[0].shape[1]), np.float32)
        self.states: dict[int, np.ndarray] = {}

    async def __call__(self, request: Request) -> dict:
        body = await request.json()
        session, x = body["session"], np.array(body["x"], np.float32).reshape(1, 1, -1)
        state = self.states.get(session, self.start)
        y, self.states[session] = self.graph.run(["y", "next_state"], {"state": state, "x": x})
        return {"y": y[0, 0].tolist()}


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=os.getcwd())
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCHMARK_PORT"])})
    serve.run(Recurrent.bind())
    while True:
        time.sleep(3600)
