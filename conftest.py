"""What holds for every test of the project."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# onnxruntime reports its use to its maker unless it is told not to, before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A busy machine is no failure: how fast things are is for the bench to say. What decides whether a change lands
# (.ci/run) has the same examples each time, so that luck decides nothing; all other runs look for new ones.
settings.register_profile("edgewright", deadline=None)
settings.register_profile("landing", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "edgewright"))

# A shell that runs the tests in the background has SIGINT ignored, and so would every program that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
