"""Where an artifact comes from: the ``source`` strings of an inventory, as typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, nearest, text
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName
from ansible_collections.edgewright.edge.plugins.module_utils.names import label

_FORMS: Final = "build:, pypi:, http://, https://, docker://, file: or modelpack:"
DOCKER: Final = "docker://"
"""How the source of a container image begins."""
_PYPI_FORM: Final = "pypi:<name>==<version>#<path in the wheel>"
_PACK_FORM: Final = "modelpack:<folder in the inventory>[:<tag>][#<path in the pack>]"
_MODEL_FORMS: Final = f"{_PYPI_FORM}, {_PACK_FORM}, a URL or file:<path>"
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
# PEP 508 names; PEP 440 public versions without wildcards.
_PROJECT: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION: Final = re.compile(
    r"([1-9][0-9]*!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?", re.ASCII
)


@dataclass(frozen=True)
class BuildSource:
    """Made by the image builder itself from a recipe: ``build:containers/<name>`` or ``build:guests/<name>``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"build:{self.kind}/{self.name}"


@dataclass(frozen=True)
class PypiSource:
    """One file inside a wheel of the Python Package Index: ``pypi:<name>==<version>#<path>``."""

    project: str
    version: str
    member: str

    def __str__(self) -> str:
        return f"pypi:{self.project}=={self.version}#{self.member}"


@dataclass(frozen=True)
class UrlSource:
    """A file behind an http or https URL; its digest in the lock is what makes it trustworthy."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class FileSource:
    """A file below the inventory folder: ``file:<relative path>``."""

    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class RegistrySource:
    """A container image in a registry, in the form of containers-transports(5): ``docker://<registry>/<name>:<tag>``.

    As a disk it is what KubeVirt calls a container disk: an image with one file in its folder ``/disk``.
    """

    image: ImageName

    def __str__(self) -> str:
        return f"{DOCKER}{self.image}"


@dataclass(frozen=True)
class ModelPackSource:
    """One file of a ModelPack, an OCI layout below the inventory folder: ``modelpack:<folder>[:<tag>][#<path>]``.

    Without a tag it is the only pack of the layout; without a path, the pack's only file of weights.
    """

    folder: str
    tag: str = ""
    member: str = ""

    def __str__(self) -> str:
        tag, member = f":{self.tag}" if self.tag else "", f"#{self.member}" if self.member else ""
        return f"modelpack:{self.folder}{tag}{member}"


ArtifactSource: TypeAlias = BuildSource | PypiSource | UrlSource | FileSource | RegistrySource | ModelPackSource


def parse_source(value: object) -> ArtifactSource:
    """Read a ``source`` string.

    Raises:
        UnfitError: unknown scheme, or a form that its scheme does not have.
    """
    source = str(text(value))
    scheme, colon, rest = source.partition(":")
    if not colon:
        raise UnfitError("is not an artifact source", expected=f"a string that begins with {_FORMS}")
    if scheme == "build":
        return _build(rest)
    if scheme == "pypi":
        return _pypi(rest)
    if scheme in {"http", "https"}:
        return _url(source)
    if scheme == "docker":
        return RegistrySource(_image(rest))
    if scheme == "file":
        return FileSource(_relative(rest, what="the path of a file source", expected="file:<path in the inventory>"))
    if scheme == "modelpack":
        return _pack(rest)
    known = ("build", "pypi", "http", "https", "docker", "file", "modelpack")
    raise UnfitError(f"has the unknown scheme '{scheme}:'", expected=_FORMS, remedy=nearest(scheme, known))


def guest_disk(value: object) -> str:
    """Accept a source that can be a virtual machine's disk.

    Raises:
        UnfitError: no source, or one of something else.
    """
    source = parse_source(value)
    if isinstance(source, BuildSource) and source.kind != "guests":
        raise UnfitError("builds a container, not a disk", expected="build:guests/<name> or a disk image")
    if isinstance(source, ModelPackSource):
        raise UnfitError("holds models, and no disk", expected="build:guests/<name> or a disk image")
    return str(source)


def image_of(source: str) -> str:
    """Return the full name of the image that a disk's source names, or nothing if it is no image."""
    return source.removeprefix(DOCKER) if source.startswith(DOCKER) else ""


def model_file(value: object) -> str:
    """Accept a source that can be a model's file.

    Raises:
        UnfitError: no source, or one that builds a container or a guest.
    """
    source = parse_source(value)
    if isinstance(source, BuildSource):
        raise UnfitError("builds an image, not a model", expected=_MODEL_FORMS)
    if isinstance(source, RegistrySource):
        raise UnfitError(
            "is an image, not a model", expected=_MODEL_FORMS, remedy="Give the service 'model_image' with it."
        )
    return str(source)


def _build(rest: str) -> BuildSource:
    kind, slash, name = rest.partition("/")
    if not slash or kind not in {"containers", "guests"}:
        raise UnfitError("names no recipe", expected="build:containers/<name> or build:guests/<name>")
    return BuildSource(kind, label(name))


def _pypi(rest: str) -> PypiSource:
    requirement, _, member = rest.partition("#")
    project, pin, version = requirement.partition("==")
    if not _PROJECT.fullmatch(project):
        raise UnfitError("names no PyPI project", expected=_PYPI_FORM)
    if not pin or not _VERSION.fullmatch(version):
        raise UnfitError("names no exact version", expected=_PYPI_FORM, remedy="Pin one version with '=='.")
    return PypiSource(project, version, _relative(member, what="the part after '#'", expected=_PYPI_FORM))


def _pack(rest: str) -> ModelPackSource:
    place, mark, member = rest.partition("#")
    folder, colon, tag = place.rpartition(":")
    if not colon:
        folder, tag = place, ""
    folder = _relative(folder, what="the folder of a model pack", expected=_PACK_FORM)
    if colon and _TAG.fullmatch(tag) is None:
        raise UnfitError("has a tag that is none", expected=_PACK_FORM)
    if mark:
        member = _relative(member, what="the part after '#'", expected=_PACK_FORM)
    return ModelPackSource(folder, tag, member)


def _url(source: str) -> UrlSource:
    expected = "http(s)://<host>/<path> without user, password or fragment"
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnfitError(f"is not a URL ({error})", expected=expected) from None
    if parts.username is not None or parts.password is not None:
        raise UnfitError(
            "has a user or password in it", expected=expected, remedy="Download it, then use file:<path>.", secret=True
        )
    if not host or port == 0 or not parts.path.strip("/"):
        raise UnfitError("is not the URL of a file", expected=expected)
    if parts.fragment or " " in source:
        raise UnfitError("has a fragment or a space in it", expected=expected)
    return UrlSource(source)


def _image(rest: str) -> ImageName:
    if not rest.startswith("//"):
        raise UnfitError("names no container image", expected=f"{DOCKER}<registry>/<name>:<tag>")
    return ImageName.parse(rest.removeprefix("//"))


def _relative(path: str, *, what: str, expected: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or path.endswith("/"):
        raise UnfitError(f"{what} must be a relative path without '..'", expected=expected)
    return path
