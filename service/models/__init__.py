"""Published models: found in the repository, verified, loaded as onnxruntime sessions, swapped while serving.

All of the service's use of onnxruntime is in this package.
"""

import os

# From 1.29 on onnxruntime reports its use to its makers unless told otherwise before it is first imported; a server of
# other people's data does not. Whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
