"""``edgewright fetch`` as its own process, with everything that can happen to a process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import command_line
import pytest
from edgewright.lockfile import Distribution, Lock, Package, Tree
from edgewright.resolve_request import request_of
from edgewright.site import load_site
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
from random import Random

HOSTS = "all:\n  hosts:\n    box:\n      ansible_connection: local\n"


class Bench:
    """A locked inventory whose packages lie on a local mirror."""

    def __init__(self, folder: Path, web: Any, debs: list[tuple[Path, Package]]) -> None:
        self.web = web
        self.inventory = folder / "site"
        self.cache = folder / "cache"
        self.store = Store(self.cache / "store")
        (self.inventory / "group_vars").mkdir(parents=True)
        (self.inventory / "hosts.yml").write_text(HOSTS)
        (self.inventory / "group_vars" / "all.yml").write_text("edge_site: bench\nedge_runtime: podman\n")
        self.packages = {package.name: package for _, package in debs}
        for deb, package in debs:
            web.files[f"/{package.path}"] = deb.read_bytes()
        request = request_of(load_site(self.inventory))
        trees = {name: Tree(tuple(asked), tuple(self.packages)) for name, asked in request.trees.items()}
        distribution = Distribution(mirrors={"debian": (f"{web.url}/debian",)})
        Lock(distribution, self.packages, trees).dump(self.inventory / "site.lock.yml")

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        argv = [
            sys.executable,
            "-m",
            "edgewright",
            "fetch",
            "-i",
            str(self.inventory),
            "--cache",
            str(self.cache),
            *words,
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True, **options)

    def fetch(self, *words: str) -> tuple[int, str, str]:
        done = command_line.run("fetch", "-i", self.inventory, "--cache", self.cache, *words)
        return done.returncode, done.stdout, done.stderr

    def wait_for_bytes(self, count: int) -> None:
        """Wait until the downloads under way have brought some bytes to the disk."""
        deadline = time.monotonic() + 120
        while sum(path.stat().st_size for path in (self.store.root / "partial").glob("*.part")) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def is_whole(self) -> bool:
        for package in self.packages.values():
            path = self.store.path(package.digest)
            if not path.is_file():
                return False
            found = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
            assert found == package.digest.removeprefix("sha256:")
        return True

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.store.root / "partial").iterdir() if path.name != "lock")


@pytest.fixture
def bench(tmp_path: Path, web: Any, make_deb: Callable[..., tuple[Path, Package]]) -> Bench:
    filler = Random(1).randbytes(450_000).hex()  # noqa: S311 - large enough to be caught half-way
    return Bench(tmp_path, web, [make_deb(f"tool{index}", compress="none", X_Filler=filler) for index in range(3)])


def test_everything_comes_and_a_second_run_asks_nothing(bench: Bench) -> None:
    code, out, err = bench.fetch("--json")
    assert (code, err.count("error")) == (0, 0)
    assert sorted(each["name"] for each in json.loads(out)["fetched"]) == [f"package tool{n} 1.0" for n in range(3)]
    assert bench.is_whole()
    bench.web.requests.clear()
    code, out, _ = bench.fetch()
    assert (code, bench.web.requests) == (0, [])
    assert "0 files fetched" in out


def test_a_dry_run_lists_what_is_missing_and_asks_nothing(bench: Bench) -> None:
    code, out, _ = bench.fetch("--dry-run")
    assert code == 3
    assert f"{bench.packages['tool1'].size:>12}  package tool1 1.0" in out.splitlines()
    assert bench.web.requests == []
    bench.fetch()
    assert bench.fetch("--offline-check")[0] == 0


def test_after_kill_9_the_next_run_goes_on(bench: Bench, step: Any) -> None:
    bench.web.always = step(delay=0.1)
    process = bench.start()
    bench.wait_for_bytes(400_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    parts = {path.stem: path.stat().st_size for path in (bench.store.root / "partial").glob("*.part")}
    assert not bench.is_whole()
    bench.web.always = None
    bench.web.requests.clear()
    code, out, _ = bench.fetch("--json")
    assert code == 0
    assert bench.is_whole()
    assert json.loads(out)["received"] <= sum(each.size for each in bench.packages.values()) - sum(parts.values())
    assert sorted(asked for _, asked in bench.web.requests) == sorted(f"bytes={size}-" for size in parts.values())
    assert bench.left() == []


def test_ctrl_c_ends_at_once_with_130_and_leaves_only_resumable_parts(bench: Bench, step: Any) -> None:
    bench.web.always = step(delay=0.5)
    process = bench.start()
    bench.wait_for_bytes(1)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert time.monotonic() - begin < 4
    assert "Traceback" not in err
    assert all(name.endswith(".part") for name in bench.left())
    bench.web.always = None
    assert bench.fetch()[0] == 0
    assert bench.is_whole()


def test_two_processes_at_once_share_the_work(bench: Bench, step: Any) -> None:
    bench.web.always = step(delay=0.02)
    processes = [bench.start() for _ in range(3)]
    for process in processes:
        process.communicate(timeout=180)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert bench.is_whole()
    assert len(bench.web.requests) == 3
    assert bench.left() == []


def test_a_network_that_ends_half_way_is_exit_3_and_the_next_run_goes_on(bench: Bench, step: Any) -> None:
    bench.web.always = step(delay=0.1)
    process = bench.start()
    bench.wait_for_bytes(400_000)
    bench.web.always = step(cut_after=0)
    bench.web.stop_bodies = True
    _, err = process.communicate(timeout=180)
    assert process.returncode == 3
    assert "the network failed" in err
    assert "run 'edgewright fetch' again: it goes on where it stopped" in err
    bench.web.stop_bodies = False
    bench.web.always = None
    code, out, _ = bench.fetch("--json")
    assert code == 0
    assert json.loads(out)["received"] < sum(each.size for each in bench.packages.values())
    assert bench.is_whole()


def test_wrong_bytes_are_exit_2_and_name_the_package(bench: Bench) -> None:
    package = bench.packages["tool1"]
    right = bench.web.files[f"/{package.path}"]
    bench.web.files[f"/{package.path}"] = b"X" + right[1:]
    code, out, _ = bench.fetch("--json")
    assert code == 2
    (error,) = json.loads(out)["errors"]
    assert (error["where"], error["expected"]) == ("package tool1 1.0", package.digest)
    assert error["found"].startswith("sha256:")
    assert error["found"] != package.digest
    assert not bench.store.has(package.digest)
    assert bench.left() == []
    assert bench.store.has(bench.packages["tool0"].digest)


def test_packages_gone_from_the_mirror_are_exit_3_with_a_remedy(bench: Bench) -> None:
    for name in ("tool0", "tool2"):
        del bench.web.files[f"/{bench.packages[name].path}"]
    code, out, _ = bench.fetch("--json")
    assert code == 3
    errors = json.loads(out)["errors"]
    assert [error["where"] for error in errors] == ["package tool0 1.0", "package tool2 1.0"]
    assert all("edgewright lock --upgrade" in error["remedy"] for error in errors)


def test_a_full_disk_is_exit_1_says_so_and_the_next_run_goes_on(bench: Bench) -> None:
    limit = 300_000

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = bench.start(preexec_fn=set_limit)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert "File too large" in err
    assert str(bench.store.root) in err
    assert not bench.is_whole()
    assert bench.fetch()[0] == 0
    assert bench.is_whole()
    assert bench.left() == []


def test_a_disk_too_small_is_told_with_numbers_before_anything_is_asked(bench: Bench, tmp_path: Path) -> None:
    bench.cache = tmp_path / "small"
    bench.cache.mkdir()
    mount = f'mount -t tmpfs -o size=2m none {bench.cache} && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*argv, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no user namespaces")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    fetch = [sys.executable, "-m", "edgewright", "fetch", "-i", str(bench.inventory), "--cache", str(bench.cache)]
    result = subprocess.run([*argv, *fetch], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "not enough free disk space for the downloads; found 2 MB free; expected" in result.stderr
    assert "choose another disk with --cache" in result.stderr
    assert bench.web.requests == []


def test_verify_finds_and_mends_what_a_disk_damaged(bench: Bench) -> None:
    assert bench.fetch()[0] == 0
    path = bench.store.path(bench.packages["tool1"].digest)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, _, err = bench.fetch("--verify")
    assert code == 0
    assert "package tool1 1.0: the disk changed it" in err
    assert bench.is_whole()


def test_a_lock_older_than_the_inventory_is_refused(bench: Bench) -> None:
    path = bench.inventory / "site.lock.yml"
    lock = Lock.load(path)
    trees = {**lock.trees, "node": Tree(lock.trees["node"].requested[1:], lock.trees["node"].packages)}
    Lock(lock.distribution, lock.packages, trees).dump(path)
    code, _, err = bench.fetch()
    assert code == 2
    assert "the lock is older than the inventory: packages of 'node'; found not pinned; expected" in err
    assert "Run 'edgewright lock'" in err


def test_without_a_lock_the_next_step_is_named(bench: Bench) -> None:
    (bench.inventory / "site.lock.yml").unlink()
    code, _, err = bench.fetch()
    assert code == 2
    assert f"Run 'edgewright lock -i {bench.inventory}'" in err
