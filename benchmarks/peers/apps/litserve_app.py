"""A recurrent model behind LitServe, with a dictionary of states; requests that wait are run as one batch."""

import os

import litserve
import numpy as np
import onnxruntime


class Recurrent(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
        self.start = np.zeros(self.graph.get_inputs()[0].shape[1], np.float32)
        self.states: dict[int, np.ndarray] = {}

    def decode_request(self, request: dict) -> tuple[int, list[float]]:
        return request["session"], request["x"]

    def batch(self, inputs: list) -> tuple[list[int], np.ndarray]:
        return [session for session, _ in inputs], np.array([x for _, x in inputs], np.float32)[:, None]

    def predict(self, batch: tuple[list[int], np.ndarray]) -> np.ndarray:
        sessions, x = batch
        state = np.stack([self.states.get(session, self.start) for session in sessions])
        y, rows = self.graph.run(["y", "next_state"], {"state": state, "x": x})
        self.states.update(zip(sessions, rows, strict=True))
        return y[:, 0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict:
        return {"y": output.tolist()}


if __name__ == "__main__":
    api = Recurrent(max_batch_size=64, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCHMARK_PORT"]), log_level="warning", generate_client_file=False
    )
