#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: delete objects of a cluster that are no longer declared, and wait until they are gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_absent
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Delete objects of a cluster that are no longer declared
description:
  - Deletes the objects of a kind whose labels and names fit and that are not among those to keep, one kind after the
    other, and waits until they are gone. A kind that the cluster does not know has no objects.
  - K3s applies files of its manifests folder, but leaves what they have made when a file is removed.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Says what would be deleted, deletes nothing.
    support: full
  diff_mode:
    description: Shows the objects before and after.
    support: full
  idempotent:
    description: A second run finds nothing to delete.
    support: full
options:
  objects:
    description: What to delete, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Plural and group of the kind, as C(deployments.apps), or the plural only for the core group.
        type: str
        required: true
      version:
        description: Version of the group.
        type: str
        default: v1
      namespace:
        description: The namespace; empty for kinds that have none.
        type: str
        default: ""
      labels:
        description: Labels that the objects have.
        type: dict
        default: {}
      pattern:
        description: "Shell pattern of the names, as in C(edgewright-*)."
        type: str
        default: "*"
      keep:
        description: Names of objects that stay.
        type: list
        elements: str
        default: []
  timeout:
    description: Seconds that all of them may take until they are gone.
    type: int
    default: 120
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
"""

EXAMPLES = r"""
- name: Services that are no longer declared are gone
  edgewright.edge.kubernetes_absent:
    objects:
      - kind: deployments.apps
        namespace: edgewright
        labels: {edgewright.workload: inference-service}
        keep: [file-type]
"""

RETURN = r"""
deleted:
  description: Paths of the objects in the API, in the order in which they were deleted, or would be.
  returned: always
  type: list
  elements: str
"""

from fnmatch import fnmatchcase
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_readiness import Expectation

ARGUMENTS: dict[str, dict[str, Any]] = {
    "objects": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "kind": {"type": "str", "required": True},
            "version": {"type": "str", "default": "v1"},
            "namespace": {"type": "str", "default": ""},
            "labels": {"type": "dict", "default": {}},
            "pattern": {"type": "str", "default": "*"},
            "keep": {"type": "list", "elements": "str", "default": []},
        },
    },
    "timeout": {"type": "int", "default": 120},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
}


def superfluous(api: Api, wanted: dict[str, Any]) -> list[str]:
    """Return the paths of the objects that are to go.

    Raises:
        ApiError: the API refuses, or does not answer.
    """
    folder = Expectation(wanted["kind"], wanted["version"], "", wanted["namespace"]).path.rstrip("/")
    selector = ",".join(f"{name}={value}" for name, value in sorted(wanted["labels"].items()))
    found = api.list(folder, **({"labelSelector": selector} if selector else {}))
    names = (str(entry["metadata"]["name"]) for entry in found)
    return [
        f"{folder}/{name}"
        for name in sorted(names)
        if fnmatchcase(name, wanted["pattern"]) and name not in wanted["keep"]
    ]


def remove(api: Api, path: str, deadline: Deadline) -> bool:
    """Delete an object; return whether it was gone in time.

    Raises:
        ApiError: the API refuses, or does not answer.
    """
    try:
        # Foreground: it is gone when what it has made is gone, a pod that stops for example.
        api.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"})
    except ApiError as error:
        if error.status != 404:
            raise
    while api.get(path) is not None:
        if not deadline.wait():
            return False
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    deadline = Deadline(module.params["timeout"])
    deleted: list[str] = []
    try:
        api = Api(module.params["kubeconfig"])
        for wanted in module.params["objects"]:
            for path in superfluous(api, wanted):
                deleted.append(path)
                if not module.check_mode and not remove(api, path, deadline):
                    waited = module.params["timeout"]
                    module.fail_json(msg=f"{path}: is still there {waited} s after it was deleted", deleted=deleted)
    except ApiError as error:
        module.fail_json(msg=f"the cluster's API: {error}", deleted=deleted)
    before = "".join(f"{path}\n" for path in deleted)
    module.exit_json(changed=bool(deleted), deleted=deleted, diff={"before": before, "after": ""})


if __name__ == "__main__":
    main()
