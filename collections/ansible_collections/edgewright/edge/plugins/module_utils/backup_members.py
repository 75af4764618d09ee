"""What all backups have in common: members with their SHA-256 in a manifest, and which old backups may go."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems

MANIFEST: Final = "manifest.json"
ANOTHER: Final = "Take another backup; they lie beside it and in the controller's folder."
"""What to do about a backup that is no good."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def manifest_data(text: str, form: int, *, where: str, problems: Problems) -> dict[str, Any]:
    """Return the object of a manifest; a form or members that are wrong are added to ``problems``.

    Args:
        text: content of ``manifest.json``.
        form: the form of manifests that is known.
        where: path of the backup.
        problems: takes what is wrong inside it.

    Raises:
        EdgeError: it is no JSON object.
    """
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise EdgeError(Problem(f"{where}: {MANIFEST}", "is not a manifest", expected="a JSON object", remedy=ANOTHER))
    if data.get("format") != form:
        problems.add(
            f"{where}: {MANIFEST}: format",
            "is not known here",
            found=repr(data.get("format")),
            expected=str(form),
            remedy="Use the Edgewright that made it.",
        )
    members = data.get("members")
    if not isinstance(members, dict) or not all(_is_member(*item) for item in members.items()):
        problems.add(f"{where}: {MANIFEST}: members", "are not names with SHA-256 digests", remedy=ANOTHER)
    return data


def check_texts(data: Mapping[str, Any], keys: Sequence[str], *, where: str, problems: Problems) -> None:
    """Add a problem for each of these keys of a manifest that has no text."""
    for key in keys:
        if not isinstance(data.get(key), str) or not data[key]:
            problems.add(f"{where}: {MANIFEST}: {key}", "is missing", remedy=ANOTHER)


def compare(members: Mapping[str, str], found: Mapping[str, str], *, where: str, problems: Problems) -> None:
    """Add a problem for each member (name: SHA-256) that is missing, too much or damaged."""
    for name in sorted(members.keys() | found.keys()):
        if name not in found:
            problems.add(f"{where}: {name}", "is missing in the backup", remedy=ANOTHER)
        elif name not in members:
            problems.add(f"{where}: {name}", "is not in the backup's manifest", remedy=ANOTHER)
        elif found[name] != members[name]:
            problems.add(
                f"{where}: {name}",
                "is damaged",
                found=f"sha256:{found[name]}",
                expected=f"sha256:{members[name]}",
                remedy=ANOTHER,
            )


def superfluous(names: Sequence[str], keep: int, *, made: str) -> list[str]:
    """Return the names that are more than ``keep``, the oldest; each ends in the time it was made at.

    The one just made stays even when the clock went back and its name is the oldest.
    """
    others = sorted(name for name in names if name != made)
    return others[: max(0, len(others) - (keep - 1))]


def _is_member(name: object, digest: object) -> bool:
    if not isinstance(name, str) or not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name and name != MANIFEST
