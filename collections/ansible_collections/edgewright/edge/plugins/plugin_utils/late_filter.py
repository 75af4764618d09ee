"""Filters whose code is imported when they are first used.

Ansible imports all filter files of a collection in each process that looks one up (ansible-core,
``lib/ansible/plugins/loader.py``, ``Jinja2Loader.get_with_context``), each task has a process of its own, and sources
of collections are compiled anew in each (``lib/ansible/utils/collection_loader/_collection_finder.py``, ``get_code``).
So a filter's own file has its documentation, and its code is in ``filters``, in a file of the same name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CODE = f"{__name__.rpartition('.')[0]}.filters"


def late_filter(name: str) -> Callable[..., Any]:
    """Return what calls the function ``name`` of the file ``filters/<name>.py``, with the same arguments."""

    def call(*args: object, **kwargs: object) -> Any:
        return getattr(importlib.import_module(f"{_CODE}.{name}"), name)(*args, **kwargs)

    return call
