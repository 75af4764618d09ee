"""Imports damaged sources of virtual machines, as many as time allows, and says what an import must never do.

    python -m ansible_collections.edgewright.edge.tests.fuzz.machine_sources [--seconds N] [--seed N] [--keep FOLDER]

A case is damaged by dice that its number and the seed throw, so each run with a seed does the same to samples that
differ in their UUIDs only. A case is wrong when an import ends in anything but disks or one ``EdgeError``, writes
outside its folder, changes its source, leaves something half done, or shows the guest a byte of a file beside the
source. The source of a wrong case is kept.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import ImportOptions
from ansible_collections.edgewright.edge.plugins.module_utils.machine_import import MachineImport, look
from ansible_collections.edgewright.edge.tests.fuzz.mutations import mutated
from ansible_collections.edgewright.edge.tests.fuzz.samples import Sample, hostile_images, samples

_SECRET = b"of somebody else's: 5c1f2e0d" * 64
_LONGEST = 60.0  # seconds that one import of these small sources may take


class WrongError(Exception):
    """An import did what it must never do."""


@dataclass
class Fuzz:
    """A run in a folder of its own: ``samples`` are made once, each case has its place in ``work``."""

    folder: Path
    seed: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        made = self.folder / "samples"
        self._work = self.folder / "work"
        for folder in (made, self._work):
            folder.mkdir()
        (self._work / "canary").write_bytes(_SECRET)
        self._samples = samples(made)
        self._hostile = hostile_images(made, self._work / "canary")

    @property
    def known(self) -> int:
        """How many of the first cases are not damaged: samples that must be imported, and some that must not."""
        return len(self._samples) + len(self._hostile)

    def source(self, number: int) -> tuple[Sample, bytes | None]:
        """Return the source of a case: a sample, and for an OVA the archive if it is damaged as a whole."""
        if number < self.known:
            return [*self._samples, *self._hostile][number], None
        dice = random.Random(f"{self.seed}:{number}")  # noqa: S311 (repeatable, no secret)
        return mutated(dice.choice([*self._samples, *self._hostile]), dice, self._samples)

    def case(self, number: int) -> None:
        """Import the case with this number.

        Raises:
            WrongError: it did what it must not; says what.
        """
        sample, archive = self.source(number)
        runtime = ("podman", "k3s")[number % 2]
        options = ImportOptions(runtime=runtime, format="raw" if runtime == "k3s" else "qcow2")
        began = time.monotonic()
        said = self._import(sample, archive, options)
        if (taken := time.monotonic() - began) > _LONGEST:
            raise WrongError(f"took {taken:.0f} s")
        if number < self.known and (said == "imported") != (number < len(self._samples)):
            raise WrongError(f"{sample.name} was {said}")
        self.outcomes[f"{sample.name}: {said}"] += 1

    def keep(self, number: int, folder: Path) -> Path:
        """Write the source of a case into a folder below this one; return the file to import."""
        place = folder / f"{self.seed}-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        sample, archive = self.source(number)
        main = sample.write(place)
        if archive is not None:
            main.write_bytes(archive)
        return main

    def _import(self, sample: Sample, archive: bytes | None, options: ImportOptions) -> str:
        """Import in a folder of its own, and look at all that is around it."""
        home = self._work / "home"
        home.mkdir()
        try:
            main = sample.write(home)
            if archive is not None:
                main.write_bytes(archive)
            before = _state(self._work)
            target = home / "disks"
            said = "refused"
            try:
                look(main, options, [home])
                work = MachineImport(main, target, options, folders=[home])
                work.run(lambda _disk, _percent: None)
                made = [Path(disk["path"]) for disk in work.disks()]
                self._inspect(made, target)
                said = "imported"
            except EdgeError as error:
                if not error.problems:
                    raise WrongError("an error that says nothing") from error
                if left := [path for path in target.rglob("*") if path.name.endswith(".partial")]:
                    raise WrongError(f"left {left}") from error
            after = _state(self._work, without=target)
            if before != after:
                raise WrongError(f"changed {sorted(map(str, before.items() ^ after.items()))}")
        finally:
            shutil.rmtree(home)
        return said

    def _inspect(self, made: list[Path], target: Path) -> None:
        for path in made:
            if not path.resolve().is_relative_to(target.resolve()):
                raise WrongError(f"wrote {path}")
            if _SECRET[:28] in path.read_bytes():
                raise WrongError(f"{path} has what is beside the source")


def _state(folder: Path, *, without: Path | None = None) -> dict[str, object]:
    """Return what everything below a folder is, links and empty folders too: whoever writes a file leaves a time."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if without is not None and path.is_relative_to(without):
            continue
        state = path.lstat()
        # A folder's own time changes with the import's folder in it.
        times = (state.st_mtime_ns, state.st_size) if path.is_file() else ()
        found[str(path)] = (state.st_mode, state.st_ino, str(path.readlink()) if path.is_symlink() else "", *times)
    return found


def main() -> int:
    """Fuzz until the time is up; tell what was found and how to have it again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), metavar="FOLDER", help="of wrong cases")
    options = parser.parse_args()
    wrong = number = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgewright-fuzz-") as scratch:
        fuzz = Fuzz(Path(scratch), options.seed)
        while True:
            try:
                fuzz.case(number)
            except Exception:
                wrong += 1
                kept = fuzz.keep(number, options.keep)
                print(
                    f"WRONG: case {number} of seed {options.seed}, kept as {kept}\n{traceback.format_exc()}", flush=True
                )
            number += 1
            if time.monotonic() - began > options.seconds:
                break
    for said, count in sorted(fuzz.outcomes.items()):
        print(f"{count:6} {said}")
    print(f"{sum(fuzz.outcomes.values())} cases in {time.monotonic() - began:.0f} s, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
