"""An Open Inference Protocol v2 server (REST) for ONNX models on small CPUs."""

__version__ = "0.1.0"
SERVER_NAME = "edgewright-inference-server"
