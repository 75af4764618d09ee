#!/usr/bin/env python3
"""Make the stand-in for k3s one program, as k3s is one: an x86-64 ELF file, so that checks of a binary hold for it too.

The file begins with a few instructions that run ``/usr/bin/python3 <this file> <arguments…>``; the zip archive behind
them is what Python then runs. Usage: ``make_k3s.py FILE``; the same inputs give the same bytes.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "k3s"
_BASE, _HEADERS = 0x400000, 120
# The stack at the start is argc, argv…, 0, environment…, 0, auxiliary vector. argc's place becomes python3's name,
# argv[0] this file's own path (AT_EXECFN, 31), and the stack itself the new argv.
_CODE = bytes.fromhex(
    "488b0424"  # mov rax, [rsp]
    "488d54c410"  # lea rdx, [rsp + 8*rax + 16]
    "4889d1"  # mov rcx, rdx
    "4883c108"  # environment: add rcx, 8
    "488379f800"  # cmp qword [rcx - 8], 0
    "75f5"  # jne environment
    "4883391f"  # vector: cmp qword [rcx], 31
    "7406"  # je found
    "4883c110"  # add rcx, 16
    "ebf4"  # jmp vector
    "488b4908"  # found: mov rcx, [rcx + 8]
    "48894c2408"  # mov [rsp + 8], rcx
    "488d3d1a000000"  # lea rdi, [rip + 26]
    "48893c24"  # mov [rsp], rdi
    "4889e6"  # mov rsi, rsp
    "b83b000000"  # mov eax, 59 (execve)
    "0f05"  # syscall
    "bf7f000000"  # mov edi, 127
    "b83c000000"  # mov eax, 60 (exit)
    "0f05"  # syscall
)


def launcher() -> bytes:
    """Return the ELF file without its archive."""
    code = _CODE + b"/usr/bin/python3\0"
    size = _HEADERS + len(code)
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def main() -> None:
    """Write the file."""
    target = Path(sys.argv[1])
    target.write_bytes(launcher())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(PACKAGE.glob("*.py")):
            name = path.name if path.name == "__main__.py" else f"k3s/{path.name}"
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
        archive.writestr(zipfile.ZipInfo("k3s/__init__.py"), b"")
    target.chmod(0o755)


if __name__ == "__main__":
    main()
