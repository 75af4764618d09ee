#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: have a Deployment replace its pods in the way it is declared to, and wait until it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_rollout
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Have a Deployment replace its pods, and wait until it has
description:
  - Sets an annotation of the Deployment's pod template to O(stamp), whereupon Kubernetes makes new pods as the
    Deployment's strategy says; with C(RollingUpdate), an old pod goes when a new one is ready.
  - When time is over, it fails and says which pods are not ready and why.
  - For what pods read when they start and the template does not name, such as files of a node.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Says whether the pods would be replaced, and replaces none.
    support: full
  diff_mode:
    description: Shows the stamp before and after.
    support: full
  idempotent:
    description: With the same O(stamp), a second run replaces nothing; it still waits for a rollout under way.
    support: full
options:
  name:
    description: Name of the Deployment.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  stamp:
    description: What the pods are made from, or when; another stamp means other pods.
    type: str
    required: true
  timeout:
    description: Seconds that the rollout may take.
    type: int
    default: 300
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
"""

EXAMPLES = r"""
- name: Pods have the models that are on the node now
  edgewright.edge.kubernetes_rollout:
    name: file-type
    namespace: edgewright
    stamp: "{{ models_digest }}"
"""

RETURN = r"""
path:
  description: Path of the Deployment in the API.
  returned: always
  type: str
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils.deployment_rollout import (
    STAMP_ANNOTATION,
    stamp_of,
    unfinished,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_readiness import unready_pods

if TYPE_CHECKING:
    from collections.abc import Mapping

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "stamp": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 300},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
}


def roll_out(api: Api, path: str, parameters: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Set the stamp if it differs and wait; return what the module returns.

    Raises:
        ApiError: the API refuses, does not answer, or the rollout does not end in time.
    """
    found = api.get(path)
    if found is None:
        raise ApiError(404, f"{path} is not there")
    before, after = stamp_of(found), parameters["stamp"]
    if check:
        return {"changed": before != after, "diff": {"before": f"{before}\n", "after": f"{after}\n"}}
    if before != after:
        api.patch(path, {"spec": {"template": {"metadata": {"annotations": {STAMP_ANNOTATION: after}}}}})
    deadline = Deadline(parameters["timeout"])
    while lack := unfinished(newest := api.get(path) or {}):
        if not deadline.wait():
            told = [f"{lack} after {parameters['timeout']} s; the pods that answered before answer still"]
            raise ApiError(0, f"{path}: " + "; ".join([*told, *_unready(api, newest, parameters["namespace"])]))
    return {"changed": before != after, "diff": {"before": f"{before}\n", "after": f"{after}\n"}}


def _unready(api: Api, deployment: Mapping[str, Any], namespace: str) -> list[str]:
    """Return the Deployment's pods that are not ready, and why."""
    wanted = deployment.get("spec", {}).get("selector", {}).get("matchLabels") or {}
    pods = api.list(f"/api/v1/namespaces/{namespace}/pods")
    return unready_pods([pod for pod in pods if wanted.items() <= (pod["metadata"].get("labels") or {}).items()])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    parameters = module.params
    path = f"/apis/apps/v1/namespaces/{parameters['namespace']}/deployments/{parameters['name']}"
    try:
        result = roll_out(Api(parameters["kubeconfig"]), path, parameters, check=module.check_mode)
    except ApiError as error:
        module.fail_json(msg=f"the cluster's API: {error}", path=path)
    module.exit_json(path=path, **result)


if __name__ == "__main__":
    main()
