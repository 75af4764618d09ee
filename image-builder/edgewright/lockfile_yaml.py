"""The text form of a lock: strict reading with all errors at once, and writing that diffs well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems

from edgewright import pins
from edgewright.yaml_lines import Document, KeyPath, Odd

if TYPE_CHECKING:
    from edgewright.lockfile import Lock

VERSION = 1
_HEADER = """\
# What this site is built from. Written by 'edgewright lock'; change the inventory, not this file
# (the mirrors are yours to edit: they are kept).
"""
_RELOCK = "Take the file back from version control, or delete it and run 'edgewright lock'."

# Policy manual 5.6.1 and 5.6.7.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./+~-]|:(?=[A-Za-z0-9/]))*")
# YAML 1.1 reads these as something else than text.
_NULL = {"null", "~", ""}
_NOT_PLAIN = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}

Check = Callable[[Any], str]


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "text in quotes"


def _size(value: Any) -> str:
    return "" if isinstance(value, int) and value >= 0 else "a number of bytes"


def _digest(value: Any) -> str:
    return "" if isinstance(value, str) and _DIGEST.fullmatch(value) else "'sha256:' and 64 hexadecimal digits"


def _digest_or_none(value: Any) -> str:
    return "" if isinstance(value, Odd) and value.written in _NULL else _digest(value)


def _relative(value: Any) -> str:
    good = isinstance(value, str) and value and not value.startswith("/") and ".." not in value.split("/")
    return "" if good else "a relative path without '..'"


def _filename(value: Any) -> str:
    return "" if not _relative(value) and "/" not in value else "a file name"


def _texts(value: Any) -> str:
    return (
        "" if isinstance(value, list) and all(isinstance(each, str) and each for each in value) else "a list of texts"
    )


def _urls(value: Any) -> str:
    good = not _texts(value) and all(re.match(r"https?://[^/\s]+", each) for each in value)
    return "" if good else "a list of http(s) URLs"


def _stamps(value: Any) -> str:
    good = not _texts(value) and all(_STAMP.fullmatch(each) for each in value)
    return "" if good else "a list of time stamps like 20261123T005303Z"


_PACKAGE: dict[str, Check] = {
    "version": _text, "architecture": _text, "size": _size, "digest": _digest, "path": _relative,
}  # fmt: skip
_WHEEL: dict[str, Check] = {
    "version": _text, "size": _size, "digest": _digest, "filename": _filename, "urls": _urls,
}  # fmt: skip
_ARTIFACT: dict[str, Check] = {"size": _size, "digest": _digest}
_ARTIFACT_MORE: dict[str, Check] = {
    "urls": _urls, "member": _relative, "archive_digest": _digest, "archive_size": _size,
}  # fmt: skip
_IMAGE: dict[str, Check] = {
    "platform": _text, "index": _digest_or_none, "manifest": _digest, "size": _size, "blobs": lambda _: "",
}  # fmt: skip
_BLOB: dict[str, Check] = {"digest": _digest, "size": _size}
_SECTIONS = ("distribution", "packages", "trees", "containers", "artifacts", "images")


class _Reader:
    def __init__(self, document: Document, problems: Problems) -> None:
        self.document = document
        self.problems = problems

    def wrong(self, path: KeyPath, what: str, **more: Any) -> None:
        self.problems.add(self.document.where(path), what, **{"remedy": _RELOCK, **more})

    def mapping(self, value: Any, path: KeyPath) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.wrong(path, "this must be a mapping", found=value, expected="keys and values")
        return {}

    def record(
        self, value: Any, path: KeyPath, required: Mapping[str, Check], optional: Mapping[str, Check] | None = None
    ) -> dict[str, Any] | None:
        """Check the keys and values of one entry; return it if all of it is good."""
        if not isinstance(value, dict):
            self.mapping(value, path)
            return None
        checks = {**required, **(optional or {})}
        before = len(self.problems.found)
        for key in value:
            if key not in checks:
                self.wrong((*path, key), "unknown key", found=key, expected=f"one of {', '.join(checks)}")
        for key in required:
            if key not in value:
                self.wrong(path, f"key '{key}' is missing")
        for key, check in checks.items():
            if key in value and (expected := check(value[key])):
                self.wrong((*path, key), "bad value", found=value[key], expected=expected)
        return value if len(self.problems.found) == before else None


def parse(text: str, name: str) -> dict[str, Any]:
    """Read a lock's text into the fields of ``Lock``; ``name`` is what errors call the file.

    Raises:
        EdgeError: all problems: YAML syntax, duplicate or unknown keys, bad values, references to nothing.
    """
    problems = Problems()
    document = Document.read(text, name, problems)
    problems.raise_if_any()
    reader = _Reader(document, problems)
    root = reader.mapping(document.data, ())
    if root.get("version") != VERSION:
        reader.wrong(
            ("version",) if "version" in root else (),
            "the lock has another format than this program's",
            found=root.get("version", "none"),
            expected=str(VERSION),
            remedy="Use the release of edgewright that wrote it, or delete it and run 'edgewright lock'.",
        )
        problems.raise_if_any()
    sections = {section: {} for section in _SECTIONS} | root
    for key in set(root) - {"version", *_SECTIONS}:
        reader.wrong((key,), "unknown key", found=key)
    distribution = _distribution(reader, sections["distribution"])
    packages = _packages(reader, sections["packages"])
    trees = _trees(reader, sections["trees"])
    written = sections["packages"] if isinstance(sections["packages"], dict) else {}
    _references(reader, distribution, packages, trees, set(written))
    fields = {
        "distribution": distribution,
        "packages": packages,
        "trees": trees,
        "containers": _containers(reader, sections["containers"]),
        "artifacts": _artifacts(reader, sections["artifacts"]),
        "images": _images(reader, sections["images"]),
    }
    problems.raise_if_any()
    return fields


def _distribution(reader: _Reader, value: Any) -> pins.Distribution:
    path = ("distribution",)
    good = reader.record(
        value, path, {"suite": _text, "architecture": _text, "snapshots": _stamps, "mirrors": lambda _: ""}
    )
    if good is None:
        return pins.Distribution()
    mirrors: dict[str, tuple[str, ...]] = {}
    for archive, urls in reader.mapping(good["mirrors"], (*path, "mirrors")).items():
        if (expected := _urls(urls)) or not urls:
            expected = expected or "at least one URL"
            reader.wrong((*path, "mirrors", archive), "bad value", found=urls, expected=expected)
        else:
            mirrors[archive] = tuple(urls)
    return pins.Distribution(good["suite"], good["architecture"], tuple(good["snapshots"]), mirrors)


def _packages(reader: _Reader, value: Any) -> dict[str, pins.Package]:
    packages: dict[str, pins.Package] = {}
    for name, entry in reader.mapping(value, ("packages",)).items():
        if not _NAME.fullmatch(name):
            reader.wrong(("packages", name), "this is no Debian package name", found=name)
        elif good := reader.record(entry, ("packages", name), _PACKAGE):
            packages[name] = pins.Package(name=name, **good)
    return packages


def _trees(reader: _Reader, value: Any) -> dict[str, pins.Tree]:
    trees: dict[str, pins.Tree] = {}
    for name, entry in reader.mapping(value, ("trees",)).items():
        if good := reader.record(entry, ("trees", name), {"requested": _texts, "packages": _texts}):
            trees[name] = pins.Tree(tuple(good["requested"]), tuple(good["packages"]))
    return trees


def _containers(reader: _Reader, value: Any) -> dict[str, pins.Container]:
    containers: dict[str, pins.Container] = {}
    for name, entry in reader.mapping(value, ("containers",)).items():
        path = ("containers", name)
        good = reader.record(entry, path, {"requested": _texts, "wheels": lambda _: ""})
        if good is None:
            continue
        wheels = []
        for wheel, fields in reader.mapping(good["wheels"], (*path, "wheels")).items():
            if fine := reader.record(fields, (*path, "wheels", wheel), _WHEEL):
                wheels.append(pins.Wheel(name=wheel, **{**fine, "urls": tuple(fine["urls"])}))
        containers[name] = pins.Container(tuple(good["requested"]), tuple(wheels))
    return containers


def _artifacts(reader: _Reader, value: Any) -> dict[str, pins.Artifact]:
    artifacts: dict[str, pins.Artifact] = {}
    for source, entry in reader.mapping(value, ("artifacts",)).items():
        path = ("artifacts", source)
        good = reader.record(entry, path, _ARTIFACT, _ARTIFACT_MORE)
        if good is None:
            continue
        together = {"member", "archive_digest", "archive_size"}
        if missing := together - set(good) if together & set(good) else set():
            reader.wrong(path, f"key '{min(missing)}' is missing", expected=f"all of {', '.join(sorted(together))}")
            continue
        artifacts[source] = pins.Artifact(source=source, **{**good, "urls": tuple(good.get("urls", ()))})
    return artifacts


def _images(reader: _Reader, value: Any) -> dict[str, pins.Image]:
    images: dict[str, pins.Image] = {}
    for reference, entry in reader.mapping(value, ("images",)).items():
        path = ("images", reference)
        good = reader.record(entry, path, _IMAGE)
        if good is None:
            continue
        if not isinstance(good["blobs"], list):
            reader.wrong((*path, "blobs"), "this must be a list", found=good["blobs"], expected="digests and sizes")
            continue
        blobs = [reader.record(blob, (*path, "blobs", index), _BLOB) for index, blob in enumerate(good["blobs"])]
        pinned = tuple(pins.Blob(**blob) for blob in blobs if blob is not None)
        index = None if isinstance(good["index"], Odd) else good["index"]
        images[reference] = pins.Image(**{**good, "reference": reference, "index": index, "blobs": pinned})
    return images


def _references(
    reader: _Reader,
    distribution: pins.Distribution,
    packages: Mapping[str, pins.Package],
    trees: Mapping[str, pins.Tree],
    named: set[str],
) -> None:
    used: set[str] = set()
    for name, tree in trees.items():
        used.update(tree.packages)
        for index, package in enumerate(tree.packages):
            if package not in named:
                reader.wrong(("trees", name, "packages", index), "this package is not pinned", found=package)
    for name, pin in packages.items():
        if name not in used:
            reader.wrong(("packages", name), "no tree has this package", found=name)
        if pin.path.partition("/")[0] not in distribution.mirrors:
            expected = f"a path that starts with one of {', '.join(distribution.mirrors)}"
            reader.wrong(("packages", name, "path"), "unknown archive", found=pin.path, expected=expected)


def emit(lock: Lock) -> str:
    """Return a lock as text: sorted, one line a package, wheel or list item, the same bytes for the same content."""
    lines = [_HEADER.rstrip("\n"), f"version: {VERSION}", "distribution:"]
    distribution = lock.distribution
    lines += [
        f"  suite: {_scalar(distribution.suite)}",
        f"  architecture: {_scalar(distribution.architecture)}",
        f"  snapshots: {_flow(distribution.snapshots)}",
        *_section("mirrors", distribution.mirrors, 1, lambda urls: _listed(urls, 3)),
        *_section("packages", lock.packages, 0, _package),
        *_section("trees", lock.trees, 0, _tree),
        *_section("containers", lock.containers, 0, _container),
        *_section("artifacts", lock.artifacts, 0, _artifact),
        *(_section("images", lock.images, 0, _image) if lock.images else ()),
    ]
    return "\n".join(lines) + "\n"


def _section(name: str, entries: Mapping[str, Any], depth: int, value: Callable[[Any], str]) -> Iterable[str]:
    indent = "  " * depth
    yield f"{indent}{name}:" if entries else f"{indent}{name}: {{}}"
    for key in sorted(entries):
        yield f"{indent}  {_scalar(key)}:{value(entries[key])}"


def _package(package: pins.Package) -> str:
    return " " + _flow_map(
        version=package.version,
        architecture=package.architecture,
        size=package.size,
        digest=package.digest,
        path=package.path,
    )


def _tree(tree: pins.Tree) -> str:
    requested, packages = _listed(sorted(set(tree.requested)), 3), _listed(sorted(set(tree.packages)), 3)
    return f"\n    requested:{requested}\n    packages:{packages}"


def _container(container: pins.Container) -> str:
    wheels = {wheel.name: wheel for wheel in container.wheels}
    section = "\n".join(_section("wheels", wheels, 2, _wheel))
    return f"\n    requested:{_listed(sorted(set(container.requested)), 3)}\n{section}"


def _wheel(wheel: pins.Wheel) -> str:
    return " " + _flow_map(
        version=wheel.version, size=wheel.size, digest=wheel.digest, filename=wheel.filename, urls=wheel.urls
    )


def _artifact(artifact: pins.Artifact) -> str:
    lines = [f"digest: {_scalar(artifact.digest)}", f"size: {artifact.size}"]
    if artifact.member:
        lines.append(f"member: {_scalar(artifact.member)}")
        lines.append(f"archive_digest: {_scalar(artifact.archive_digest)}")
        lines.append(f"archive_size: {artifact.archive_size}")
    if artifact.urls:
        lines.append(f"urls:{_listed(artifact.urls, 3)}")
    return "".join(f"\n    {line}" for line in lines)


def _image(image: pins.Image) -> str:
    lines = [
        f"platform: {_scalar(image.platform)}",
        f"index: {_scalar(image.index) if image.index else 'null'}",
        f"manifest: {_scalar(image.manifest)}",
        f"size: {image.size}",
        "blobs:" if image.blobs else "blobs: []",
        *(f"  - {_flow_map(digest=blob.digest, size=blob.size)}" for blob in image.blobs),
    ]
    return "".join(f"\n    {line}" for line in lines)


def _listed(values: Iterable[str], depth: int) -> str:
    items = "".join(f"\n{'  ' * depth}- {_scalar(value)}" for value in values)
    return items or " []"


def _flow(values: Iterable[str]) -> str:
    return f"[{', '.join(_scalar(value) for value in values)}]"


def _flow_map(**fields: str | int | tuple[str, ...]) -> str:
    shown = (
        f"{key}: {_flow(value) if isinstance(value, tuple) else value if isinstance(value, int) else _scalar(value)}"
        for key, value in fields.items()
    )
    return f"{{{', '.join(shown)}}}"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    # Whatever is not printable ASCII is escaped as YAML has it: JSON's surrogate pairs would not survive.
    shown = (
        f"\\{character}" if character in '"\\' else character if " " <= character <= "~" else f"\\U{ord(character):08x}"
        for character in text
    )
    return f'"{"".join(shown)}"'
