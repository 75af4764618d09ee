"""An operator's own secret files (a VPN key, a TLS key), as the inventory describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, is_list

# Where secrets may be: what a node keeps. Images have neither.
_ROOTS = ("/etc/", "/var/lib/")


@dataclass(frozen=True)
class SecretFile:
    """One file, for root alone; ``path`` is absolute and below /etc or /var/lib."""

    path: str
    content: str

    def __repr__(self) -> str:
        return f"SecretFile({self.path!r})"


def secret_files(data: object, *, where: str) -> list[SecretFile]:
    """Read a list of ``{path, content}``.

    Raises:
        EdgeError: everything that is wrong in it; contents are never shown.
    """
    problems = Problems()
    if data is None:
        return []
    if not is_list(data):
        problems.add(where, "must be a list of path and content each", found=f"a {type(data).__name__}")
        problems.raise_if_any()
    files: list[SecretFile] = []
    for index, item in enumerate(cast("Sequence[object]", data)):
        try:
            files.append(_secret_file(item, f"{where}[{index}]"))
        except EdgeError as error:
            problems.extend(error)
    paths = [file.path for file in files]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        problems.add(where, "a path is given twice", found=path, remedy="Give each file once.")
    for path in sorted(path for path in set(paths) if any(other.startswith(f"{path}/") for other in paths)):
        problems.add(where, "a file is also the folder of another", found=path)
    problems.raise_if_any()
    return files


def folders(files: list[SecretFile]) -> list[str]:
    """Return the folders that the files lie in, without /etc, /var and /var/lib, each after the one that it is in."""
    known = {"/", "/etc", "/var", "/var/lib"}
    found = {str(parent) for file in files for parent in PurePosixPath(file.path).parents}
    return sorted(found - known)


def _secret_file(item: object, where: str) -> SecretFile:
    # A value that is no mapping may be the secret itself, so Fields must not show it.
    if not isinstance(item, Mapping):
        problems = Problems()
        problems.add(where, "must be a mapping", found=f"a {type(item).__name__}", expected="keys path, content")
        problems.raise_if_any()
    fields = Fields(item, where=where, known=("path", "content"))
    path = fields.read("path", _path)
    content = fields.read("content", _content)
    fields.raise_if_any()
    return SecretFile(path, content)


def _path(value: object) -> str:
    expected = "a path below /etc or /var/lib, such as /etc/wireguard/wg0.key"
    if not isinstance(value, str):
        raise UnfitError("must be text", expected=expected)
    straight = value.isprintable() and str(PurePosixPath(value)) == value and ".." not in PurePosixPath(value).parts
    if not straight or not value.startswith(_ROOTS):
        raise UnfitError("is not a path that a secret may have", expected=expected)
    if PurePosixPath(value).name == ".edgewright-seed":
        raise UnfitError("is the temporary name of a seed's import")
    return value


def _content(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise UnfitError("must be text, and not empty", expected="a vaulted string", secret=True)
    return value
