"""A recurrent model as an MLServer runtime, with a dictionary of states."""

import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Recurrent(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
        self.start = np.zeros((1, self.graph.get_inputs()[0].shape[1]), np.float32)
        self.states: dict[int, np.ndarray] = {}
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        session = payload.parameters.sequence_id
        x = NumpyCodec.decode_input(payload.inputs[0])
        state = self.states.get(session, self.start)
        y, self.states[session] = self.graph.run(["y", "next_state"], {"state": state, "x": x})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
