from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubelet_config import (
    KubeletSettings,
    kubelet_configuration,
    logind_settings,
)
from hypothesis import given
from hypothesis import strategies as st


def texts(data):
    with pytest.raises(EdgeError) as caught:
        KubeletSettings.from_inventory(data)
    return [str(problem) for problem in caught.value.problems]


def test_by_default_machines_have_time_to_end_and_memory_has_a_threshold():
    config = kubelet_configuration(KubeletSettings.from_inventory(None))
    assert config["shutdownGracePeriodByPodPriority"] == [
        {"priority": 0, "shutdownGracePeriodSeconds": 180},
        {"priority": 1_000_000_000, "shutdownGracePeriodSeconds": 30},
        {"priority": 2_000_000_000, "shutdownGracePeriodSeconds": 20},
    ]
    assert config["evictionHard"]["memory.available"] == "200Mi"
    assert set(config["evictionHard"]) == {
        "imagefs.available",
        "imagefs.inodesFree",
        "memory.available",
        "nodefs.available",
        "nodefs.inodesFree",
    }
    assert "maxPods" not in config
    assert "tlsCipherSuites" not in config


def test_what_is_given_goes_over_the_defaults():
    settings = KubeletSettings.from_inventory(
        {
            "shutdown_grace": {"workloads": 60},
            "eviction_hard": {"memory.available": "1.5GiB", "pid.available": "10%", "nodefs.inodesFree": 1000},
            "system_reserved": {"cpu": "250m", "memory": "256MiB"},
            "kube_reserved": {"ephemeral-storage": 1000, "pid": 100},
            "max_pods": 40,
            "image_gc_high": 90,
        }
    )
    config = kubelet_configuration(settings, cis=True)
    assert config["evictionHard"] == {
        "imagefs.available": "5%",
        "imagefs.inodesFree": "5%",
        "memory.available": "1536Mi",
        "nodefs.available": "5%",
        "nodefs.inodesFree": "1000",
        "pid.available": "10%",
    }
    assert config["systemReserved"] == {"cpu": "0.25", "memory": "256Mi"}
    assert config["kubeReserved"] == {"ephemeral-storage": "1000", "pid": "100"}
    assert (config["maxPods"], config["imageGCLowThresholdPercent"], config["imageGCHighThresholdPercent"]) == (
        40,
        80,
        90,
    )
    assert config["streamingConnectionIdleTimeout"] == "5m0s"
    assert settings.shutdown_seconds == 110


@given(st.tuples(*[st.integers(0, 3600)] * 3))
def test_logind_waits_exactly_as_long_as_pods_may(seconds):
    grace = dict(zip(("workloads", "cluster_critical", "node_critical"), seconds, strict=True))
    settings = KubeletSettings.from_inventory({"shutdown_grace": grace})
    entries = kubelet_configuration(settings).get("shutdownGracePeriodByPodPriority", [])
    assert sum(entry["shutdownGracePeriodSeconds"] for entry in entries) == sum(seconds)
    assert [entry["priority"] for entry in entries] == sorted(entry["priority"] for entry in entries)
    text = logind_settings(settings)
    assert text.endswith(f"[Login]\nInhibitDelayMaxSec={sum(seconds)}\n") if sum(seconds) else text == ""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"shutdown_grace": {"workload": 1}}, "k3s__kubelet.shutdown_grace.workload: unknown key"),
        ({"shutdown_grace": {"workloads": -1}}, "is out of range"),
        ({"eviction_hard": {"memory.free": "1Gi"}}, "k3s__kubelet.eviction_hard.memory.free: unknown key"),
        ({"eviction_hard": {"memory.available": "101%"}}, "expected a percentage from 0% to 100%"),
        ({"eviction_hard": {"memory.available": 0}}, "is nothing"),
        ({"system_reserved": {"memory": "5%"}}, "expected an amount"),
        ({"system_reserved": {"gpu": 1}}, "unknown key"),
        ({"image_gc_low": 90, "image_gc_high": 90}, "k3s__kubelet.image_gc_low: must be below image_gc_high; found 90"),
        ({"max_pods": 0}, "is out of range"),
        ([], "must be a mapping"),
    ],
)
def test_wrong_settings_are_refused(data, text):
    (found,) = texts(data)
    assert text in found
