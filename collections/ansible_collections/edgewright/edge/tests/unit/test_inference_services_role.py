"""What the role inference_services makes of what it finds on a node with podman."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.quadlets import quadlets
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible

ROLE = Path(__file__).parents[2] / "roles" / "inference_services"
MARKER = "# Managed by the role edgewright.edge.inference_services.\n"
SERVICE = {
    "name": "shelf",
    "image": "build:containers/inference-server",
    "models": [{"name": "camera", "version": 2, "source": "file:m.onnx"}],
    "port": 8080,
}
ROLLING = {**SERVICE, "rolling_ports": [18080, 18081]}
QUADLET, PROXY = "/etc/containers/systemd/shelf.container", "/etc/nginx/conf.d/edgewright-shelf.conf"


TOLD = ("files", "held_quadlets", "rolled", "restarted", "runs", "proxy_changed")


def learned(service, *, there=(), written=(), compared=(), differing=()):
    """Return what the role's tasks have learned of a node."""
    return {
        "edge_inference_services": [service],
        "edge_site": "demo",
        "__inference_services_units": quadlets([service], "demo", "0.1.0"),
        "__inference_services_quadlets": {"files": list(there)},
        "__inference_services_written": {"changed_paths": list(written)},
        "__inference_services_compared": {"changed_paths": list(compared)},
        "__inference_services_applied": {"differing": list(differing)},
        **{f"__inference_services_{name}": {"results": []} for name in ("placed", "other_models", "dropped", "models")},
    }


def behind_its_proxy(service):
    """Return what is found on a node that has this service behind just this proxy."""
    (unit,) = quadlets([service], "demo", "0.1.0")
    digest = hashlib.sha1((MARKER + unit["proxy"]).encode(), usedforsecurity=False).hexdigest()
    return [{"path": QUADLET, "checksum": "0" * 40}, {"path": PROXY, "checksum": digest}]


NODES = {
    "blank": learned(ROLLING, written=[QUADLET, PROXY]),
    "without its proxy": learned(ROLLING, there=[{"path": QUADLET, "checksum": "0" * 40}], written=[QUADLET, PROXY]),
    "changing": learned(ROLLING, there=behind_its_proxy(ROLLING), compared=[QUADLET]),
    "cut": learned(SERVICE, differing=["inference-proxies", "inference-service-shelf"]),
    "cut, with a stand-in": learned(ROLLING, there=behind_its_proxy(ROLLING), differing=["inference-service-shelf"]),
    "unchanged": learned(SERVICE),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """How the role sees these nodes, which one run of Ansible says."""
    folder = tmp_path_factory.mktemp("role")
    told = {name: "{{ __inference_services_" + name + " }}" for name in TOLD}
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": [str(ROLE / "vars" / "main.yml")],
            "tasks": [
                {"ansible.builtin.set_fact": facts},
                {
                    "ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(folder / f"{name}.json")},
                    "vars": {"told": told},
                },
            ],
        }
        for name, facts in NODES.items()
    ]
    (folder / "plays.yml").write_text(yaml.safe_dump(plays))
    done = ansible("ansible-playbook", folder / "plays.yml")
    assert done.returncode == 0, done.stdout
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in NODES}


def test_it_is_said_that_nothing_of_a_service_is_secret_and_nothing_pretends_that_it_is():
    entries = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    told = " ".join(entries["main"]["options"]["edge_inference_services"]["description"])
    assert "Nothing in it may be a secret, C(environment) and C(arguments) neither." in told
    assert [path.name for path in (ROLE / "tasks").iterdir() if "no_log" in path.read_text()] == []


def names(units):
    return [unit["name"] for unit in units]


def paths(files):
    return [file["path"] for file in files]


def test_nothing_is_written_of_a_service_that_its_stand_in_has_to_try_first(seen):
    found = seen["changing"]
    assert QUADLET not in paths(found["files"])
    assert PROXY in paths(found["files"])
    assert paths(found["held_quadlets"]) == [QUADLET]
    assert (names(found["rolled"]), found["restarted"]) == (["shelf"], [])


@pytest.mark.parametrize("node", ["blank", "without its proxy"])
def test_a_service_that_was_not_behind_its_proxy_is_written_and_restarted(seen, node):
    found = seen[node]
    assert QUADLET in paths(found["files"])
    assert (found["held_quadlets"], found["rolled"], found["restarted"]) == ([], [], ["shelf"])
    assert found["proxy_changed"]


def test_what_a_cut_run_wrote_is_applied_by_the_next_one(seen):
    assert (seen["cut"]["restarted"], seen["cut"]["proxy_changed"]) == (["shelf"], True)
    found = seen["cut, with a stand-in"]
    assert (names(found["rolled"]), found["restarted"], found["proxy_changed"]) == (["shelf"], [], False)


def test_a_service_runs_with_its_quadlet_its_models_and_its_images(seen):
    found = seen["unchanged"]
    assert (found["rolled"], found["restarted"], found["proxy_changed"]) == ([], [], False)
    assert {run["name"]: run["paths"] for run in found["runs"]}["inference-service-shelf"] == [
        QUADLET,
        "/var/lib/edgewright/models/shelf",
        "/var/lib/edgewright/images/localhost_edgewright_inference-server_0.1.0.sha256",
    ]
