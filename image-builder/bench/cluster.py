"""The second run of role k3s on a server that is as it should be, beside the second run of k3s-io/k3s-ansible."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import yaml
from bench.figures import NotMeasuredError, Row
from edgewright.paths import project_root
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from bench.workplace import Workplace

THEIRS_VARIABLE = "EDGEWRIGHT_K3S_ANSIBLE"
_INSTALLER = "k3s-install.sh"
_REPEATS = 3
_SECONDS, _TASKS = 12.0, 25
_TOLD = 4000
_OURS, _THEIRS = "edgewright-bench-k3s", "edgewright-bench-k3s-ansible"
_IMAGES = "/var/lib/rancher/k3s/agent/images"
_COLLECTIONS = (
    "ansible/posix",
    "ansible/utils",
    "community/docker",
    "community/general",
    "community/library_inventory_filtering_v1",
)
# Only what a release at hand may lack the images of is left out.
_WITHOUT = {
    "disable": ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"],
    "disable-helm-controller": True,
}
_RECAP = re.compile(rb"^\S+\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=0\s+failed=0\s+skipped=(\d+)", re.MULTILINE)
_NOTE = (
    "A server in a container like a blank Debian 13 with systemd, reached through docker; k3s is {what}. "
    f"The median of {_REPEATS} runs after the first, while no other k3s runs on this machine. Tasks are those that "
    "ran; skipped ones take time too."
)
_STAND_IN = "the tests' stand-in, which starts in a second or two where k3s takes ten and more"
_PREPARE = """\
# Debian's installer gives every machine iproute2, which Ansible's facts of addresses come from.
- name: Container of k3s-ansible has what a machine has, and what role k3s installs itself
  hosts: k3s_ansible
  gather_facts: false
  tasks:
    - name: Stand-in can run
      ansible.builtin.apt:
        name: [iproute2, openssl, python3-kubernetes]
        install_recommends: false
"""
_SITE = """\
- name: Node is a cluster
  hosts: k3s_server
  gather_facts: false
  roles:
    - role: edgewright.edge.k3s
"""


@dataclass(frozen=True)
class Run:
    """One run of a playbook: wall-clock seconds, tasks that ran, changed something, were skipped; k3s's restarts."""

    seconds: float
    tasks: int
    changed: int
    skipped: int
    restarts: int


@dataclass(frozen=True)
class K3s:
    """What both sides are given: a real release where one is at hand, else the tests' stand-in.

    Attributes:
        version: of the release.
        scenario: Molecule's scenario whose containers and release these are.
        config: what the server is told.
        manifests: of the site.
        what: it is, for the reader of the figures.
    """

    version: str = "v1.36.5+k3s1"
    scenario: str = "k3s"
    config: Mapping[str, object] = field(default_factory=dict)
    manifests: tuple[str, ...] = ("file:manifests/dashboard.yml",)
    what: str = _STAND_IN

    @classmethod
    def at_hand(cls) -> K3s:
        """Return the newest release that can be had without a network, or the stand-in."""
        tool = project_root() / "molecule" / "k3s_real" / "tools" / "release_at_hand.py"
        try:
            folder = Path(run([sys.executable, tool]).decode().strip())
        except ToolError:
            return cls()
        return cls(folder.name, "k3s_real", _WITHOUT, (), f"a real one, {folder.name}")


class Containers:
    """Containers that are like blank machines, as Molecule's scenario of role k3s describes them."""

    def __init__(self, names: tuple[str, ...], scenario: str) -> None:
        root = project_root()
        image = run([sys.executable, root / "molecule" / "node-image" / "build.py"]).decode().split()[-1]
        described = yaml.safe_load((root / "molecule" / scenario / "molecule.yml").read_text(encoding="utf-8"))
        self._platform = described["platforms"][0]
        self._image, self._names = image, names

    def __enter__(self) -> Self:
        self._remove()
        for name in self._names:
            run(self._argv(name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        run(["docker", "rm", "--force", "--volumes", *self._names], cleaning=True)

    def _argv(self, name: str) -> list[str]:
        platform = self._platform
        lists = {"cap-add": "capabilities", "device": "devices", "security-opt": "security_opts", "tmpfs": "tmpfs"}
        lists["volume"] = "volumes"
        options = [f"--{option}={value}" for option, key in lists.items() for value in platform.get(key, ())]
        fixed = [f"--network={platform['network_mode']}", f"--cgroupns={platform['cgroupns_mode']}"]
        words = ["--detach", f"--name={name}", f"--hostname={name}", *fixed, *options]
        return ["docker", "run", *words, self._image, *platform["command"].split()]


class Bench:
    """The folder with the inventory, the pins and the store, and what k3s-ansible gets.

    Args:
        folder: made anew.
        k3s: what is run.
        theirs: the folder of k3s-ansible, or None.
        log: what Ansible says goes there.
    """

    def __init__(self, folder: Path, k3s: K3s, theirs: Path | None, log: Path) -> None:
        self._folder, self._k3s, self._log = folder, k3s, log
        self._theirs, self._both = folder / "k3s-ansible", theirs is not None
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "inventory").mkdir(parents=True)
        if theirs:
            shutil.copytree(theirs, self._theirs, ignore=shutil.ignore_patterns(".git"))
        (folder / "bin").mkdir()
        # As on a machine without kubectl: with it, k3s-ansible would also make a kubeconfig for this machine's user.
        (folder / "bin" / "kubectl").symlink_to("/bin/false")
        self._write("inventory/hosts.yml", yaml.safe_dump(self._inventory()))
        self._write("prepare.yml", _PREPARE)
        self._write("site.yml", _SITE)
        root = project_root()
        maker, target = root / "molecule" / "ansible_collections.py", root / "build" / "bench" / "collections"
        collections = run([sys.executable, maker, target, *_COLLECTIONS], log=log).decode().strip()
        self._env = {
            "ANSIBLE_COLLECTIONS_PATH": f"{root / 'collections'}:{collections}",
            "ANSIBLE_INVENTORY_IGNORE_REGEX": r"site\.lock\.yml",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_PIPELINING": "1",
            "EDGEWRIGHT_CACHE": str(folder / "cache"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(folder),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def _inventory(self) -> dict[str, object]:
        ours = {
            "edge_site": "bench",
            "edge_kubernetes": {"k3s": self._k3s.version, "manifests": list(self._k3s.manifests)},
            "k3s__config": dict(self._k3s.config),
            "k3s__default_route": True,
        }
        # Its airgap role takes program, installer and image archives from that folder instead of from the network.
        theirs = {
            "airgap_dir": str(self._folder / "airgap"),
            "api_endpoint": "127.0.0.1",
            "k3s_version": self._k3s.version,
            "server_config_yaml": yaml.safe_dump(dict(self._k3s.config)),
            "token": "token-of-the-bench-0123456789",
        }
        groups: dict[str, object] = {"k3s_server": {"hosts": {_OURS: {}}, "vars": ours}}
        if self._both:
            groups["k3s_ansible"] = {"children": {"k3s_cluster": {}}}
            groups["k3s_cluster"] = {"children": {"server": {}, "agent": {}}, "vars": theirs}
            groups |= {"server": {"hosts": {_THEIRS: {}}}, "agent": {"hosts": {}}}
        common = {
            "ansible_connection": "community.docker.docker",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_user": "root",
        }
        return {"all": {"children": groups, "vars": common}}

    def prepare(self) -> None:
        """Make the containers blank machines, and the release of k3s, with its images, that both are given."""
        self._play(project_root() / "molecule" / self._k3s.scenario / "prepare.yml")
        if self._both:
            self._play(self._folder / "prepare.yml")

    def ours(self) -> Run:
        """Run role k3s."""
        return self._measured(_OURS, self._folder / "site.yml")

    def theirs(self) -> Run:
        """Run k3s-ansible's own playbook with its own settings."""
        return self._measured(_THEIRS, self._theirs / "playbooks" / "site.yml", cwd=self._theirs)

    def give(self) -> None:
        """Give k3s-ansible the program and the image archives that the first server has."""
        airgap = self._folder / "airgap"
        shutil.rmtree(airgap, ignore_errors=True)
        run(["docker", "cp", f"{_OURS}:{_IMAGES}", airgap])
        run(["docker", "cp", f"{_OURS}:/usr/local/bin/k3s-{self._k3s.version}", airgap / "k3s"])
        shutil.copy(self._theirs / _INSTALLER, airgap)
        (airgap / _INSTALLER).chmod(0o755)

    def stop_ours(self) -> None:
        """Stop our server: a k3s that runs takes a good part of a processor, with nothing to do either."""
        run(["docker", "exec", _OURS, "systemctl", "stop", "k3s.service"])

    def _measured(self, container: str, playbook: Path, *, cwd: Path | None = None) -> Run:
        before = self._start_of(container)
        began = time.monotonic()
        said = self._play(playbook, cwd=cwd)
        seconds = time.monotonic() - began
        recap = [tuple(map(int, found)) for found in _RECAP.findall(said)]
        if not recap:
            raise RuntimeError(f"{playbook.name}: Ansible tells no result")
        tasks, changed, skipped = (sum(counts) for counts in zip(*recap, strict=True))
        return Run(seconds, tasks, changed, skipped, restarts=int(self._start_of(container) != before))

    def _start_of(self, container: str) -> bytes:
        show = ["systemctl", "show", "--property=InvocationID", "--value", "k3s.service"]
        return run(["docker", "exec", container, *show])

    def _play(self, playbook: Path, *, cwd: Path | None = None) -> bytes:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        output = self._folder / "output"
        try:
            with output.open("wb") as file:
                run([ansible, "-i", self._folder / "inventory", playbook], stdout=file, env=self._env, cwd=cwd)
        except ToolError as error:
            # Ansible tells of what goes wrong where others tell of what goes right.
            said = output.read_text(encoding="utf-8")[-_TOLD:]
            raise ToolError(error.argv, error.returncode, said) from error
        finally:
            with self._log.open("ab") as log:
                log.write(output.read_bytes())
        return output.read_bytes()


def cluster(place: Workplace) -> list[Row]:
    """Measure; k3s-ansible's side only where its folder is named by the environment.

    Raises:
        NotMeasuredError: there is no docker to make containers with.
    """
    try:
        run(["docker", "version"])
    except ToolError as error:
        raise NotMeasuredError("docker is missing, or may not be used") from error
    theirs, reason = _theirs(os.environ)
    k3s = K3s.at_hand()
    bench = Bench(place.folder / "cluster", k3s, theirs, place.reporter.run_log)
    their_runs: list[Run] = []
    with Containers((_OURS, _THEIRS) if theirs else (_OURS,), k3s.scenario):
        with place.reporter.step("containers, a release of k3s, first runs"):
            bench.prepare()
            bench.ours()
        with place.reporter.step("second runs"):
            ours_runs = [bench.ours() for _ in range(_REPEATS)]
        if theirs:
            with place.reporter.step("k3s-ansible, first run"):
                bench.give()
                bench.stop_ours()
                bench.theirs()
            with place.reporter.step("k3s-ansible, second runs"):
                their_runs = [bench.theirs() for _ in range(_REPEATS)]
    note = _NOTE.format(what=k3s.what)
    return _rows(ours_runs, their_runs, note if theirs else f"{note} Not measured: k3s-ansible: {reason}.")


def _theirs(environment: Mapping[str, str]) -> tuple[Path | None, str]:
    """Return k3s-ansible's folder, or why there is none."""
    named = environment.get(THEIRS_VARIABLE)
    if not named:
        return None, f"{THEIRS_VARIABLE} names no folder of it"
    folder = Path(named)
    for file in ("playbooks/site.yml", _INSTALLER):
        if not (folder / file).is_file():
            return None, f"{THEIRS_VARIABLE}: {file} is missing in the folder"
    return folder, ""


def _rows(ours: list[Run], theirs: list[Run], note: str) -> list[Row]:
    than = "k3s-ansible" if theirs else ""
    figures = {
        "seconds": ("wall clock", "s", _SECONDS),
        "tasks": ("tasks", "tasks", float(_TASKS)),
        "skipped": ("tasks skipped", "tasks", None),
        "changed": ("tasks that changed something", "tasks", 0.0),
        "restarts": ("restarts of k3s", "restarts", 0.0),
    }
    rows = []
    for name, (figure, unit, limit) in figures.items():
        mine = statistics.median(getattr(each, name) for each in ours)
        other = statistics.median(getattr(each, name) for each in theirs) if theirs else None
        rows.append(Row(f"Converged k3s server again, {figure}", mine, unit, other, than, limit=limit, note=note))
    return rows
