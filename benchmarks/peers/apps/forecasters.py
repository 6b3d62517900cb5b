"""GluonTS and NeuralForecast with networks of the asked size: how long is one warm forecast of one series?

Reads lines "name count" and answers each with so many times in seconds, as JSON. They are trained for a moment only:
how good they are makes no difference to how long they take.
"""

import json
import logging
import sys
import time
import warnings

import pandas as pd
import torch

HORIZON, HISTORY, PATHS = 24, 720, 100
LEVELS = [0.1, 0.5, 0.9]


def main(data: str, hidden: int, layers: int) -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric", "gluonts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    frame = pd.read_csv(data, parse_dates=["ds"])
    history = frame[frame.unique_id == frame.unique_id.iloc[0]].tail(HISTORY)
    calls = {
        "gluonts": gluonts(frame, history, hidden, layers),
        "neuralforecast": neuralforecast(frame, history, hidden, layers, sampled=True),
        "neuralforecast-direct": neuralforecast(frame, history, hidden, layers, sampled=False),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(json.dumps([timed(calls[name]) for _ in range(int(count))]), flush=True)


def timed(call) -> float:
    started = time.perf_counter()
    assert len(call()) == HORIZON
    return time.perf_counter() - started


def gluonts(frame, history, hidden, layers):
    """DeepAR as its estimator makes it, its quantiles from 100 paths."""
    from gluonts.dataset.common import ListDataset
    from gluonts.torch.model.deepar import DeepAREstimator

    entries = [{"start": group.ds.iloc[0], "target": group.y} for _, group in frame.groupby("unique_id")]
    estimator = DeepAREstimator(
        freq="h",
        prediction_length=HORIZON,
        num_layers=layers,
        hidden_size=hidden,
        num_parallel_samples=PATHS,
        batch_size=8,
        num_batches_per_epoch=2,
        trainer_kwargs={
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    )
    predictor = estimator.train(ListDataset(entries, freq="h"))
    one = ListDataset([{"start": history.ds.iloc[0], "target": history.y}], freq="h")

    def call():
        forecast = next(iter(predictor.predict(one, num_samples=PATHS)))
        return list(zip(*(forecast.quantile(level) for level in LEVELS), strict=True))

    return call


def neuralforecast(frame, history, hidden, layers, sampled):
    """DeepAR with 100 trajectories, or the LSTM that tells all steps at once, with quantiles."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import DistributionLoss, MQLoss
    from neuralforecast.models import LSTM, DeepAR

    common = {
        "h": HORIZON,
        "input_size": HISTORY,
        "max_steps": 1,
        "batch_size": 4,
        "windows_batch_size": 16,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    model = (
        DeepAR(
            lstm_n_layers=layers,
            lstm_hidden_size=hidden,
            trajectory_samples=PATHS,
            loss=DistributionLoss("StudentT", level=[80]),
            **common,
        )
        if sampled
        else LSTM(encoder_n_layers=layers, encoder_hidden_size=hidden, loss=MQLoss(level=[80]), **common)
    )
    fitted = NeuralForecast(models=[model], freq="h")
    fitted.fit(frame)
    return lambda: fitted.predict(df=history)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
