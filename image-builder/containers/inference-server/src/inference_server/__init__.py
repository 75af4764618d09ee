"""An Open Inference Protocol v2 server (REST) for ONNX models on small CPUs."""

import os

__version__ = "0.1.0"
SERVER_NAME = "edgewright-inference-server"

# From 1.29 on, onnxruntime's wheels for Linux send usage data to their maker and keep a device identifier in the home
# folder, unless this is set before the library is first imported (microsoft/onnxruntime, pull request 27379). Here,
# so that no import order and no environment can bring it back.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
