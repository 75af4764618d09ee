"""Reading an inventory through Ansible: values, where each was written, secrets, and every mistake at its line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.positions import format_key_path, parse_key_path
from edgewright.site import load_site

if TYPE_CHECKING:
    from .conftest import Write

ROOT = Path(__file__).parents[3]
OUR_OWN = [
    "inventories/demo",
    "inventories/plant",
    "inventories/shop",
    "image-builder/tests/inventories/three-nodes",
]
SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)


@pytest.mark.parametrize("folder", OUR_OWN)
def test_plain_values_are_those_that_ansible_gives_to_a_play(folder: str) -> None:
    """The same variables, templated by the real ansible-playbook, dumped as JSON."""
    site = load_site(ROOT / folder)
    names = sorted({name for host in site.hosts for name in host.variables})
    shown = ", ".join(f"'{name}': {name} | default(None)" for name in names)
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.debug": {"msg": "{{ {" + shown + "} | to_json }}"}}],
        }
    ]
    Path("play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", ROOT / folder / "hosts.yml", "play.yml"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"},
    )
    found = {}
    for match in re.finditer(r"^(\S+) \| SUCCESS => ", done.stdout, flags=re.MULTILINE):
        data, _ = json.JSONDecoder().raw_decode(done.stdout, match.end())
        values = data["msg"] if isinstance(data["msg"], dict) else json.loads(data["msg"])
        found[match[1]] = {name: value for name, value in values.items() if value is not None}
    assert {host.name: host.variables for host in site.hosts} == found


def test_values_carry_none_of_ansibles_types(inventory: Write) -> None:
    site = load_site(inventory({"group_vars/all.yml": "a: {b: [1, 1.5, x, true, null]}\nc: '{{ a }}'\n"}))

    def kinds(value: object) -> set[type]:
        inside = (
            [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        )
        return {type(value)}.union(*map(kinds, inside))

    assert kinds(site.hosts[0].variables) <= {dict, list, str, int, float, bool, type(None)}


PLACES = {
    "hosts.yml": (
        "all:\n  hosts:\n    box-1:\n      in_hosts: 1\n  vars:\n    size: 2GiB\n    tree:\n      leaf: [1, true]\n"
    ),
    "group_vars/all/10-a.yml": (
        "plain: x\n"  # 1
        "nested:\n"  # 2
        "  - name: first\n"  # 3
        "    open: false\n"  # 4
        "  - {name: second, none: null}\n"  # 5
        "passed: '{{ size }}'\n"  # 6
        "joined: '{{ size }}-x'\n"  # 7
        "whole: '{{ tree }}'\n"  # 8
        "over: group\n"  # 9
        "is_on: '{{ 1 == 1 }}'\n"  # 10
    ),
    "host_vars/box-1.yml": "# a comment\nover: host\nnumber: 5\n",
}


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("plain", "group_vars/all/10-a.yml:1"),
        ("nested", "group_vars/all/10-a.yml:2"),
        ("nested[0]", "group_vars/all/10-a.yml:3"),
        ("nested[0].name", "group_vars/all/10-a.yml:3"),
        ("nested[0].open", "group_vars/all/10-a.yml:4"),
        ("nested[1].none", "group_vars/all/10-a.yml:5"),
        ("nested[1].absent", "group_vars/all/10-a.yml:5"),
        ("in_hosts", "hosts.yml:4"),
        ("over", "host_vars/box-1.yml:2"),
        ("number", "host_vars/box-1.yml:3"),
        ("passed", "hosts.yml:6"),
        ("joined", "group_vars/all/10-a.yml:7"),
        ("whole", "hosts.yml:7"),
        ("whole.leaf", "hosts.yml:8"),
        ("whole.leaf[1]", "hosts.yml:8"),
        ("is_on", "group_vars/all/10-a.yml:10"),
        ("nothing_of_the_kind", ""),
    ],
)
def test_a_value_is_located_where_it_was_written(inventory: Write, key: str, place: str) -> None:
    site = load_site(inventory(PLACES))
    assert site.locate("box-1", key) == place
    assert site.locate("box-1", parse_key_path(key)) == place


@pytest.mark.parametrize("text", ["a", "a.b[0].c", "a[0][1]", "a['x.y'].z"])
def test_key_paths_survive_a_round_trip(text: str) -> None:
    assert format_key_path(parse_key_path(text)) == text


def test_hosts_files_are_read_and_their_backups_are_not(inventory: Write) -> None:
    folder = inventory({"hosts": "box-2\n", "hosts.yml.bak": "all: {hosts: {old: }}\n", "hosts.txt": "all old\n"})
    site = load_site(folder)
    assert {host.name for host in site.hosts} == {"box-1", "box-2"}
    assert [path.name for path in site.sources] == ["hosts", "hosts.yml"]


def test_omitted_values_are_left_out(inventory: Write) -> None:
    site = load_site(
        inventory({"group_vars/all.yml": "a: '{{ omit }}'\nb: {c: '{{ omit }}', d: 1}\ne: ['{{ omit }}', 2]\n"})
    )
    assert {key: value for key, value in site.hosts[0].variables.items() if key in "abe"} == {"b": {"d": 1}, "e": [2]}


def test_groups_and_hostvars_can_be_used_in_templates(inventory: Write) -> None:
    site = load_site(
        inventory(
            {
                "hosts.yml": "all:\n  children:\n    shops: {hosts: {box-1: {n: 1}, box-2: {n: 2}}}\n",
                "group_vars/all.yml": "sum: \"{{ groups.shops | map('extract', hostvars) | sum(attribute='n') }}\"\n",
            }
        )
    )
    assert [(host.name, host.groups, host.variables["sum"]) for host in site.hosts] == [
        ("box-1", ("shops",), 3),
        ("box-2", ("shops",), 3),
    ]


def test_a_site_is_named_by_edge_site_else_by_its_folder(inventory: Write) -> None:
    assert load_site(inventory({})).name == "test"
    assert load_site(inventory({"group_vars/all.yml": "a: 1\n"})).name == "site"


def vault(text: str, tmp_path: Path, *options: str) -> str:
    """Encrypt with the real ansible-vault."""
    (tmp_path / "password").write_text("opensesame\n")
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-vault", *options, "--vault-password-file", tmp_path / "password"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_vault_values_are_decrypted_and_known(inventory: Write, tmp_path: Path) -> None:
    encrypted = vault(SECRET, tmp_path, "encrypt_string", "--stdin-name", "token")
    whole = vault("in_file:\n  - deeply hidden\n", tmp_path, "encrypt", "--output=-")
    folder = inventory(
        {
            "group_vars/all/vault.yml": encrypted + "\n",
            "group_vars/all/whole.yml": whole,
            "group_vars/all/main.yml": "uses: 'x {{ token }}'\npublic: hello\n",
        }
    )
    site = load_site(folder, vault_password_file=tmp_path / "password")
    assert site.hosts[0].variables["uses"] == f"x {SECRET}"
    assert site.hosts[0].variables["in_file"] == ["deeply hidden"]
    assert site.hosts[0].secret_values == {SECRET, "deeply hidden"} == site.secret_values
    assert SECRET not in repr(site).replace(repr(site.hosts[0].variables), "")


def test_the_vault_password_can_come_from_ansibles_variable(
    inventory: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = inventory(
        {"group_vars/all.yml": vault(SECRET, tmp_path, "encrypt_string", "--stdin-name", "token") + "\n"}
    )
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    assert load_site(folder).hosts[0].variables["token"] == SECRET


def test_the_same_mistake_of_two_hosts_is_told_once(inventory: Write) -> None:
    folder = inventory({"hosts.yml": "all: {hosts: {a: , b: }}\n", "group_vars/all.yml": "x: '{{ nope }}'\n"})
    with pytest.raises(EdgeError) as caught:
        load_site(folder)
    assert [problem.where for problem in caught.value.problems] == ["site/group_vars/all.yml:1: x"]


def test_reading_is_quick() -> None:
    probe = (
        "import time; t = time.process_time(); from pathlib import Path; from edgewright.site import load_site;"
        f"load_site(Path({str(ROOT / 'inventories' / 'demo')!r})); print(time.process_time() - t)"
    )
    times = [float(subprocess.check_output([sys.executable, "-c", probe], text=True)) for _ in range(3)]
    assert min(times) < 1.5


def test_ansible_writes_nothing_to_the_terminal(inventory: Write, capfd: pytest.CaptureFixture[str]) -> None:
    # a group name with a dash makes Ansible warn
    site = load_site(inventory({"hosts.yml": "all:\n  children:\n    a-b: {hosts: {box-1: }}\n"}))
    assert capfd.readouterr() == ("", "")
    assert any("a-b" in warning or "Invalid characters" in warning for warning in site.warnings)
