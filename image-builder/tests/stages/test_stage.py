from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from edgewright.stages.stage import Context, digest_of_files, remove_leftovers
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Note

if TYPE_CHECKING:
    from pathlib import Path

HOLD_A_LOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
time.sleep(600)
"""


class TestKey:
    @given(st.text(), st.text())
    def test_is_the_same_exactly_when_the_inputs_are(self, one: str, other: str) -> None:
        assert (Note(one).key() == Note(other).key()) == (one == other)

    def test_changes_with_what_a_needed_stage_is_made_of(self) -> None:
        assert Note("top", (Note("below"),)).key() != Note("top", (Note("BELOW"),)).key()
        assert Note("top", (Note("below"),)).key() == Note("top", (Note("below"),)).key()

    def test_changes_with_the_order_of_needed_stages(self) -> None:
        assert Note("top", (Note("a"), Note("b"))).key() != Note("top", (Note("b"), Note("a"))).key()

    def test_is_not_that_of_another_kind_of_stage(self) -> None:
        class Remark(Note):
            name = "remark"

        assert Remark("text").key() != Note("text").key()


class TestBuild:
    def test_makes_the_output_once(self, context: Context) -> None:
        assert Note("text").build(context)
        again = Note("text")
        assert not again.build(context)
        assert again.runs == []
        assert (again.output(context.cache) / "note").read_text() == "text"

    def test_makes_it_again_when_asked_to(self, context: Context) -> None:
        Note("text").build(context)
        again = Note("text")
        (again.output(context.cache) / "note").write_text("damaged")
        assert again.build(context, rebuild=True)
        assert (again.output(context.cache) / "note").read_text() == "text"

    def test_that_fails_leaves_nothing(self, context: Context) -> None:
        def fail(out: Path) -> None:
            (out / "half").write_text("made")
            raise RuntimeError("no")

        broken = Note("text", work=fail)
        with pytest.raises(RuntimeError):
            broken.build(context)
        assert not broken.is_built(context.cache)
        assert list(context.cache.tmp.iterdir()) == []
        assert Note("text").build(context), "what failed must be made by the next build"

    def test_that_is_killed_leaves_nothing_that_is_used_again(self, context: Context, tmp_path: Path) -> None:
        begun = tmp_path / "begun"
        child = os.fork()
        if child == 0:

            def hang(out: Path) -> None:
                (out / "half").write_text("made")
                begun.touch()
                time.sleep(600)

            try:
                Note("text", work=hang).build(context)
            finally:
                os._exit(1)
        wait_for(begun)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not Note("text").is_built(context.cache)
        assert len(list(context.cache.tmp.iterdir())) == 1
        assert remove_leftovers(context.cache) == 1
        assert Note("text").build(context)
        assert not (Note("text").output(context.cache) / "half").exists()

    @pytest.mark.parametrize("how", ["threads", "processes"])
    def test_at_the_same_time_by_several_makes_it_once(self, context: Context, tmp_path: Path, how: str) -> None:
        record = tmp_path / "record"

        def slow(out: Path) -> None:
            with record.open("a") as stream:
                stream.write("made\n")
            (out / "more").write_text("x")
            time.sleep(0.3)

        def build() -> None:
            Note("text", work=slow).build(context)
            assert (Note("text").output(context.cache) / "more").exists()

        if how == "threads":
            threads = [threading.Thread(target=build) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            children = []
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    try:
                        build()
                        os._exit(0)
                    finally:
                        os._exit(1)
                children.append(child)
            assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        assert record.read_text() == "made\n"


class TestLeftovers:
    def test_of_a_dead_run_go_and_those_of_a_running_build_stay(self, context: Context) -> None:
        (context.cache.tmp / "note-dead" / "out").mkdir(parents=True)
        mine = context.cache.tmp / "note-mine"
        mine.mkdir()
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                HOLD_A_LOCK,
                str(mine),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            assert remove_leftovers(context.cache) == 1
            assert [path.name for path in context.cache.tmp.iterdir()] == ["note-mine"]
        finally:
            holder.kill()
            holder.communicate()
        assert remove_leftovers(context.cache) == 1
        assert list(context.cache.tmp.iterdir()) == []

    def test_a_stage_holds_its_scratch_folder_while_it_works(self, context: Context) -> None:
        held = []

        def look(out: Path) -> None:
            descriptor = os.open(out.parent, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(out.parent)
            finally:
                os.close(descriptor)

        Note("text", work=look).build(context)
        assert len(held) == 1


class TestDigestOfFiles:
    def make(self, folder: Path) -> Path:
        (folder / "a").mkdir(parents=True)
        (folder / "a/one").write_text("1")
        (folder / "two").write_text("2")
        return folder

    def test_is_the_same_wherever_the_files_lie_and_whenever_they_were_written(self, tmp_path: Path) -> None:
        here, there = self.make(tmp_path / "here"), self.make(tmp_path / "there")
        os.utime(there / "two", (1, 1))
        (there / "two").chmod(0o600)
        assert digest_of_files(here) == digest_of_files(there)

    @pytest.mark.parametrize("change", ["content", "name", "executable", "new file", "moved"])
    def test_changes_with_what_a_build_can_see(self, tmp_path: Path, change: str) -> None:
        folder = self.make(tmp_path / "folder")
        before = digest_of_files(folder)
        match change:
            case "content":
                (folder / "two").write_text("3")
            case "name":
                (folder / "two").rename(folder / "three")
            case "executable":
                (folder / "two").chmod(0o755)
            case "new file":
                (folder / "empty").touch()
            case "moved":
                (folder / "two").rename(folder / "a/two")
        assert digest_of_files(folder) != before

    def test_passes_over_byte_compiled_python_and_what_is_excluded(self, tmp_path: Path) -> None:
        folder = self.make(tmp_path / "folder")
        before = digest_of_files(folder, exclude=("notes/*",))
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__/one.cpython-313.pyc").write_bytes(b"\0")
        (folder / "notes").mkdir()
        (folder / "notes/README").touch()
        assert digest_of_files(folder, exclude=("notes/*",)) == before

    def test_bytes_cannot_move_between_names_and_content(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        (one / "a").write_text("b")
        (other / "ab").write_text("")
        assert digest_of_files(one) != digest_of_files(other)

    def test_of_a_folder_that_is_not_there_is_that_of_an_empty_one(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert digest_of_files(tmp_path / "missing") == digest_of_files(tmp_path / "empty")


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
