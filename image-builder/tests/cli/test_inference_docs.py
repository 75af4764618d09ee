"""docs/inference.md is true: each service passes the check on the runtimes that it is for, and its playbook runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Run, Write

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "inference.md").read_text()
EXAMPLES = [
    textwrap.dedent(text) for text in re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, flags=re.MULTILINE | re.DOTALL)
]
SERVICES = [text for text in EXAMPLES if "edge_inference_services:" in text.splitlines()[0]]
PLAYBOOKS = [text for text in EXAMPLES if text not in SERVICES]


def test_the_page_tells_of_every_server() -> None:
    images = " ".join(SERVICES)
    for server in ("build:containers/inference-server", "tritonserver:", "openvino/model_server:", "mlserver:"):
        assert server in images
    assert len(PLAYBOOKS) == 1


@pytest.mark.parametrize("runtime", ["podman", "k3s"])
@pytest.mark.parametrize("number", range(len(SERVICES)))
def test_every_service_passes_the_check(
    edgewright: Run, inventory: Write, number: int, runtime: str, tmp_path: Path
) -> None:
    text = SERVICES[number]
    hosts = {"hosts.yml": "k3s_server: {hosts: {box-1: {}}}\n"} if runtime == "k3s" else {}
    folder = inventory({**hosts, "host_vars/box-1.yml": f"edge_runtime: {runtime}\n{text}"})
    for path in re.findall(r"file:([\w./-]+)", text):
        (tmp_path / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / path).write_text("content")
    for path in re.findall(r"modelpack:([\w./-]+)", text):
        (tmp_path / "site" / path).mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / path / "oci-layout").write_text("{}")
    done = edgewright("check", "-i", folder)
    if runtime == "k3s" and "rolling_ports" in text:
        assert done.returncode == 2
        assert "rolling_ports: are podman's: k3s replaces pods itself" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_the_playbook_writes_manifests_for_kserve(tmp_path: Path) -> None:
    service = {
        "name": "shelf",
        "image": "build:containers/inference-server",
        "models": [{"name": "m", "source": "file:m.onnx"}],
        "port": 8080,
        "exposure": "internal",
    }
    host = {"edge_site": "shop", "edge_inference_services": [service]}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"box-1": host}}}))
    (tmp_path / "play.yml").write_text(PLAYBOOKS[0])
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env={**environment, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (manifest,) = tmp_path.glob("edgewright-workloads-*-inference-service-shelf.yaml")
    kinds = [entry["kind"] for entry in yaml.safe_load_all(manifest.read_text())]
    assert kinds == ["PriorityClass", "ServingRuntime", "InferenceService"]
