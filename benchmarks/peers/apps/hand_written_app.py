"""A recurrent model behind FastAPI, with a dictionary of states; onnxruntime runs it one step at a time."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
graph = onnxruntime.InferenceSession(os.environ["BENCHMARK_GRAPH"], options)
start = np.zeros((1, graph.get_inputs()[0].shape[1]), np.float32)
states: dict[str, np.ndarray] = {}
app = FastAPI()


class Step(BaseModel):
    x: list[float]


class Answer(BaseModel):
    y: list[float]


# async: it runs on the event loop, so that two requests of one session cannot lose a step to each other
@app.post("/sessions/{session}/step")
async def step(session: str, body: Step) -> Answer:
    x = np.array(body.x, np.float32).reshape(1, 1, -1)
    y, states[session] = graph.run(["y", "next_state"], {"state": states.get(session, start), "x": x})
    return Answer(y=y[0, 0].tolist())
