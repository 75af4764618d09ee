"""``edgewright check``: exact texts of what it finds, in good and bad inventories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Run, Write

ROOT = Path(__file__).parents[3]
OUR_OWN = [
    "inventories/demo",
    "inventories/plant",
    "inventories/shop",
    "image-builder/tests/inventories/three-nodes",
]
SECRET = "correct horse battery staple"
SERVICE = "edge_inference_services:\n  - name: svc\n    image: build:containers/inference-server\n    port: 8080\n"
MODEL = "    models: [{name: m, source: 'file:m.onnx'}]\n"
COMMON = "edge_site: test\nedge_runtime: podman\nedge_virtualization: emulation\n"
DEFINE = "Define the variable in group_vars or host_vars, or correct the template."
VAULT = "Give the password with --vault-password-file FILE, or set ANSIBLE_VAULT_PASSWORD_FILE."

WRONG = yaml.safe_load(Path(__file__).with_name("wrong_inventories.yml").read_text())


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Every error line, as ``error:`` begins it."""
    return [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("case", WRONG, ids=[case["name"] for case in WRONG])
def test_everything_wrong_is_told_exactly(
    edgewright: Run, inventory: Write, case: dict[str, Any], tmp_path: Path
) -> None:
    done = edgewright("check", "-i", inventory(case["files"]))
    assert errors_of(done) == [text.replace("{site}", str(tmp_path / "site")) for text in case["errors"]]
    assert (done.returncode, done.stdout) == (2, "")


def test_what_is_wrong_with_secret_files_is_told_at_its_line_without_a_content(
    edgewright: Run, inventory: Write
) -> None:
    files = (
        f"base__secret_files:\n  - path: /usr/lib/key\n    content: {SECRET}\n"
        f"  - path: /etc/key\n    contents: {SECRET}\n  - {SECRET}\n"
    )
    folder = inventory({"host_vars/box-1/secrets.yml": files})
    for verb in ("check", "seed"):
        done = edgewright(verb, "-i", folder)
        assert done.returncode == 2
        text = "\n".join(errors_of(done))
        assert "host_vars/box-1/secrets.yml:2: base__secret_files[0].path: is not a path that a secret may have" in text
        assert "host_vars/box-1/secrets.yml:5: base__secret_files[1].contents: unknown key" in text
        assert "base__secret_files[1].content: is missing" in text
        assert "host_vars/box-1/secrets.yml:6: base__secret_files[2]: must be a mapping; found a str" in text
        assert SECRET not in done.stdout + done.stderr


def test_a_missing_folder_names_those_that_are_there(edgewright: Run, inventory: Write) -> None:
    inventory({})
    done = edgewright("check", "-i", "sites")
    assert done.returncode == 2
    assert errors_of(done) == [
        (
            "sites: no such inventory folder; expected one of site in .. Give the folder that holds the site's"
            " hosts.yml with -i."
        )
    ]


def test_a_hosts_file_instead_of_its_folder(edgewright: Run, inventory: Write) -> None:
    done = edgewright("check", "-i", inventory({}) / "hosts.yml")
    assert errors_of(done) == ["site/hosts.yml: the inventory must be a folder; found a file. Use its folder: -i site"]


@pytest.mark.parametrize("folder", OUR_OWN)
def test_our_own_inventories_are_right(edgewright: Run, folder: str) -> None:
    done = edgewright("check", "-i", ROOT / folder, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["errors"] == []
    assert answer["site"] == Path(folder).name


def test_the_answer_for_people_and_for_scripts(edgewright: Run, inventory: Write) -> None:
    folder = inventory({"host_vars/box-1/services.yml": SERVICE + MODEL, "m.onnx": "x"})
    done = edgewright("check", "-i", folder)
    assert done.stdout == (
        "site: site 'test', 1 host, no mistakes.\n  box-1: 1 inference service, no virtual machines\n"
    )
    answer = json.loads(edgewright("check", "-i", folder, "--json").stdout)
    assert {key: value for key, value in answer.items() if key != "warnings"} == {
        "site": "test",
        "hosts": [{"name": "box-1", "inference_services": ["svc"], "virtual_machines": []}],
        "errors": [],
    }
    assert all(set(warning) == {"where", "what", "found", "expected", "remedy"} for warning in answer["warnings"])


def test_errors_for_scripts(edgewright: Run, inventory: Write) -> None:
    done = edgewright("check", "-i", inventory({"group_vars/all.yml": "edge_site: '{{ naem }}'\n"}), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "errors": [
            {
                "where": "site/group_vars/all.yml:1: edge_site",
                "what": "'naem' is undefined",
                "found": "{{ naem }}",
                "expected": "",
                "remedy": DEFINE,
            }
        ]
    }


def test_a_site_without_a_lock_is_a_warning_with_its_remedy(edgewright: Run, inventory: Write) -> None:
    folder = inventory({})
    done = edgewright("check", "-i", folder)
    text = "site/site.lock.yml: the site is not locked yet. Run `edgewright lock -i site` where there is a network."
    assert (done.returncode, f"warning: {text}" in done.stderr) == (0, True)
    strict = edgewright("check", "-i", folder, "--strict")
    assert (strict.returncode, text in errors_of(strict)) == (2, True)


def test_files_of_unknown_hosts_and_groups_are_warned_about(edgewright: Run, inventory: Write) -> None:
    done = edgewright("check", "-i", inventory({"host_vars/box-l.yml": "a: 1\n", "group_vars/shops.yml": "a: 1\n"}))
    assert (
        "warning: site/host_vars/box-l.yml: nothing reads this: the inventory has no host 'box-l'; expected one of"
        " box-1. Did you mean 'box-1'?"
    ) in done.stderr
    assert "site/group_vars/shops.yml: nothing reads this: the inventory has no group 'shops'" in done.stderr


def test_missing_programs_are_warned_about_with_the_package_to_install(
    edgewright: Run, inventory: Write, tmp_path: Path
) -> None:
    done = edgewright("check", "-i", inventory({}), PATH=str(tmp_path))
    assert done.returncode == 0
    expected = [
        "mmdebstrap is missing (makes the trees of Debian packages). Run `sudo apt-get install mmdebstrap`.",
        "unshare is missing (gives the build a root user of its own). Run `sudo apt-get install util-linux`.",
        "qemu-system-x86_64 is missing (runs the image). Run `sudo apt-get install qemu-system-x86`.",
    ]
    if os.geteuid() != 0:
        expected.append(
            "newuidmap is missing (maps the ids of a tree to an ordinary user's). Run `sudo apt-get install uidmap`."
        )
    for text in expected:
        assert f"warning: this machine: {text}" in done.stderr.splitlines()


@pytest.fixture
def vaulted(inventory: Write, tmp_path: Path) -> Path:
    """An inventory whose port and whose password are vault-encrypted, and are wrong or used wrongly."""
    (tmp_path / "password").write_text("opensesame\n")

    def encrypt(name: str, text: str) -> str:
        vault = Path(sys.executable).parent / "ansible-vault"
        command: list[str | Path] = [vault, "encrypt_string", "--stdin-name", name]
        command += ["--vault-password-file", tmp_path / "password"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout + "\n"

    return inventory(
        {
            "group_vars/all/main.yml": COMMON,
            "group_vars/all/vault.yml": encrypt("secret", SECRET),
            "group_vars/all.yml": "",
            "group_vars/all/use.yml": SERVICE.replace("8080", "'{{ secret }}'")
            + "    models: [{name: m, source: '{{ secret }}'}]\nbad: '{{ secret | from_json }}'\n",
        }
    )


def test_a_vault_secret_is_never_shown(edgewright: Run, vaulted: Path, tmp_path: Path) -> None:
    outputs = []
    for words in ([], ["--json"], ["-v"]):
        done = edgewright("check", "-i", vaulted, "--vault-password-file", "password", *words)
        assert done.returncode == 2
        outputs += [done.stdout, done.stderr]
    (vaulted_use := tmp_path / "site/group_vars/all/use.yml").write_text(vaulted_use.read_text().replace("bad:", "#"))
    done = edgewright("check", "-i", vaulted, "--vault-password-file", "password")
    assert done.returncode == 2
    assert "edge_inference_services[0].port" in done.stderr
    outputs += [done.stdout, done.stderr]
    outputs += [path.read_text() for path in (tmp_path / "cache" / "logs").iterdir()]
    assert len(outputs) >= 12
    for output in outputs:
        assert SECRET not in output
        assert "battery" not in output


def test_a_wrong_vault_password_is_told(edgewright: Run, vaulted: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")
    (error,) = errors_of(edgewright("check", "-i", vaulted, "--vault-password-file", "password"))
    assert error.startswith("site/group_vars/all/vault.yml:1: secret: a vault value cannot be decrypted; found ")
    assert error.endswith(VAULT)


def test_a_missing_vault_password_file_is_told(edgewright: Run, vaulted: Path) -> None:
    (error,) = errors_of(edgewright("check", "-i", vaulted, "--vault-password-file", "nowhere"))
    assert error.startswith("nowhere: the vault password file cannot be used; found ")
