"""A container's list of Python packages: requirements (PEP 508), a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from packaging.requirements import InvalidRequirement, Requirement

if TYPE_CHECKING:
    from pathlib import Path


def read_requirements(path: Path) -> list[str]:
    """Return the requirement lines of a file, sorted, without comments.

    Raises:
        EdgeError: the file is missing, or lines that are not plain PEP 508 requirements (all of them).
    """
    if not path.is_file():
        raise EdgeError(Problem(str(path), "the container's list of Python packages is missing"))
    problems = []
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        try:
            lines.append(str(Requirement(text)))
        except InvalidRequirement as error:
            what = "this is no Python requirement"
            reason = str(error).splitlines()[0]
            problems.append(Problem(f"{path}:{number}", what, f"{text!r} ({reason})", "a line like 'numpy>=2'"))
    if problems:
        raise EdgeError(problems)
    return sorted(set(lines))
