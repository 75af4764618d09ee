"""A file for its owner alone, read and written; used by the modules that keep secrets in files."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

MODE: Final = 0o600


@dataclass(frozen=True)
class PrivateFile:
    """A file as it is.

    Attributes:
        content: its bytes; None when it is not there.
        is_private: it is a file itself and not a link, belongs to the user who asks, and has the mode 0600.
        mode: its permissions in words, as ``rw-r--r--``, and whose it is if another user's; empty when it is not there.
    """

    content: bytes | None
    is_private: bool = False
    mode: str = ""

    def __repr__(self) -> str:
        return f"PrivateFile({self.mode!r})"


def look(path: str) -> PrivateFile:
    """Return what is at a path.

    Raises:
        EdgeError: it is no file, or cannot be read.
    """
    try:
        status = os.lstat(path)
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return PrivateFile(None)
    except OSError as error:
        raise EdgeError(Problem(path, f"cannot be read: {error.strerror}", expected="a file, or none")) from None
    is_own = status.st_uid == os.geteuid()
    is_private = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == MODE and is_own
    # A file's words begin with a dash, a link's with an l.
    words = stat.filemode(status.st_mode).removeprefix("-")
    return PrivateFile(content, is_private, words if is_own else f"{words} of user {status.st_uid}")


def write(path: str, content: bytes) -> None:
    """Write a file whole or not at all, with mode 0600; folders that are missing are made with mode 0700.

    Raises:
        EdgeError: it cannot be written.
    """
    target = Path(path)
    try:
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir(mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:
        raise EdgeError(Problem(path, f"cannot be written: {error.strerror}")) from None
