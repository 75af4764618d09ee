"""Custom resources against the structural schemas of their CustomResourceDefinitions, as an API server would.

(kubernetes.io: "Extend the Kubernetes API with CustomResourceDefinitions".) Fields that a schema does not have are
refused, where an API server drops them in silence. Rules in CEL (``x-kubernetes-validations``) are left to the server.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonschema
from ansible_collections.edgewright.edge.plugins.module_utils.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_EMBEDDED = "x-kubernetes-embedded-resource"
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_KEYS = "x-kubernetes-list-map-keys"
_KEPT = (
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minItems",
    "minLength",
    "minProperties",
    "multipleOf",
    "required",
    "type",
    "uniqueItems",
    _MAP_KEYS,
)
_OBJECT_META: dict[str, Any] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object"},
}
_SHOWN = 80


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a field, by its path in the object."""

    path: tuple[str | int, ...]
    what: str
    found: str = ""
    expected: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Definition:
    """A CustomResourceDefinition: the schema of each version that is served."""

    group: str
    kind: str
    versions: Mapping[str, Any]

    @classmethod
    def of(cls, document: Any) -> Definition | None:
        """Return the definition that a document is; ``None`` for anything else."""
        if not isinstance(document, Mapping) or document.get("kind") != "CustomResourceDefinition":
            return None
        spec = document.get("spec")
        names = spec.get("names") if isinstance(spec, Mapping) else None
        versions = spec.get("versions") if isinstance(spec, Mapping) else None
        if not isinstance(spec, Mapping) or not isinstance(names, Mapping) or not isinstance(versions, list):
            return None
        served = {
            str(version.get("name")): (version.get("schema") or {}).get("openAPIV3Schema")
            for version in versions
            if isinstance(version, Mapping) and version.get("served", True)
        }
        return cls(str(spec.get("group")), str(names.get("kind")), served)

    def mistakes(self, entry: Mapping[str, Any]) -> list[Mistake]:
        """Return everything that is wrong with an object of this kind, as JSON has it."""
        version = str(entry.get("apiVersion")).rpartition("/")[2]
        if version not in self.versions:
            served = ", ".join(self.versions)
            return [Mistake(("apiVersion",), f"is no version of {self.kind}", version, f"one of {served}")]
        schema = self.versions[version]
        if not isinstance(schema, Mapping):
            return []
        validator = _Validator(_root(schema), format_checker=_FORMATS)
        found = [mistake for error in validator.iter_errors(entry) for mistake in _told(error)]
        return sorted(found, key=lambda mistake: [str(step) for step in mistake.path])


def _root(schema: Mapping[str, Any]) -> dict[str, Any]:
    made = _converted(schema)
    made["properties"] = {**_OBJECT_META, **made.get("properties", {})}
    # Of the metadata a definition may only restrict the name; what else there is, Kubernetes knows.
    declared = (schema.get("properties") or {}).get("metadata")
    made["properties"]["metadata"] = {"type": "object", **_converted(declared, structure=False)}
    return made


def _converted(schema: Any, *, structure: bool = True) -> dict[str, Any]:
    """Return a schema in JSON Schema's words; below ``anyOf`` and the like there are conditions and no structure."""
    if not isinstance(schema, Mapping):
        return {}
    made = {**{key: schema[key] for key in _KEPT if key in schema}, **_bounds(schema), **_conditions(schema)}
    if isinstance(schema.get("properties"), Mapping):
        made["properties"] = {key: _converted(each, structure=structure) for key, each in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _converted(schema["items"], structure=structure)
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        made["additionalProperties"] = _converted(more, structure=structure)
    if structure and schema.get("type") == "object" and not more and not schema.get(_PRESERVE):
        made["additionalProperties"] = False
    if schema.get(_EMBEDDED):
        made["properties"] = {**made.get("properties", {}), **_OBJECT_META}
    return _with_extensions(schema, made)


def _conditions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of a value besides its structure."""
    made: dict[str, Any] = {
        key: [_converted(each, structure=False) for each in schema[key]]
        for key in ("allOf", "anyOf", "oneOf")
        if isinstance(schema.get(key), list)
    }
    if "not" in schema:
        made["not"] = _converted(schema["not"], structure=False)
    if (pattern := schema.get("pattern")) and _is_pattern(pattern):
        made["pattern"] = pattern
    return made


def _with_extensions(schema: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what Kubernetes and OpenAPI 3.0 say by keys of their own."""
    kinds = made.get("type")
    if schema.get(_INT_OR_STRING):
        kinds = ["integer", "string"]
    if schema.get("nullable") and kinds:
        kinds = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    if kinds:
        made["type"] = kinds
    if schema.get(_LIST_TYPE) == "set":
        made["uniqueItems"] = True
    return made


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits as JSON Schema has them: in OpenAPI 3.0 ``exclusiveMaximum`` only says how ``maximum`` is meant."""
    made = {}
    for bound in ("minimum", "maximum"):
        if bound in schema:
            exclusive = f"exclusive{bound.capitalize()}"
            made[exclusive if schema.get(exclusive) is True else bound] = schema[bound]
    return made


def _is_pattern(pattern: Any) -> bool:
    """Tell whether Python reads a pattern; those of RE2 alone are left to the server."""
    try:
        re.compile(pattern)
    except (re.error, TypeError):
        return False
    return True


def _map_keys(_validator: Any, keys: Any, instance: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Yield the items of a list that have the keys of an earlier one."""
    if not isinstance(instance, list) or not isinstance(keys, list):
        return
    seen: set[str] = set()
    for number, item in enumerate(instance):
        if isinstance(item, Mapping):
            named = repr([item.get(key) for key in keys])
            if named in seen:
                yield jsonschema.ValidationError(f"has the same {', '.join(keys)} as an earlier item", path=[number])
            seen.add(named)


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {_MAP_KEYS: _map_keys})
_FORMATS = jsonschema.FormatChecker(formats=())


def _format(name: str, read: Callable[[str], object]) -> None:
    def check(value: object) -> bool:
        if isinstance(value, str):
            read(value)
        return True

    _FORMATS.checks(name, raises=(ValueError, binascii.Error))(check)


_format("date-time", datetime.datetime.fromisoformat)
_format("date", datetime.date.fromisoformat)
_format("ipv4", ipaddress.IPv4Address)
_format("ipv6", ipaddress.IPv6Address)
_format("cidr", lambda value: ipaddress.ip_network(value, strict=False))
_format("uuid", uuid.UUID)
_format("byte", lambda value: base64.b64decode(value, validate=True))


def _told(error: jsonschema.ValidationError) -> Iterator[Mistake]:
    """Yield a validator's error in the words of this project."""
    path = tuple(error.absolute_path)
    value, keyword, rule = error.instance, error.validator, error.validator_value
    if keyword == "additionalProperties" and isinstance(value, Mapping):
        known = sorted(error.schema.get("properties", {}))
        for name in [name for name in value if name not in known]:
            expected = f"one of {', '.join(known)}" if 0 < len(known) <= 12 else ""
            yield Mistake((*path, str(name)), "unknown field", expected=expected, remedy=nearest(str(name), known))
    elif keyword == "required" and isinstance(value, Mapping):
        # One error for each missing field, and the field is only in the message.
        for name in [name for name in rule if name not in value and repr(name) in error.message]:
            yield Mistake((*path, str(name)), "is missing", remedy=f"Add '{name}'.")
    elif keyword == "type":
        yield Mistake(
            path, "is of the wrong type", _shown(value), " or ".join(rule if isinstance(rule, list) else [rule])
        )
    elif keyword == "enum":
        yield Mistake(path, "is not allowed", _shown(value), f"one of {', '.join(map(str, rule))}")
    elif keyword == "format":
        yield Mistake(path, "is malformed", _shown(value), str(rule))
    elif keyword == "pattern":
        yield Mistake(path, "is malformed", _shown(value), f"text that matches {rule}")
    elif keyword == _MAP_KEYS:
        yield Mistake(path, error.message)
    else:
        yield Mistake(path, f"breaks the rule {keyword}", _shown(value), str(rule)[:_SHOWN])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def definitions(documents: Iterable[Any]) -> dict[tuple[str, str], Definition]:
    """Return the definitions among documents, by group and kind."""
    found = (Definition.of(document) for document in documents)
    return {(each.group, each.kind): each for each in found if each is not None}
