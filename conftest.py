"""What holds for every test of the project."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# onnxruntime reports its use to its maker unless it is told not to, before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A busy machine is no failure: how fast things are is for the bench to say.
settings.register_profile("edgewright", deadline=None)
settings.load_profile("edgewright")

# A shell that runs the tests in the background has SIGINT ignored, and so would every program that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
