"""Keep what Python compiles out of zip files, on the test nodes alone.

Ansible sends each module in a zip file with the libraries it needs, as source (ansible-core's
``_internal/_ansiballz``), and Python compiles them anew for each task: half of what a short task costs its node, and
the tests run some thousand of them. ``zipimport._compile_source`` is where that happens (CPython's
``Lib/zipimport.py``); ``kept_zip_code.pth`` makes every Python of the node import this. A node of a site is left as it
is.
"""

# This is part of every start of Python, and pathlib alone would take longer than all the rest:
# ruff: noqa: PTH103, PTH104, PTH123

from __future__ import annotations

import _imp
import marshal
import os
import zipimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

_KEPT = "/var/cache/python-zip"
_compile = zipimport._compile_source  # type: ignore[attr-defined]  # noqa: SLF001 - Python has no hook for it


def _compiled(path: str, source: bytes) -> CodeType:
    kept = f"{_KEPT}/{_imp.source_hash(len(source), source).hex()}"
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)  # type: ignore[no-any-return]  # noqa: S302 - root's own file
    except (OSError, ValueError, EOFError, TypeError):
        code: CodeType = _compile(path, source)
    unfinished = f"{kept}.{os.getpid()}"
    try:
        os.makedirs(_KEPT, mode=0o700, exist_ok=True)
        with open(unfinished, "wb") as file:
            marshal.dump(code, file)
        os.rename(unfinished, kept)
    except OSError:  # not root, or a root that is read-only: as without
        pass
    return code


zipimport._compile_source = _compiled  # type: ignore[attr-defined]  # noqa: SLF001 - as above
