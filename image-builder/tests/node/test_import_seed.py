"""The program that takes a node's secrets from its medium, run on folders; tar(1) and sha256sum(1) make the seeds."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from edgewright.paths import node_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = node_dir() / "root/usr/lib/edgewright/import-seed"
SECRETS = {"etc/app/deep/token": "open sesame\n", "var/lib/app/key": "-----BEGIN KEY-----\n" * 300, "etc/flat": "x"}
MODES = {"etc/app/deep/token": 0o600, "var/lib/app/key": 0o400, "etc/flat": 0o600}
# Ends the program at its n-th call that reaches a disk, and says how many there were when it was not reached.
CUT = """
import os, pathlib, runpy, sys
program, left = sys.argv[1], int(sys.argv[2])
sys.argv = [program, *sys.argv[3:]]
def counted(real):
    def call(*words, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(99)
        if real is os_write and left == 0:
            words = (words[0], bytes(words[1])[: len(words[1]) // 2])  # the power goes in the middle of a write
        return real(*words, **named)
    return call
os_write = os.write
for name in ("write", "open", "fsync", "unlink", "replace", "mkdir", "rmdir", "chmod", "fchmod"):
    setattr(os, name, counted(getattr(os, name)))
runpy.run_path(program, run_name="__main__")
"""


@dataclass
class Machine:
    """A node's files and its medium, as folders."""

    root: Path
    esp: Path

    @property
    def seed(self) -> Path:
        return self.esp / "edgewright/seed"

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *self.options()], capture_output=True, text=True, check=False)

    def options(self) -> list[str]:
        return ["--root", str(self.root), "--esp", str(self.esp)]

    def imported(self) -> bool:
        """Whether every secret is there, whole and with its mode."""
        return all(
            (self.root / path).is_file()
            and (self.root / path).read_text() == text
            and (self.root / path).stat().st_mode & 0o7777 == MODES[path]
            for path, text in SECRETS.items()
        )

    def problem(self) -> str:
        path = self.root / "run/edgewright/seed-problem"
        return path.read_text() if path.exists() else ""


def make_machine(folder: Path, node: str | None = "till-01") -> Machine:
    machine = Machine(folder / "root", folder / "esp")
    for name in ("root/etc", "root/var/lib/edgewright", "root/run/edgewright", "esp/edgewright/seed"):
        (folder / name).mkdir(parents=True)
    (machine.root / "etc").chmod(0o755)
    (machine.root / "run/edgewright/identity.json").write_text(json.dumps({"node": node, "by": "mac"}))
    (machine.esp / "edgewright/node").write_text("till-01\n")
    return machine


def pack(machine: Machine, host: str = "till-01") -> None:
    """Make a host's tar with tar(1)."""
    tree = machine.root.with_name(f"tree-{host}")
    for path, text in SECRETS.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(MODES[path])
    (tree / "etc/app").chmod(0o700)
    words = ["tar", "--create", "--no-recursion", "--owner=0", "--group=0", "--numeric-owner", f"--directory={tree}"]
    subprocess.run([*words, f"--file={machine.seed / host}.tar", "etc/app", *SECRETS], check=True)


def sum_up(machine: Machine) -> None:
    """Write SHA256SUMS with sha256sum(1)."""
    names = sorted(path.name for path in machine.seed.glob("*.tar"))
    done = subprocess.run(["sha256sum", *names], cwd=machine.seed, capture_output=True, check=True)
    (machine.seed / "SHA256SUMS").write_bytes(done.stdout)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A node with a seed for it and for another."""
    made = make_machine(tmp_path)
    for host in ("till-01", "till-02"):
        pack(made, host)
    sum_up(made)
    return made


def test_secrets_come_with_their_modes_and_leave_the_medium(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.imported()
    assert [path.name for path in (machine.esp / "edgewright").iterdir()] == ["node"]
    assert (machine.root / "etc/app").stat().st_mode & 0o777 == 0o700
    assert not (machine.root / "var/lib/edgewright/seed-imported").exists()
    assert "/etc/app/deep/token" in done.stdout
    assert "sesame" not in done.stdout + done.stderr
    assert [path for path in machine.root.rglob("*") if path.name.startswith(".")] == []


def test_erased_means_overwritten(machine: Machine) -> None:
    links = machine.esp.with_name("links")
    links.mkdir()
    sizes = {}
    for path in machine.seed.iterdir():
        (links / path.name).hardlink_to(path)
        sizes[path.name] = path.stat().st_size
    assert machine.run().returncode == 0
    assert {path.name: path.read_bytes() for path in links.iterdir()} == {n: bytes(size) for n, size in sizes.items()}


def test_a_second_run_finds_nothing_to_do(machine: Machine) -> None:
    machine.run()
    (machine.root / "etc/flat").write_text("changed on the node")
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert (machine.root / "etc/flat").read_text() == "changed on the node"


def test_a_later_seed_replaces_what_an_earlier_one_brought(machine: Machine) -> None:
    (machine.root / "etc/flat").write_text("old")
    (machine.root / "etc/app").mkdir(mode=0o750)
    assert machine.run().returncode == 0
    assert machine.imported()
    assert (machine.root / "etc/app").stat().st_mode & 0o777 == 0o750, "a folder that is there stays as it is"


@pytest.mark.parametrize("node", ["till-03", None])
def test_a_machine_that_the_seed_does_not_know_leaves_it_alone(machine: Machine, node: str | None) -> None:
    (machine.root / "run/edgewright/identity.json").write_text(json.dumps({"node": node}))
    before = {path.name: path.read_bytes() for path in machine.seed.iterdir()}
    assert machine.run().returncode == 0
    assert {path.name: path.read_bytes() for path in machine.seed.iterdir()} == before
    assert list((machine.root / "etc").iterdir()) == []


def flip(machine: Machine) -> None:
    tar = machine.seed / "till-01.tar"
    content = bytearray(tar.read_bytes())
    content[content.index(b"sesame")] ^= 1
    tar.write_bytes(content)


def cut(machine: Machine) -> None:
    tar = machine.seed / "till-01.tar"
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Machine], object]] = {
    "a flipped bit": flip,
    "a cut file": cut,
    "no tar": lambda machine: (machine.seed / "till-01.tar").unlink(),
    "no sums": lambda machine: (machine.seed / "SHA256SUMS").unlink(),
    "sums of something else": lambda machine: (machine.seed / "SHA256SUMS").write_bytes(b"\0" * 200),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_seed_is_neither_imported_nor_erased(machine: Machine, damage: str) -> None:
    DAMAGES[damage](machine)
    before = {path.name: path.read_bytes() for path in machine.seed.iterdir()}
    done = machine.run()
    assert done.returncode == 1
    assert "was not imported" in done.stdout
    assert machine.problem().strip() in done.stdout
    assert {path.name: path.read_bytes() for path in machine.seed.iterdir()} == before
    assert list((machine.root / "etc").iterdir()) == []


def test_a_sound_seed_after_a_damaged_one_clears_the_problem(machine: Machine) -> None:
    whole = (machine.seed / "till-01.tar").read_bytes()
    cut(machine)
    machine.run()
    assert machine.problem()
    (machine.seed / "till-01.tar").write_bytes(whole)
    assert machine.run().returncode == 0
    assert machine.imported()
    assert not machine.problem()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    for key, value in fields.items():
        setattr(info, key, value)
    return info


FORBIDDEN = {
    "a path outside": ([member("usr/bin/evil")], "below /etc and /var"),
    "an absolute path": ([member("/etc/evil")], "below /etc and /var"),
    "a way up": ([member("etc/../usr/evil")], "below /etc and /var"),
    "a dot": ([member("./etc/evil")], "below /etc and /var"),
    "etc itself as a file": ([member("etc")], "below /etc and /var"),
    "a control character": ([member("etc/e\nvil")], "below /etc and /var"),
    "a link": ([member("etc/evil", type=tarfile.SYMTYPE, linkname="/etc/shadow")], "neither a regular file"),
    "a hard link": ([member("etc/evil", type=tarfile.LNKTYPE, linkname="etc/shadow")], "neither a regular file"),
    "a device": ([member("etc/evil", type=tarfile.CHRTYPE)], "neither a regular file"),
    "a file for all": ([member("etc/evil", mode=0o644)], "mode 0644"),
    "a setuid program": ([member("etc/evil", mode=0o4700)], "mode 4700"),
    "a folder for all": ([member("etc/evil", type=tarfile.DIRTYPE, mode=0o777)], "mode 0777"),
    "another owner": ([member("etc/evil", uid=1000)], "belongs to 1000:0"),
    "a path twice": ([member("etc/evil"), member("etc/evil")], "comes twice"),
    "a file as a folder": ([member("etc/evil"), member("etc/evil/more")], "a file, and a folder"),
    "where a folder is": ([member("etc/there")], "is a folder on this node"),
    "below a link": ([member("etc/led/astray")], "not a folder on this node"),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_no_seed_may_want_is_refused_before_anything_is_written(tmp_path: Path, case: str) -> None:
    members, reason = FORBIDDEN[case]
    machine = make_machine(tmp_path)
    (machine.root / "etc/there").mkdir()
    (machine.root / "usr").mkdir()
    (machine.root / "etc/led").symlink_to("../usr")
    with tarfile.open(machine.seed / "till-01.tar", "w") as archive:
        archive.addfile(member("etc/aaa", size=4), BytesIO(b"fine"))
        for info in members:
            archive.addfile(info)
    sum_up(machine)
    done = machine.run()
    assert done.returncode == 1
    assert reason in done.stdout
    assert sorted(path.name for path in (machine.root / "etc").iterdir()) == ["led", "there"]
    assert list((machine.root / "usr").iterdir()) == []


def run_cut(machine: Machine, calls: int) -> bool:
    """Run the program until the power goes at a call; return whether it came to its end before."""
    words = [sys.executable, "-c", CUT, str(PROGRAM), str(calls), *machine.options()]
    code = subprocess.run(words, capture_output=True, check=False).returncode
    assert code in (0, 99)
    return code == 0


def test_a_power_cut_at_any_moment_leaves_a_seed_or_all_that_it_brought(machine: Machine) -> None:
    template = machine.root.parent
    for calls in range(1000):
        folder = template.with_name(f"{template.name}-cut{calls}")
        subprocess.run(["cp", "-a", template, folder], check=True)
        here = Machine(folder / "root", folder / "esp")
        ended = run_cut(here, calls)
        seed_is_whole = (here.seed / "till-01.tar").exists() and (
            (here.seed / "till-01.tar").read_bytes() == (machine.seed / "till-01.tar").read_bytes()
        )
        assert here.imported() or seed_is_whole, f"call {calls}: lost"
        for path, text in SECRETS.items():
            file = here.root / path
            assert not file.exists() or (file.read_text() == text and file.stat().st_mode & 0o077 == 0), (calls, path)
        again = here.run()
        assert again.returncode == 0, (calls, again.stdout)
        assert here.imported(), calls
        assert [path.name for path in (here.esp / "edgewright").iterdir()] == ["node"], calls
        assert not (here.root / "var/lib/edgewright/seed-imported").exists(), calls
        leftovers = [path for path in here.root.rglob("*") if path.name.startswith(".")]
        assert leftovers == [], calls
        if ended:
            assert calls > 40, "the cuts came at no interesting moment"
            return
    raise AssertionError("the program never came to its end")


def test_another_seed_is_imported_although_the_erasing_of_the_last_was_cut_off(machine: Machine) -> None:
    (machine.root / "var/lib/edgewright/seed-imported").write_text("0" * 64 + "\n")
    assert machine.run().returncode == 0
    assert machine.imported()
    assert not machine.seed.exists()
