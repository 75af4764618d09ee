"""Settings of the CIS Kubernetes Benchmark for k3s (k3s documentation, hardening guide).

``AlwaysPullImages`` is left out on purpose: it makes a node without a network start no pod at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.kubelet_config import CIS_CIPHERS
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable

ADMISSION: Final = "/etc/rancher/k3s/admission.yaml"
AUDIT_POLICY: Final = "/etc/rancher/k3s/audit-policy.yaml"
AUDIT_LOG: Final = "/var/lib/rancher/k3s/server/logs/audit.log"
SYSCTL: Final = "/etc/sysctl.d/90-kubelet.conf"

SYSCTL_SETTINGS: Final = """\
# What a kubelet with protect-kernel-defaults insists on.
vm.panic_on_oom=0
vm.overcommit_memory=1
kernel.panic=10
kernel.panic_on_oops=1
"""
API_SERVER: Final = (
    f"admission-control-config-file={ADMISSION}",
    "enable-admission-plugins=NodeRestriction,EventRateLimit",
    f"audit-log-path={AUDIT_LOG}",
    f"audit-policy-file={AUDIT_POLICY}",
    "audit-log-maxage=30",
    "audit-log-maxbackup=10",
    "audit-log-maxsize=100",
    "service-account-extend-token-expiration=false",
    f"tls-cipher-suites={','.join(CIS_CIPHERS)}",
)
CONTROLLER_MANAGER: Final = ("terminated-pod-gc-threshold=10",)


def admission(exempt: Iterable[str]) -> str:
    """Render the API server's admission configuration: pods are restricted, except in the given namespaces."""
    level = dict.fromkeys(("enforce", "audit", "warn"), "restricted")
    pod_security: dict[str, Any] = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": level | {f"{key}-version": "latest" for key in level},
        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": sorted(set(exempt))},
    }
    event_rate = {
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": [{"type": "Server", "qps": 5000, "burst": 20000}],
    }
    return yaml_text(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [
                {"name": "PodSecurity", "configuration": pod_security},
                {"name": "EventRateLimit", "configuration": event_rate},
            ],
        }
    )


def audit_policy() -> str:
    """Render the audit policy: who did what to which object and when, without contents."""
    return yaml_text(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "rules": [{"level": "Metadata"}],
        }
    )
