"""Configuration files of k3s as they add up: config.yaml, then its drop-ins by name (k3s ``pkg/configfilearg``)."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, is_list
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import OPTIONS, SECRET, SHORT, read_config
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SUFFIXES: Final = (".yaml", ".yml")
_MASK: Final = "********"
_SECRET_LENGTH: Final = 8


def base_of(path: str) -> str:
    """Return the configuration file that a path is, or is a drop-in of: ``…/config.yaml.d/x.yaml`` belongs to one.

    Raises:
        UnfitError: k3s would not read the drop-in.
    """
    file = PurePosixPath(path)
    if file.parent.suffix != ".d":
        return path
    if not is_drop_in(file.name):
        raise UnfitError(
            "is a drop-in that k3s does not read", expected="a name that ends in .yaml", remedy=f"Name it {file}.yaml."
        )
    return str(file.parent.with_suffix(""))


def is_drop_in(name: str) -> bool:
    """Tell whether k3s reads a file of this name in a folder of drop-ins."""
    return name.lower().endswith(_SUFFIXES)


def written(config: Mapping[str, Any], role: str, *, where: str) -> dict[str, Any]:
    """Return what a file has to say: the keys as given (``+`` included), lists as lists, nothing that is null.

    Raises:
        EdgeError: every unknown key and wrong value.
    """
    given = {key: value for key, value in config.items() if value is not None}
    read = read_config(given, role, where=where, whole=True)
    return {str(key): read[str(key).removesuffix("+")] for key in given}


def effective(files: Iterable[Mapping[Any, Any]], role: str) -> dict[str, Any]:
    """Return what k3s makes of its files in their order: a later value replaces an earlier one, ``key+`` adds to it.

    Values that ``read_config`` understands are as it reads them, so that they can be compared; others stay as they are.
    """
    found: dict[str, Any] = {}
    for file in files:
        for key, value in file.items():
            name = plain_name(key)
            known = _normal(name, value, role)
            goes_on = str(key).endswith("+") and name in found
            found[name] = _items(found[name]) + _items(known) if goes_on else known
    return found


def plain_name(key: object) -> str:
    """Return an option's name without ``+`` and not as one letter."""
    name = str(key).removesuffix("+")
    return SHORT.get(name, name)


def is_secret(key: object) -> bool:
    """Tell whether a key's value must not be shown; of what is no option, nobody knows."""
    name = plain_name(key)
    return name in SECRET or name not in OPTIONS


def secrets_of(config: Mapping[Any, Any]) -> set[str]:
    """Return every text that must not be shown; of what is no option, short ones are left out: they are words."""
    return {
        text
        for key, value in config.items()
        if is_secret(key)
        for text in _texts(value)
        if plain_name(key) in SECRET or len(text) >= _SECRET_LENGTH
    }


def shown(config: Mapping[Any, Any], other: Mapping[Any, Any] | None = None) -> str:
    """Return a file as a diff shows it; a secret that ``other`` has too, and another one, is marked as new."""
    masked = {}
    for key, value in config.items():
        is_new = other is not None and key in other and other[key] != value
        # YAML has types, as dates, that no option has.
        plain = json.loads(json.dumps(value, default=str))
        masked[str(key)] = (_MASK + " (another one)" * is_new) if is_secret(key) else plain
    return yaml_text(masked) if masked else ""


def keys_between(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[str, list[str]]:
    """Return the keys that are ``added``, ``changed`` and ``removed``, each sorted."""
    return {
        "added": sorted(str(key) for key in after if key not in before),
        "changed_keys": sorted(str(key) for key in after if key in before and before[key] != after[key]),
        "removed": sorted(str(key) for key in before if key not in after),
    }


def _normal(name: str, value: Any, role: str) -> Any:
    option = OPTIONS.get(name)
    if option is None:
        return value
    if option.type == "list" and isinstance(value, str):
        # On a command line, which k3s makes of its files, commas part the items.
        value = value.split(",")
    if option.type == "bool" and str(value).lower() in ("true", "false"):
        value = str(value).lower() == "true"
    try:
        return read_config({name: value}, role, whole=True).get(name)
    except EdgeError:
        return value


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if is_list(value) else [value]


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for item in value.values() for text in _texts(item)}
    if isinstance(value, list | tuple):
        return {text for item in value for text in _texts(item)}
    return {str(value)} if isinstance(value, str | int) and not isinstance(value, bool) and str(value) else set()
