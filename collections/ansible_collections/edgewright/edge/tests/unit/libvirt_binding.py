"""The distribution's libvirt binding, made importable where the tests run in an environment of their own."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = Path("/usr/lib/python3/dist-packages")


def load() -> Any:
    """Return the module ``libvirt``; skip the test where it is not installed for this version of Python."""
    if "libvirt" in sys.modules:
        return sys.modules["libvirt"]
    files = {
        "libvirtmod": _PACKAGES / f"libvirtmod{sysconfig.get_config_var('EXT_SUFFIX')}",
        "libvirt": _PACKAGES / "libvirt.py",
    }
    for name, path in files.items():
        if not path.is_file():
            sys.modules.pop("libvirtmod", None)
            pytest.skip(f"python3-libvirt is not installed for this Python: no {path}")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules["libvirt"]
