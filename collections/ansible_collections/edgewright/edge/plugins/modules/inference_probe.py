#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: ask an inference service over the Open Inference Protocol."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_probe
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Ask an inference service over the Open Inference Protocol
description:
  - Waits until a server, and one of its models if asked for, says that it is ready (Open Inference Protocol v2 over
    REST).
  - Sends it a question if O(inputs) are given, and fails with all that differs from O(outputs).
  - Talks to the service directly, whatever proxy the environment names.
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: A question changes nothing, so it is asked in check mode too.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: N/A
    details: It changes nothing.
  idempotent:
    description: Run again, it gives the same result, unless something outside has changed.
    support: full
options:
  url:
    description: Root of the server, without C(/v2).
    type: str
    required: true
  ca_path:
    description:
      - File of certificate authorities (PEM) that vouch for a server at C(https://), such as the site's own, instead of
        those that the system knows.
    type: path
  model:
    description: Name of a model. Without it only the server's own readiness is asked for.
    type: str
  version:
    description: Version of the model. Without it the server chooses.
    type: str
  inputs:
    description:
      - Tensors to send. Each has C(name), C(datatype), C(shape) and C(data), as the protocol has them.
    type: list
    elements: dict
  outputs:
    description:
      - What must come back. Each has C(name) and any of C(datatype), C(shape) and C(data); what is not given is not
        compared.
    type: list
    elements: dict
  tolerance:
    description: How far a number may be from the expected one, absolutely or relative to it.
    type: float
    default: 1.0e-5
  timeout:
    description: Seconds to wait in all until it is ready and has answered. V(0) asks once.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Server is ready
  edgewright.edge.inference_probe:
    url: http://127.0.0.1:8080
    timeout: 120

- name: Server answers over TLS with a certificate of the site's own authority
  edgewright.edge.inference_probe:
    url: https://shelf.shop.example
    ca_path: /etc/edgewright/ca.pem

- name: Model answers as it did when it was trained
  edgewright.edge.inference_probe:
    url: http://127.0.0.1:8080
    model: add
    version: "1"
    inputs:
      - {name: x, datatype: FP32, shape: [2], data: [1.0, 2.0]}
    outputs:
      - {name: y, datatype: FP32, shape: [2], data: [2.0, 4.0]}
"""

RETURN = r"""
outputs:
  description: The tensors that came back.
  returned: when O(inputs) are given and the server answered
  type: list
  elements: dict
model_version:
  description: Version of the model that answered.
  returned: when the server says it
  type: str
seconds:
  description: Time between the question and the answer.
  returned: when O(inputs) are given and the server answered
  type: float
differences:
  description: How the answer differs from O(outputs), in words.
  returned: when it does
  type: list
  elements: str
"""

import math
import ssl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.inference_client import InferenceClient, ProbeError
from ansible_collections.edgewright.edge.plugins.module_utils.open_inference import differences, model_route


def _infer(service: InferenceClient, route: str, parameters: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    answer = service.infer(route, parameters["inputs"])
    seconds = round(time.monotonic() - started, 6)
    result: dict[str, Any] = {"seconds": seconds, "outputs": answer.get("outputs", [])}
    if "model_version" in answer:
        result["model_version"] = str(answer["model_version"])
    if wrong := differences(answer, parameters["outputs"] or [], tolerance=parameters["tolerance"]):
        result["differences"] = wrong
    return result


def _refusal(parameters: dict[str, Any]) -> str:
    """Return what is wrong with the parameters, or nothing."""
    if not parameters["url"].startswith(("http://", "https://")):
        return f"url: found '{parameters['url']}', expected http://HOST:PORT or https://HOST:PORT"
    for number, tensor in enumerate(parameters["inputs"] or []):
        missing = [key for key in ("name", "datatype", "shape", "data") if key not in tensor]
        if missing:
            return f"inputs[{number}]: {', '.join(missing)} is missing"
    for number, tensor in enumerate(parameters["outputs"] or []):
        if "name" not in tensor:
            return f"outputs[{number}]: name is missing"
    tolerance = parameters["tolerance"]
    if tolerance < 0 or not math.isfinite(tolerance):
        return f"tolerance: found {tolerance}, expected a number from 0"
    return "" if parameters["timeout"] >= 0 else f"timeout: found {parameters['timeout']}, expected seconds from 0"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca_path": {"type": "path"},
            "model": {"type": "str"},
            "version": {"type": "str"},
            "inputs": {"type": "list", "elements": "dict"},
            "outputs": {"type": "list", "elements": "dict"},
            "tolerance": {"type": "float", "default": 1.0e-5},
            "timeout": {"type": "int", "default": 60},
        },
        required_by={"version": ["model"], "inputs": ["model"], "outputs": ["inputs"]},
        supports_check_mode=True,
    )
    parameters = module.params
    if refusal := _refusal(parameters):
        module.fail_json(msg=refusal)
    result: dict[str, Any] = {}
    try:
        service = InferenceClient(parameters["url"], parameters["timeout"], authorities=parameters["ca_path"])
        service.wait_ready("v2/health/ready")
        if parameters["model"]:
            route = model_route(parameters["model"], parameters["version"])
            service.wait_ready(f"{route}/ready")
            if parameters["inputs"]:
                result = _infer(service, route, parameters)
    except ProbeError as error:
        module.fail_json(msg=str(error))
    except (OSError, ssl.SSLError) as error:
        module.fail_json(msg=f"ca_path: {parameters['ca_path']} cannot be read as certificates ({error})")
    if "differences" in result:
        module.fail_json(msg="The answer is not the expected one: " + "; ".join(result["differences"]), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
