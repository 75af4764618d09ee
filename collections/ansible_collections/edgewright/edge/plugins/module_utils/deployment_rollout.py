"""How far a Deployment has replaced its pods (apps/v1 ``DeploymentStatus``; as ``kubectl rollout status`` tells it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STAMP_ANNOTATION: Final = "edgewright.stamp"
"""Annotation of the pod template: what the pods were made from."""


def stamp_of(deployment: Mapping[str, Any]) -> str:
    """Return the stamp of a Deployment's pod template, or nothing."""
    template = deployment.get("spec", {}).get("template", {})
    return str((template.get("metadata", {}).get("annotations") or {}).get(STAMP_ANNOTATION, ""))


def unfinished(deployment: Mapping[str, Any]) -> str:
    """Return what a Deployment still lacks until all its pods are new and available, in words; or nothing."""
    status: Mapping[str, Any] = deployment.get("status") or {}
    wanted = deployment.get("spec", {}).get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment.get("metadata", {}).get("generation", 0):
        return "Kubernetes has not seen the change"
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} pods are new"
    if total > updated:
        return f"{total - updated} old pods are still there"
    available = status.get("availableReplicas", 0)
    return "" if available >= updated else f"{available} of {wanted} new pods are available"
