"""Measurements as ratios, taken side by side in one run. `python -m benchmarks` prints the tables."""

import os

# onnxruntime sends usage data from version 1.29 on, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
