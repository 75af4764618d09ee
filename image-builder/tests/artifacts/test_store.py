from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.store import Store, digest_of_file
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"some bytes\n" * 1000


def _digest(content: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _sha256sum(path: Path) -> str:
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]


def _files(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_a_file_lies_under_its_digest_read_only(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    path = store.add_file(source, _digest(CONTENT))
    assert path == store.path(_digest(CONTENT))
    assert path.name == _sha256sum(path)
    assert path.parent.name == path.name[:2]
    assert path.stat().st_mode & 0o777 == 0o444
    source.write_bytes(b"changed later")
    store.verify(_digest(CONTENT))


def test_wrong_bytes_are_refused_and_nothing_is_kept(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"other")
    with pytest.raises(EdgeError) as caught:
        store.add_file(source, _digest(CONTENT))
    text = str(caught.value)
    assert str(source) in text
    assert _digest(CONTENT) in text
    assert _digest(b"other") in text
    assert _files(store) == ["partial/lock"]


@given(content=st.binary(max_size=3000))
@settings(max_examples=30, deadline=None)
def test_adopted_bytes_are_found_under_the_digest_that_is_returned(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    digest, size = store.adopt_stream(io.BytesIO(content))
    assert size == len(content)
    assert _sha256sum(store.path(digest)) == digest.removeprefix("sha256:")


def test_a_flipped_byte_is_found_by_verify(store: Store) -> None:
    digest, _ = store.adopt_stream(io.BytesIO(CONTENT))
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"S" + CONTENT[1:])
    with pytest.raises(EdgeError, match="edgewright fetch --verify"):
        store.verify(digest)
    store.discard(digest)
    with pytest.raises(EdgeError, match="not in the store"):
        store.verify(digest)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "a" * 32, "sha256:../" + "a" * 61])
def test_what_is_no_digest_names_no_path(store: Store, digest: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        store.path(digest)


def test_a_process_killed_while_it_writes_leaves_nothing_that_counts(store: Store) -> None:
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from edgewright.store import Store
        class Dying:
            left = [b"some bytes\\n"] * 3
            def read(self, size=-1):
                return self.left.pop() if self.left else os.kill(os.getpid(), 9)
        Store(Path(sys.argv[1])).add_stream(Dying(), sys.argv[2], "dying")
    """)
    result = subprocess.run(
        [sys.executable, "-c", program, store.root, _digest(CONTENT)], env=_environment(), check=False
    )
    assert result.returncode == -9
    assert not store.has(_digest(CONTENT))
    left = [name for name in _files(store) if name != "partial/lock"]
    assert [name.startswith("partial/tmp-") for name in left] == [True]
    store.clean_leftovers()
    assert _files(store) == ["partial/lock"]


def test_cleaning_spares_downloads_and_whoever_is_writing(store: Store) -> None:
    with store.partial(_digest(CONTENT)) as part:
        part.write(b"beginning")
    (store.root / "partial" / "tmp-old").write_bytes(b"rubbish")
    with store.writing():
        assert store.clean_leftovers() == 0
        assert (store.root / "partial" / "tmp-old").exists()
    assert store.clean_leftovers() == len(b"rubbish")
    assert store.partial_path(_digest(CONTENT)).read_bytes() == b"beginning"
    assert store.clean_leftovers(downloads=True) == len(b"beginning")


def test_a_second_writer_of_a_download_waits_and_then_finds_it_done(store: Store) -> None:
    digest = _digest(CONTENT)
    events: list[str] = []
    held = threading.Event()

    def second() -> None:
        held.wait()
        with store.partial(digest) as part:
            events.append(f"second: {store.has(digest)} {len(part.read())}")

    thread = threading.Thread(target=second)
    thread.start()
    with store.partial(digest) as part:
        held.set()
        part.write(CONTENT)
        thread.join(0.2)
        assert thread.is_alive()
        events.append("first")
        store.commit_partial(digest, part, digest)
    thread.join(5)
    assert events == ["first", "second: True 0"]


def test_processes_that_add_the_same_file_at_once_all_succeed(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT * 200)
    digest, _ = digest_of_file(source)
    program = "import sys; from pathlib import Path; from edgewright.store import Store\n"
    program += "Store(Path(sys.argv[1])).add_file(Path(sys.argv[2]), sys.argv[3])"
    argv = [sys.executable, "-c", program, str(store.root), str(source), digest]
    processes = [subprocess.Popen(argv, env=_environment()) for _ in range(4)]
    assert [process.wait(30) for process in processes] == [0, 0, 0, 0]
    assert _sha256sum(store.path(digest)) == digest.removeprefix("sha256:")
    assert len(_files(store)) == 2  # it and the lock


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
