"""What holds for every test of the project."""

from __future__ import annotations

import os

from hypothesis import settings

# onnxruntime reports its use to its maker unless it is told not to, before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A busy machine is no failure: how fast things are is for the bench to say.
settings.register_profile("edgewright", deadline=None)
settings.load_profile("edgewright")
