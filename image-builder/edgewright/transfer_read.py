"""Taking exports into a store, and reading exports and stores again (the form is in ``transfer``)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.download import check_space
from edgewright.store import digest_of_stream
from edgewright.transfer import Entry, Export, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from edgewright.reporter import Reporter
    from edgewright.store import Readable, Store


@dataclass
class Read:
    """What was read: sites by name, and how much of it."""

    sites: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0
    kept: int = 0


def import_exports(paths: Sequence[Path], store: Store, reporter: Reporter) -> Read:
    """Bring everything that exports hold into a store; what is there is not read again, so a cut-off run goes on.

    Every file is checked before it lands. Where several exports have the same file, one whole copy is enough.

    Raises:
        EdgeError: a path that is no export, or not enough disk space (nothing has landed then); files that are damaged
            or missing in all exports (all others have landed).
    """
    with _all_opened(paths) as exports:
        read = Read(_sites(exports))
        entries = _entries(exports)
        todo = [entry for entry in entries if not store.has(entry.digest)]
        read.kept = len(entries) - len(todo)
        check_space(store, sum(entry.size for entry in todo))
        store.clean_leftovers()
        problems = Problems()
        total = sum(entry.size for entry in todo)
        for entry in todo:
            reporter.progress("import", read.size, total)
            with problems.collecting():
                _land(entry, exports, store)
                read.files += 1
                read.size += entry.size
    problems.raise_if_any()
    return read


def verify_exports(paths: Sequence[Path], reporter: Reporter) -> Read:
    """Read everything that exports hold.

    Raises:
        EdgeError: what is no export, and everything in the others that is damaged or missing.
    """
    problems = Problems()
    with _all_opened(paths) as exports:
        read = Read(_sites(exports))
        for export in exports:
            entries = _entries([export])
            total = sum(entry.size for entry in entries)
            done = 0
            for entry in entries:
                reporter.progress(f"verify {export.name}", done, total)
                done += entry.size
                with export.open(entry) as stream, problems.collecting():
                    found = _read(stream)
                    if found != entry.digest:
                        raise _bad(entry, {export.name: found})
                    read.files += 1
                    read.size += entry.size
    problems.raise_if_any()
    return read


def damaged_in_store(digests: Iterable[tuple[str, str]], store: Store, reporter: Reporter) -> tuple[Read, Problems]:
    """Read files of a store again (digest and name of each); return what was right and what is not."""
    read, problems = Read(), Problems()
    listed = sorted(digests)
    for index, (digest, name) in enumerate(listed):
        reporter.progress("verify", index, len(listed), "files")
        with store.path(digest).open("rb") as stream:
            found, size = digest_of_stream(stream)
        if found == digest:
            read.files += 1
            read.size += size
        else:
            remedy = "Run 'edgewright fetch --verify' with the site's inventory, or import it again."
            problems.add(name, "the disk changed it in the store", found=found, expected=digest, remedy=remedy)
    return read, problems


@contextlib.contextmanager
def _all_opened(paths: Sequence[Path]) -> Iterator[list[Export]]:
    problems = Problems()
    with contextlib.ExitStack() as stack:
        exports = []
        for path in paths:
            with problems.collecting():
                exports.append(stack.enter_context(opened(path)))
        problems.raise_if_any()
        yield exports


def _sites(exports: Iterable[Export]) -> list[str]:
    return sorted({site.site for export in exports for site in export.sites})


def _entries(exports: Iterable[Export]) -> list[Entry]:
    """Return the files of all exports, each once."""
    entries = {entry.digest: entry for export in exports for site in export.sites for entry in site.files}
    return sorted(entries.values(), key=lambda entry: entry.digest)


def _read(stream: Readable | None) -> str:
    if stream is None:
        return "nothing"
    try:
        return digest_of_stream(stream)[0]
    except OSError as error:
        return f"a read error ({error.strerror or error})"


def _land(entry: Entry, exports: Iterable[Export], store: Store) -> None:
    found: dict[str, str] = {}
    for export in exports:
        if all(entry.digest != each.digest for site in export.sites for each in site.files):
            continue
        with export.open(entry) as stream:
            if stream is None:
                found[export.name] = "nothing"
                continue
            try:
                store.add_stream(stream, entry.digest, entry.name)
            except EdgeError as error:
                found[export.name] = error.problems[0].found
            else:
                return
    raise _bad(entry, found)


def _bad(entry: Entry, found: dict[str, str]) -> EdgeError:
    missing = set(found.values()) == {"nothing"}
    return EdgeError(
        Problem(
            f"{', '.join(found)}: {entry.name}",
            "the file is not in the export" if missing else "the file is damaged",
            "" if missing else ", ".join(dict.fromkeys(found.values())),
            entry.digest,
            "Export it again, or copy the export again; what was whole need not be read a second time.",
        )
    )
