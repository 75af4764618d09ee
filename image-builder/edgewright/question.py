"""A real question to the demo's model: what kind of file is this?

The model is Magika (github.com/google/magika), which tells a file's type from its first and last bytes. What it wants
as features and what its answers are called is in the ``config.min.json`` that its package ships beside the model.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from edgewright.lockfile import Lock
    from edgewright.store import Store


@dataclass(frozen=True)
class FileTypeModel:
    """How to ask a Magika model: bytes taken from each end, the token for "nothing here", the names of its answers."""

    beginning: int
    end: int
    padding: int
    block: int
    labels: tuple[str, ...]

    @classmethod
    def of(cls, lock: Lock, store: Store, source: str) -> FileTypeModel:
        """Read the settings from the package that the model's artifact was taken from.

        Raises:
            EdgeError: the source is not locked.
            KeyError: the package has no such settings: it is another model.
        """
        artifact = lock.artifact(source)
        with zipfile.ZipFile(store.path(artifact.archive_digest)) as wheel:
            config = json.loads(wheel.read(str(PurePosixPath(artifact.member).with_name("config.min.json"))))
        return cls(
            beginning=config["beg_size"],
            end=config["end_size"],
            padding=config["padding_token"],
            block=config["block_size"],
            labels=tuple(config["target_labels_space"]),
        )

    def features(self, content: bytes) -> list[int]:
        """Return the model's input for a file: shape ``[beginning + end]``, one token a byte.

        As Magika's own client does it (python/src/magika/magika.py, ``_extract_features_from_seekable``): white space
        at both ends is dropped, a short file is padded at the end, and at the beginning for its last bytes.
        """
        head = content[: self.block].lstrip()[: self.beginning]
        tail = content[-self.block :].rstrip()[-self.end :]
        return [
            *head,
            *[self.padding] * (self.beginning - len(head)),
            *[self.padding] * (self.end - len(tail)),
            *tail,
        ]

    def answer(self, scores: list[float]) -> tuple[str, float]:
        """Return the most likely type and its score, 0 to 1."""
        best = max(range(len(scores)), key=scores.__getitem__)
        return self.labels[best], scores[best]


def request(model: dict[str, Any], features: list[int]) -> dict[str, Any]:
    """Return an inference request for one file; ``model`` is the answer to a model metadata request."""
    tensor = model["inputs"][0]
    return {
        "inputs": [
            {"name": tensor["name"], "shape": [1, len(features)], "datatype": tensor["datatype"], "data": features}
        ]
    }


def ask(url: str, model: str, features: list[int], *, timeout: float) -> list[float]:
    """Ask a service over the Open Inference Protocol v2 (REST) and return the first output's numbers.

    Args:
        url: base of the service, ``http://host:port``.
        model: the model's name.
        features: its input, one row.
        timeout: seconds for each of the two requests.

    Raises:
        httpx.HTTPError: no answer, or one that is an error.
    """
    with httpx.Client(base_url=url, timeout=timeout, trust_env=False) as client:
        metadata = client.get(f"/v2/models/{model}").raise_for_status().json()
        reply = client.post(f"/v2/models/{model}/infer", json=request(metadata, features)).raise_for_status().json()
    scores: list[float] = reply["outputs"][0]["data"]
    return scores
