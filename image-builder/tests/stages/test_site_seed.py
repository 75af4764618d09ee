"""A host's secrets, from the seed phase to the file that flashing takes; opened by tar(1) and sha256sum(1).

The tree is tiny, and in place of Ansible its ``python3`` is a shell script that does what a role would.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright import site_seed
from edgewright.site_seed import SiteSeed
from edgewright.stages.stage import Context, scratch_folder
from edgewright.tools.process import ToolError
from edgewright.verbs.seed import _secrets_of

from .conftest import SECRET
from .role_scripts import layer_of

WRITE = (
    "umask 022; mkdir -p /etc/app/deep /var/lib/empty; chmod 0700 /etc/app;"
    " (umask 077; echo open sesame >/etc/app/deep/token; cat /etc/app/deep/token >/etc/key); chmod 0400 /etc/key"
)


def run_seed(context: Context, tree: Path, inventory: Path, script: str) -> bytes | None:
    """Run a seed phase that does what ``script`` says, and pack what it changed."""
    layer = layer_of(context, tree, inventory, script)
    with scratch_folder(context.cache, "seed") as scratch:
        changes = scratch / "box"
        changes.mkdir()
        layer.run_phase(context, changes, phase="seed", log=scratch / "log")
        return site_seed.pack(changes, "box", context.epoch)


def listing(tar: bytes, folder: Path) -> list[list[str]]:
    """Return mode, owner and name of each member, as tar(1) lists them."""
    file = folder / "host.tar"
    file.write_bytes(tar)
    words = ["tar", "--list", "--verbose", "--numeric-owner", f"--file={file}"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [[fields[0], fields[1], fields[-1]] for fields in (line.split() for line in lines)]


@pytest.mark.usefixtures("namespaces")
def test_only_files_and_the_folders_around_them_are_packed_with_their_modes(
    context: Context, tree: Path, inventory: Path, tmp_path: Path
) -> None:
    tar = run_seed(context, tree, inventory, WRITE)
    assert tar is not None
    assert listing(tar, tmp_path) == [
        ["drwx------", "0/0", "etc/app/"],
        ["drwxr-xr-x", "0/0", "etc/app/deep/"],
        ["-rw-------", "0/0", "etc/app/deep/token"],
        ["-r--------", "0/0", "etc/key"],
    ]
    assert site_seed.paths(tar) == ["/etc/app/deep/token", "/etc/key"]
    assert run_seed(context, tree, inventory, WRITE) == tar, "the same secrets must be the same bytes"


@pytest.mark.usefixtures("namespaces")
def test_nothing_of_a_secret_stays_on_the_builder(context: Context, tree: Path, inventory: Path) -> None:
    assert run_seed(context, tree, inventory, "(umask 077; echo open; echo sesame >/etc/key)")
    assert list(context.cache.tmp.iterdir()) == []
    found = subprocess.run(["grep", "-rl", "sesame$", context.cache.root], capture_output=True, text=True, check=False)
    # The script in place of python3 is the test's own.
    assert [name for name in found.stdout.split() if not name.endswith("/usr/bin/python3")] == []


@pytest.mark.usefixtures("namespaces")
def test_a_host_without_secrets_has_no_tar(context: Context, tree: Path, inventory: Path) -> None:
    assert run_seed(context, tree, inventory, "mkdir -p /etc/app") is None


@pytest.mark.usefixtures("namespaces")
def test_the_log_has_what_ansible_said_without_the_vaults_secrets(
    context: Context, tree: Path, inventory: Path
) -> None:
    layer = layer_of(context, tree, inventory, f"echo fatal: {SECRET} is no password; exit 2")
    with scratch_folder(context.cache, "seed") as scratch, pytest.raises(ToolError):
        _secrets_of(layer, context, scratch)
    assert "fatal: (secret) is no password" in context.log.read_text()
    assert SECRET not in context.log.read_text()


INTERRUPTED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from role_scripts import layer_of
from edgewright.paths import Cache
from edgewright.stages.stage import Context, scratch_folder
from edgewright.verbs.seed import _secrets_of

cache, log, tree, inventory = map(Path, sys.argv[2:])
context = Context(Cache(cache), 0, log)
layer = layer_of(context, tree, inventory, "(umask 077; echo open >/etc/key); while :; do :; done")
try:
    with scratch_folder(context.cache, "seed") as scratch:
        print(scratch, flush=True)
        _secrets_of(layer, context, scratch)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.usefixtures("namespaces")
def test_an_interrupted_run_leaves_nothing(context: Context, tree: Path, inventory: Path) -> None:
    places = [str(path) for path in (Path(__file__).parent, context.cache.root, context.log, tree, inventory)]
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, *places], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        scratch = Path(run.stdout.readline().strip())
        deadline = time.monotonic() + 120
        while not (scratch / "box").is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert scratch.stat().st_mode & 0o777 == 0o700
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=120) == 130
    assert list(context.cache.tmp.iterdir()) == []


REFUSED = {
    "for others": ("echo x >/etc/open; chmod 0640 /etc/open", "/etc/open has the mode 0640"),
    "setuid": ("(umask 077; echo x >/etc/s); chmod 4700 /etc/s", "/etc/s has the mode 4700"),
    "a link": ("ln -s /etc/shadow /etc/link", "/etc/link is a link"),
    "removed": ("rm /etc/known", "/etc/known is removed, or a device"),
    "a folder for all": (
        "mkdir /etc/app; chmod 0777 /etc/app; (umask 077; echo x >/etc/app/x)",
        "/etc/app has the mode 0777",
    ),
    "outside": ("(umask 077; echo x >/usr/x)", "wrote outside /etc and /var"),
}


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_seed_may_have_is_refused_by_its_path(context: Context, tree: Path, inventory: Path, case: str) -> None:
    script, reason = REFUSED[case]
    with pytest.raises(EdgeError) as caught:
        run_seed(context, tree, inventory, script)
    assert "box: the seed phase" in str(caught.value)
    assert reason in str(caught.value)
    assert list(context.cache.tmp.iterdir()) == []


SEED = SiteSeed({"till-02": b"two" * 400, "till-01": b"one" * 400})


def test_the_file_is_for_its_owner_alone_and_holds_sums_that_fit(tmp_path: Path) -> None:
    file = tmp_path / "shop.seed.tar"
    file.write_text("old")
    file.chmod(0o644)
    SEED.write(file)
    assert file.stat().st_mode & 0o7777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    folder = tmp_path / "medium"
    folder.mkdir()
    subprocess.run(["tar", "--extract", f"--directory={folder}", f"--file={file}"], check=True)
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "till-01.tar", "till-02.tar"]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert SiteSeed.read(file).tars == SEED.tars


def damaged(text: bytes) -> bytes:
    return text.replace(b"oneone", b"onetwo", 1)


@pytest.mark.parametrize("damage", [damaged, lambda text: text[:700], lambda _: b"", lambda _: b"no seed" * 500])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: object) -> None:
    file = tmp_path / "shop.seed.tar"
    SEED.write(file)
    file.write_bytes(cast("type[bytes]", damage)(file.read_bytes()))
    with pytest.raises(EdgeError, match="edgewright seed"):
        SiteSeed.read(file)


def test_a_file_with_more_than_a_seed_in_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.seed.tar"
    SEED.write(file)
    (tmp_path / "evil.efi").write_text("x")
    subprocess.run(["tar", "--append", f"--directory={tmp_path}", f"--file={file}", "evil.efi"], check=True)
    with pytest.raises(EdgeError, match=r"evil\.efi"):
        SiteSeed.read(file)


def test_a_seed_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"no such seed.*edgewright seed"):
        SiteSeed.read(tmp_path / "none")
