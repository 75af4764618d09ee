#!/usr/bin/env python3
"""Write the models that the scenario of inference services serves: real ONNX, y = factor * x.

Usage: ``models.py FOLDER``; writes ``scaled-2.onnx`` and ``scaled-3.onnx``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "image-builder/containers/inference-server/tests"))
from onnx_models import scaled


def main() -> None:
    """Write each model."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for factor in (2, 3):
        (folder / f"scaled-{factor}.onnx").write_bytes(scaled(float(factor)).SerializeToString())


if __name__ == "__main__":
    main()
