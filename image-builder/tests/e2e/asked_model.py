"""What the model of a node's inference service answers over the network, and what onnxruntime says of the same rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import onnxruntime
from edgewright.paths import project_root
from edgewright.question import FileTypeModel

from .booted_node import MINUTE

if TYPE_CHECKING:
    from edgewright.store import Store

    from .booted_node import Node
    from .conftest import Build


@dataclass(frozen=True)
class Inference:
    """What the model said over HTTP about some rows, as JSON and as binary tensors, and what onnxruntime says."""

    as_json: np.ndarray[Any, Any]
    as_binary: np.ndarray[Any, Any]
    direct: np.ndarray[Any, Any]


def post(client: httpx.Client, path: str, **request: Any) -> httpx.Response:
    """Ask; and ask again while the emulated node answers, as it should, that it is too slow or too busy just now."""
    deadline = time.monotonic() + 10 * MINUTE
    while True:
        reply = client.post(path, **request)
        if reply.status_code not in (503, 504) or time.monotonic() > deadline:
            return reply.raise_for_status()


def infer(node: Node, demo: Build, store: Store) -> Inference:
    """Ask the node's model about files of this project, and onnxruntime about the same."""
    service = demo.host("till-01")["edge_inference_services"][0]
    model = service["models"][0]
    artifact = demo.lock.artifact(model["source"])
    magika = FileTypeModel.of(demo.lock, store, model["source"])
    files = [project_root() / name for name in ("pyproject.toml", "LICENSE", "Makefile")]
    files.append(demo.output / "manifest.json")
    features = np.array([magika.features(file.read_bytes()) for file in files], dtype=np.int32)
    session = onnxruntime.InferenceSession(str(store.path(artifact.digest)), providers=["CPUExecutionProvider"])
    (direct,) = session.run(None, {session.get_inputs()[0].name: features})
    tensor = {"name": session.get_inputs()[0].name, "shape": [1, features.shape[1]], "datatype": "INT32"}
    as_json, as_binary = [], []
    path = f"/v2/models/{model['name']}/versions/{model['version']}/infer"
    with httpx.Client(base_url=node.url(service["port"]), timeout=5 * MINUTE, trust_env=False) as client:
        for row in features:
            reply = post(client, path, json={"inputs": [{**tensor, "data": row.tolist()}]})
            (output,) = reply.json()["outputs"]
            as_json.append(np.array(output["data"], dtype=np.float32).reshape(output["shape"]))
            # Binary tensor data extension: JSON, then the raw bytes of each tensor.
            raw = row.astype("<i4").tobytes()
            request = {
                "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
                "parameters": {"binary_data_output": True},
            }
            head = json.dumps(request).encode()
            headers = {"Inference-Header-Content-Length": str(len(head))}
            reply = post(client, path, content=head + raw, headers=headers)
            length = int(reply.headers["Inference-Header-Content-Length"])
            (output,) = json.loads(reply.content[:length])["outputs"]
            assert output["parameters"]["binary_data_size"] == len(reply.content) - length
            as_binary.append(np.frombuffer(reply.content[length:], dtype="<f4").reshape(output["shape"]))
    return Inference(np.concatenate(as_json), np.concatenate(as_binary), direct)
