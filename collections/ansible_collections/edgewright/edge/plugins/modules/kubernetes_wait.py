#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: wait until a cluster has taken manifests and objects are ready; otherwise say what keeps them from it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_wait
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Wait until objects of a cluster are ready, or say what keeps them from it
description:
  - Waits until k3s has applied files of its manifests folder, and until objects have the status and the conditions
    they should have. Changes nothing.
  - When time is over, it fails with everything that is not as expected yet, and with the pods that do not run and why,
    an image that cannot be had for example.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Looks once, and does not fail for what is not ready.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  idempotent:
    description: Changes nothing.
    support: full
options:
  manifests:
    description:
      - Files of k3s's manifests folder on this node. Each counts as applied once the checksum in its Addon is that of
        the file.
    type: list
    elements: path
    default: []
  objects:
    description: Objects, and how they should be.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Plural and group of the kind, as C(kubevirts.kubevirt.io), or the plural only for the core group.
        type: str
        required: true
      version:
        description: Version of the group.
        type: str
        default: v1
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Its namespace; empty for kinds that have none.
        type: str
        default: ""
      status:
        description: Fields of its status and their values.
        type: dict
        default: {}
      conditions:
        description: Types of its conditions and the status of each.
        type: dict
        default: {}
      rollout:
        description: Whether it is a Deployment all of whose pods should be of its newest form.
        type: bool
        default: false
  namespaces:
    description: Namespaces whose pods may be what keeps the objects from being ready.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait; 0 looks once.
    type: int
    default: 600
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
"""

EXAMPLES = r"""
- name: KubeVirt is ready
  edgewright.edge.kubernetes_wait:
    manifests: [/var/lib/rancher/k3s/server/manifests/edgewright-kubevirt-2-settings.yaml]
    objects:
      - kind: kubevirts.kubevirt.io
        name: kubevirt
        namespace: kubevirt
        status: {phase: Deployed}
        conditions: {Available: "True"}
    namespaces: [kubevirt]
"""

RETURN = r"""
ready:
  description: Whether everything is as expected. False in check mode only; otherwise the module fails.
  returned: always
  type: bool
unmet:
  description: What is not as expected.
  returned: always
  type: list
  elements: str
pods:
  description: Pods that do not run, and why.
  returned: when something is not as expected
  type: list
  elements: str
"""

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_readiness import (
    Expectation,
    addon_name,
    unapplied,
    unmet,
    unready_pods,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "manifests": {"type": "list", "elements": "path", "default": []},
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True},
            "version": {"type": "str", "default": "v1"},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": ""},
            "status": {"type": "dict", "default": {}},
            "conditions": {"type": "dict", "default": {}},
            "rollout": {"type": "bool", "default": False},
        },
    },
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 600},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
}
_SYSTEM = "kube-system"


class Look:
    """One look at the cluster after the other.

    Args:
        api: the cluster's.
        parameters: of the module.
    """

    def __init__(self, api: Api, parameters: dict[str, Any]) -> None:
        self._api = api
        self._objects = [Expectation(**entry) for entry in parameters["objects"]]
        self._checksums = {path: _checksum(path) for path in parameters["manifests"]}
        self._namespaces = parameters["namespaces"]

    def unmet(self) -> list[str]:
        """Return what is not as expected now; an API that does not answer is that, too.

        Raises:
            ApiError: the API refuses the question, and would refuse it again.
        """
        try:
            lacks = [text for path, checksum in self._checksums.items() for text in self._unapplied(path, checksum)]
            return lacks + [text for wanted in self._objects for text in unmet(wanted, self._api.get(wanted.path))]
        except ApiError as error:
            if not error.passing:
                raise
            return [f"the cluster's API: {error}"]

    def pods(self) -> list[str]:
        """Return the pods that do not run, and why."""
        pods, owners, nodes = [], [], []
        try:
            for namespace in self._namespaces:
                pods += self._api.list(f"/api/v1/namespaces/{namespace}/pods")
                for plural in ("deployments", "replicasets"):
                    owners += self._api.list(f"/apis/apps/v1/namespaces/{namespace}/{plural}")
            nodes = self._api.list("/api/v1/nodes")
        except ApiError as error:
            return [f"pods cannot be asked for: {error}"]
        return unready_pods(pods, owners, nodes)

    def _unapplied(self, path: str, checksum: str) -> list[str]:
        addon = self._api.get(f"/apis/k3s.cattle.io/v1/namespaces/{_SYSTEM}/addons/{addon_name(path)}")
        if not unapplied(path, checksum, addon, []):
            return []
        return unapplied(path, checksum, addon, self._api.list(f"/api/v1/namespaces/{_SYSTEM}/events"))


def _checksum(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    seconds = 0 if module.check_mode else module.params["timeout"]
    deadline = Deadline(seconds)
    try:
        look = Look(Api(module.params["kubeconfig"]), module.params)
        lacks = look.unmet()
        while lacks and deadline.wait():
            lacks = look.unmet()
        pods = look.pods() if lacks else []
    except ApiError as error:
        module.fail_json(msg=f"the cluster's API: {error}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be read: {error.strerror}")
    if lacks and not module.check_mode:
        told = "\n".join([f"Not ready after {seconds} s:", *lacks, *pods])
        module.fail_json(msg=told, ready=False, unmet=lacks, pods=pods)
    module.exit_json(changed=False, ready=not lacks, unmet=lacks, **({"pods": pods} if lacks else {}))


if __name__ == "__main__":
    main()
