"""Trains recurrent networks by back-propagation through time and publishes them for the service."""

import os

# onnxruntime sends usage data from version 1.29 on, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
