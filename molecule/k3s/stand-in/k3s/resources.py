"""The API's resources: which there are, where the datastore has them, and what Kubernetes' verbs do to them.

Only storage and generic semantics: no admission, no defaults. Custom resources exist once their definition does.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k3s.datastore import Datastore

_BUILT_IN = {
    "v1": "nodes:Node:cluster namespaces:Namespace:cluster persistentvolumes:PersistentVolume:cluster pods:Pod "
    "secrets:Secret configmaps:ConfigMap services:Service serviceaccounts:ServiceAccount events:Event "
    "endpoints:Endpoints persistentvolumeclaims:PersistentVolumeClaim",
    "apps/v1": "deployments:Deployment daemonsets:DaemonSet statefulsets:StatefulSet replicasets:ReplicaSet",
    "batch/v1": "jobs:Job cronjobs:CronJob",
    "policy/v1": "poddisruptionbudgets:PodDisruptionBudget",
    "coordination.k8s.io/v1": "leases:Lease",
    "scheduling.k8s.io/v1": "priorityclasses:PriorityClass:cluster",
    "storage.k8s.io/v1": "storageclasses:StorageClass:cluster",
    "node.k8s.io/v1": "runtimeclasses:RuntimeClass:cluster",
    "rbac.authorization.k8s.io/v1": "clusterroles:ClusterRole:cluster clusterrolebindings:ClusterRoleBinding:cluster "
    "roles:Role rolebindings:RoleBinding",
    "networking.k8s.io/v1": "ingresses:Ingress networkpolicies:NetworkPolicy",
    "apiextensions.k8s.io/v1": "customresourcedefinitions:CustomResourceDefinition:cluster",
    "apiregistration.k8s.io/v1": "apiservices:APIService:cluster",
    "admissionregistration.k8s.io/v1": "validatingwebhookconfigurations:ValidatingWebhookConfiguration:cluster "
    "mutatingwebhookconfigurations:MutatingWebhookConfiguration:cluster",
    "k3s.cattle.io/v1": "addons:Addon etcdsnapshotfiles:ETCDSnapshotFile:cluster",
    "helm.cattle.io/v1": "helmcharts:HelmChart helmchartconfigs:HelmChartConfig",
}


class ApiError(Exception):
    """An answer that is not a success: a status code and the reason of Kubernetes' Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason

    def status(self) -> dict[str, Any]:
        """Return it as Kubernetes answers it."""
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
        return {**body, "message": str(self), "reason": self.reason, "code": self.code}


@dataclass(frozen=True)
class Resource:
    """One resource of a group and version."""

    group_version: str
    name: str
    kind: str
    namespaced: bool

    def key(self, namespace: str, name: str) -> str:
        """Return where the datastore has an object; with an empty name, the prefix of all."""
        group = self.group_version.rpartition("/")[0]
        parts = ["/registry", *([group] if "." in group else []), self.name, *([namespace] if namespace else []), name]
        return "/".join(parts)


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Resources:
    """All resources of one datastore."""

    def __init__(self, store: Datastore) -> None:
        self.store = store

    def all(self) -> list[Resource]:
        """Return the built-in resources and those of custom resource definitions."""
        found = []
        for group_version, entries in _BUILT_IN.items():
            for entry in entries.split():
                name, kind, *cluster = entry.split(":")
                found.append(Resource(group_version, name, kind, not cluster))
        for definition in self.store.values("/registry/apiextensions.k8s.io/customresourcedefinitions/"):
            spec = definition["spec"]
            for version in spec["versions"]:
                group_version = f"{spec['group']}/{version['name']}"
                names, scope = spec["names"], spec["scope"]
                found.append(Resource(group_version, names["plural"], names["kind"], scope == "Namespaced"))
        return found

    def named(self, group_version: str, name: str) -> Resource:
        """Return a resource; raises ApiError 404."""
        for resource in self.all():
            if (resource.group_version, resource.name) == (group_version, name):
                return resource
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def of_kind(self, group_version: str, kind: str) -> Resource:
        """Return the resource of a manifest's apiVersion and kind; raises ApiError 404."""
        for resource in self.all():
            if (resource.group_version, resource.kind) == (group_version, kind):
                return resource
        raise ApiError(404, "NotFound", f'no matches for kind "{kind}" in version "{group_version}"')

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Return an object; raises ApiError 404."""
        found = self.store.get(resource.key(namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f'{resource.name} "{name}" not found')
        return dict(found)

    def list(self, resource: Resource, namespace: str, selectors: dict[str, str]) -> dict[str, Any]:
        """Return a list of objects; ``selectors`` are labelSelector and fieldSelector with equalities."""
        items = [item for item in self.store.values(resource.key(namespace, "")) if _selected(item, selectors)]
        metadata = {"resourceVersion": str(self.store.revision())}
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.group_version,
            "metadata": metadata,
            "items": items,
        }

    def put(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create or replace an object, and return it."""
        name = body["metadata"]["name"]
        before = self.store.get(resource.key(namespace, name))
        kept = (before or {}).get("metadata", {})
        metadata = {**body["metadata"], "uid": kept.get("uid") or str(uuid.uuid4())}
        metadata["creationTimestamp"] = kept.get("creationTimestamp") or now()
        if resource.namespaced:
            metadata["namespace"] = namespace
        metadata["resourceVersion"] = str(self.store.revision() + 1)
        made = {**body, "apiVersion": resource.group_version, "kind": resource.kind, "metadata": metadata}
        self.store.put(resource.key(namespace, name), made)
        return made

    def create(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object; raises ApiError 409 where there is one."""
        if self.store.get(resource.key(namespace, body["metadata"]["name"])) is not None:
            name = body["metadata"]["name"]
            raise ApiError(409, "AlreadyExists", f'{resource.name} "{name}" already exists')
        return self.put(resource, namespace, body)

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create or merge an object of a manifest, and return it."""
        resource = self.of_kind(body.get("apiVersion", ""), body.get("kind", ""))
        namespace = body["metadata"].get("namespace", "default") if resource.namespaced else ""
        before = self.store.get(resource.key(namespace, body["metadata"]["name"])) or {}
        after = merge(before, body)
        return after if before == after else self.put(resource, namespace, after)

    def patch(self, resource: Resource, namespace: str, name: str, change: Any) -> dict[str, Any]:
        """Change an object with a merge patch, or with the operations of a JSON patch; raises ApiError 404."""
        before = self.get(resource, namespace, name)
        after = _operations(before, change) if isinstance(change, list) else merge(before, change)
        return self.put(resource, namespace, after)

    def delete(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Remove an object, and return it; raises ApiError 404."""
        found = self.get(resource, namespace, name)
        self.store.delete(resource.key(namespace, name))
        if resource.name == "nodes":  # pkg/nodepassword: another machine may take the name
            self.store.delete(f"/registry/secrets/kube-system/{name}.node-password.k3s")
        return found


def merge(before: Any, change: Any) -> Any:
    """Return the result of a merge patch (RFC 7386); conditions are merged by their type, as the strategic one does."""
    if not isinstance(change, dict):
        return change
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif key == "conditions" and isinstance(value, list):
            types = {item["type"]: item for item in result.get(key, [])}
            types.update({item["type"]: {**types.get(item["type"], {}), **item} for item in value})
            result[key] = list(types.values())
        else:
            result[key] = merge(result.get(key), value)
    return result


def _operations(before: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    change: dict[str, Any] = {}
    for operation in operations:
        at = change
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].strip("/").split("/")
        ]
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = None if operation["op"] == "remove" else operation["value"]
    return dict(merge(before, change))


def _selected(item: dict[str, Any], selectors: dict[str, str]) -> bool:
    labels = item["metadata"].get("labels", {})
    for term in filter(None, selectors.get("labelSelector", "").split(",")):
        name, equals, value = term.replace("==", "=").partition("=")
        if (labels.get(name) != value) if equals else (name not in labels):
            return False
    for term in filter(None, selectors.get("fieldSelector", "").split(",")):
        path, _, value = term.replace("==", "=").partition("=")
        at: Any = item
        for part in path.split("."):
            at = at.get(part, {}) if isinstance(at, dict) else {}
        if str(at or "") != value:
            return False
    return True
