from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.accelerator import Accelerator
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_probes import Probes
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    InferenceService,
    Resources,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quadlet import quadlet_unit, refusals

SERVICE = InferenceService(
    name="file-type",
    image="build:containers/inference-server",
    models=(Model("magika", 1, "file:m.onnx"),),
    port=8081,
    arguments=("a b", "--x=$HOME%h", 'q"uo\\te', "it's"),
    environment={"B": 'x "y" $z %h', "A": "1"},
    resources=Resources(1500, 512 * 1024**2),
)
CARD = Accelerator(devices=("nvidia.com/gpu=all", "/dev/dri/renderD128"), groups=(992,))
IMAGE = "localhost/edgewright/inference-server:0.1.0"


MODEL_IMAGE = "registry.lan/models/shelf:5"


def unit(service=SERVICE, previous=None):
    return quadlet_unit(service, site="demo", image=IMAGE, previous=previous, model_image=MODEL_IMAGE)


def test_the_unit_is_this_text():
    assert (
        unit(previous="first")
        == r"""[Unit]
Description=Inference service file-type of site demo
StartLimitIntervalSec=0
After=first.service

[Container]
Image=localhost/edgewright/inference-server:0.1.0
Pull=never
ContainerName=file-type
Label=edgewright.site=demo
PublishPort=8081:8080
Volume=/var/lib/edgewright/models/file-type:/models:ro
User=65532
Group=65532
ReadOnly=true
ReadOnlyTmpfs=true
NoNewPrivileges=true
DropCapability=all
StopTimeout=30
Environment="A=1"
Environment="B=x \"y\" $$z %%h"
PodmanArgs=--cpus=1.5 --memory=536870912
Exec="a b" "--x=$$HOME%%h" "q\"uo\\te" "it's"

[Service]
Restart=always
RestartSec=2
ExecStartPre=-/usr/sbin/nft -f /usr/lib/edgewright/published-ports.nft
ExecStartPre=-/usr/sbin/nft add element inet edgewright-published-ports closed { 8081 }
ExecStartPost=-/usr/sbin/nft destroy element inet edgewright-published-ports closed { 8081 }
ExecStop=-/usr/sbin/nft add element inet edgewright-published-ports closed { 8081 }
ExecStopPost=-/usr/sbin/nft destroy element inet edgewright-published-ports closed { 8081 }
ExecStartPost=/usr/lib/edgewright/check-inference --live --within 300 --period 5 --timeout 5 8081
TimeoutStartSec=360
TimeoutStopSec=45

[Quadlet]
DefaultDependencies=false

[Install]
WantedBy=multi-user.target
"""
    )


def test_what_is_not_asked_for_is_not_there():
    plain = InferenceService("a", "build:containers/x", (Model("m", 1, "file:m"),), 1)
    text = unit(plain)
    for absent in ("After=", "PodmanArgs=", "Exec=", "Environment="):
        assert absent not in text


def test_what_podman_cannot_give_is_told_at_once():
    wanting = dataclasses.replace(
        SERVICE,
        image=f"a.io/x@sha256:{'0' * 64}",
        model_image=f"a.io/m:1@sha256:{'0' * 64}",
        replicas=2,
        accelerator=Accelerator("nvidia.com/gpu"),
    )
    told = [str(problem) for problem in refusals(wanting, where="s[0]")]
    assert [line.split(": ")[0] for line in told] == [
        "s[0].replicas",
        "s[0].accelerator",
        "s[0].image",
        "s[0].model_image",
    ]
    assert "edge_runtime: k3s" in told[0]
    assert "nvidia.com/gpu=all" in told[1]
    assert (
        refusals(dataclasses.replace(wanting, image="a.io/x:1", model_image="", replicas=1, accelerator=CARD), where="")
        == []
    )


def generate(tmp_path, service):
    """Return what podman's own generator makes of the service's unit."""
    generator = shutil.which("quadlet", path=f"{os.environ['PATH']}:/usr/libexec/podman:/usr/lib/podman")
    if generator is None:
        pytest.skip("podman's quadlet generator is not installed")
    (tmp_path / "file-type.container").write_text(unit(service, previous="first"), encoding="utf-8")
    result = subprocess.run(
        [generator, "-dryrun"],
        env={"QUADLET_UNIT_DIRS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "unsupported key" not in result.stderr
    return result.stdout


@pytest.fixture
def generated(tmp_path):
    return generate(tmp_path, SERVICE)


def test_podman_gives_the_accelerator_the_models_of_an_image_and_a_port_of_its_own(tmp_path):
    service = dataclasses.replace(
        SERVICE,
        accelerator=CARD,
        model_image=MODEL_IMAGE,
        models=(Model("m", 5),),
        exposure="internal",
        probes=Probes(900, 10, 3),
    )
    text = generate(tmp_path, service)
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    given = [words[number + 1] for number, word in enumerate(words) if word == "--device"]
    assert given == ["nvidia.com/gpu=all", "/dev/dri/renderD128"]
    for option, value in (
        ("--group-add", "992"),
        ("--mount", f"type=image,source={MODEL_IMAGE},destination=/models,subpath=/models"),
        ("--publish", "127.0.0.1:8081:8080"),
    ):
        assert words[words.index(option) + 1] == value
    assert "-v" not in words
    assert "ExecStartPost=/usr/lib/edgewright/check-inference --live --within 900 --period 10 --timeout 3 8081" in text
    assert "TimeoutStartSec=960" in text


def test_podman_accepts_every_key(generated):
    (line,) = [line for line in generated.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    for expected in (
        "--read-only",
        "--cpus=1.5",
        "--memory=536870912",
        "--security-opt=no-new-privileges",
    ):
        assert expected in words
    for option, value in (
        ("--pull", "never"),
        ("--publish", "8081:8080"),
        ("--user", "65532:65532"),
        ("--cap-drop", "all"),
    ):
        assert words[words.index(option) + 1] == value


def test_words_reach_the_server_as_they_were_written(generated):
    (line,) = [line for line in generated.splitlines() if line.startswith("ExecStart=")]
    # What systemd does to a command line: words, then %% and $$.
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert words[words.index(IMAGE) + 1 :] == list(SERVICE.arguments)
    assert 'B=x "y" $z %h' in words


def test_the_unit_does_not_wait_for_a_network(generated):
    assert "network-online.target" not in generated
    assert "After=first.service" in generated
    assert "WantedBy=multi-user.target" in generated


def test_who_waits_for_a_server_gives_up_when_its_process_has_ended():
    program = Path(__file__).parents[4] / "roles" / "inference_services" / "files" / "check-inference"
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(program), "--live", "--within", "300", port],
            env={"MAINPID": str(ended.pid)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stdout.startswith(f"gave no answer to http://127.0.0.1:{port}/v2/health/live")
