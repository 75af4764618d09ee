"""The bill of materials of an image, as SPDX 2.3 JSON: everything pinned in the lock, and what it became a part of.

Specification: https://spdx.github.io/spdx-spec/v2.3/; package URLs: https://github.com/package-url/purl-spec, types
``deb``, ``pypi`` and ``oci``. Licences are not asserted: a Debian package has many, and its copyright file is in the
image.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

from edgewright import __version__
from edgewright.stages.emulator_tree import TREE as EMULATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.lockfile import Artifact, Image, Lock, Package, Tree, Wheel

_IMAGE = "SPDXRef-image"
_UNKNOWN = "NOASSERTION"


@dataclass(frozen=True)
class Contents:
    """What to account for.

    Attributes:
        site: name of the site.
        version: the image's version.
        image: the image's file name.
        digest: the image's ``sha256:<hex>``.
        created: seconds since the epoch (SOURCE_DATE_EPOCH), so that the same image always gets the same document.
        lock: what it was made from.
        containers: container name → digest of the image made of it, or empty.
        guests: guest name → digest of its disk, or empty.
    """

    site: str
    version: str
    image: str
    digest: str
    created: int
    lock: Lock
    containers: Mapping[str, str] = field(default_factory=dict)
    guests: Mapping[str, str] = field(default_factory=dict)


def document(contents: Contents) -> dict[str, Any]:
    """Return the SPDX document as plain data, in a fixed order."""
    lock = contents.lock
    packages = [_package(_IMAGE, contents.image, contents.version, contents.digest, purpose="OPERATING-SYSTEM")]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE)]
    for kind, made, purpose in (("container", contents.containers, "CONTAINER"), ("guest", contents.guests, "FILE")):
        for name, digest in sorted(made.items()):
            packages.append(_package(_ref(kind, name), name, contents.version, digest, purpose=purpose))
            relations.append((_IMAGE, "CONTAINS", _ref(kind, name)))
    accounted = {package for tree in _trees(lock).values() for package in tree.packages}
    packages += [_debian(lock.packages[name], lock) for name in sorted(accounted)]
    wheels = {(wheel.name, wheel.version): wheel for made in lock.containers.values() for wheel in made.wheels}
    packages += [_wheel(wheel) for _, wheel in sorted(wheels.items())]
    packages += [_artifact(artifact) for _, artifact in sorted(lock.artifacts.items())]
    packages += [_container_image(image) for _, image in sorted(lock.images.items())]
    relations += sorted(_relations(contents))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{contents.site}-{contents.version}",
        "documentNamespace": f"urn:uuid:{_namespace(contents)}",
        "creationInfo": {
            "created": datetime.fromtimestamp(contents.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: edgewright-{__version__}"],
        },
        "documentDescribes": [_IMAGE],
        "packages": packages,
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }


def to_json(contents: Contents) -> str:
    """Return the document's text; the same contents are always the same bytes."""
    return json.dumps(document(contents), indent=1, ensure_ascii=False) + "\n"


def _trees(lock: Lock) -> dict[str, Tree]:
    """Return what the image is made of or with; what boots it where it was built is neither."""
    return {name: tree for name, tree in lock.trees.items() if name != EMULATOR}


def _relations(contents: Contents) -> Iterator[tuple[str, str, str]]:
    """Yield what contains what. A tree is what a container, a guest, the node, or the building itself was made with."""
    for name, tree in _trees(contents.lock).items():
        kind, _, rest = name.partition("-")
        made = {"container": contents.containers, "guest": contents.guests}.get(kind, {})
        whole = _ref(kind, rest) if rest in made else ""
        for package in tree.packages:
            part = _ref("deb", package)
            if name == "tools":
                yield part, "BUILD_TOOL_OF", _IMAGE
            else:
                yield whole or _IMAGE, "CONTAINS", part
    for name, container in contents.lock.containers.items():
        for wheel in container.wheels:
            whole = _ref("container", name) if name in contents.containers else _IMAGE
            yield whole, "CONTAINS", _ref("pypi", f"{wheel.name}-{wheel.version}")
    for source in contents.lock.artifacts:
        yield _IMAGE, "CONTAINS", _ref("artifact", source)
    for reference in contents.lock.images:
        yield _IMAGE, "CONTAINS", _ref("oci", reference)


def _namespace(contents: Contents) -> uuid.UUID:
    """Name the document after its subject: SPDX wants it unique, and the same image must give the same bytes."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"edgewright {contents.site} {contents.version} {contents.digest}")


def _ref(kind: str, name: str) -> str:
    """Return an SPDX identifier (section 7.2: letters, digits, ``.``, ``-``), with a digest if that loses something."""
    safe = re.sub(r"[^A-Za-z0-9.-]", "-", name)
    return f"SPDXRef-{kind}-{safe}" + ("" if safe == name else f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}")


def _package(
    ref: str,
    name: str,
    version: str,
    digest: str,
    *,
    purpose: str = "LIBRARY",
    url: str = "",
    purl: str = "",
    supplier: str = "",
    size: int = 0,
) -> dict[str, Any]:
    package: dict[str, Any] = {
        "SPDXID": ref,
        "name": name,
        "versionInfo": version,
        "primaryPackagePurpose": purpose,
        "supplier": supplier or _UNKNOWN,
        "downloadLocation": url or _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }
    if digest:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}]
    if size:
        package["comment"] = f"{size} bytes"
    if purl:
        reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
        package["externalRefs"] = [reference]
    return package


def _debian(package: Package, lock: Lock) -> dict[str, Any]:
    purl = (
        f"pkg:deb/debian/{_encoded(package.name)}@{_encoded(package.version)}"
        f"?arch={package.architecture}&distro={_encoded(lock.distribution.suite)}"
    )
    return _package(
        _ref("deb", package.name),
        package.name,
        package.version,
        package.digest,
        url=next(iter(lock.package_urls(package)), ""),
        purl=purl,
        supplier="Organization: Debian",
        size=package.size,
    )


def _wheel(wheel: Wheel) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", wheel.name).lower()
    purl = f"pkg:pypi/{_encoded(name)}@{_encoded(wheel.version)}?file_name={_encoded(wheel.filename)}"
    return _package(
        _ref("pypi", f"{wheel.name}-{wheel.version}"),
        wheel.name,
        wheel.version,
        wheel.digest,
        url=next(iter(wheel.urls), ""),
        purl=purl,
        size=wheel.size,
    )


def _artifact(artifact: Artifact) -> dict[str, Any]:
    """Account for a model, a disk or another single file; one out of a wheel is named by wheel and path."""
    match = re.fullmatch(r"pypi:([^=#]+)==([^#]+)#(.+)", artifact.source)
    name, version, purl = artifact.source, artifact.digest, ""
    if match:
        name, version = match[3].rpartition("/")[2], match[2]
        project = re.sub(r"[-_.]+", "-", match[1]).lower()
        purl = f"pkg:pypi/{_encoded(project)}@{_encoded(version)}#{quote(match[3], safe='/')}"
    return _package(
        _ref("artifact", artifact.source),
        name,
        version,
        artifact.digest,
        purpose="FILE",
        url=next(iter(artifact.urls), ""),
        purl=purl,
        size=artifact.size,
    )


def _container_image(image: Image) -> dict[str, Any]:
    """Account for a container image of a registry by the manifest of its platform."""
    name = ImageName.parse(image.reference)
    tag = f"&tag={_encoded(name.tag)}" if name.tag else ""
    purl = (
        f"pkg:oci/{_encoded(name.repository.rpartition('/')[2])}@{quote(image.manifest, safe='')}"
        f"?arch={image.platform.partition('/')[2]}&repository_url={quote(name.name, safe='/.-_~')}{tag}"
    )
    ref, version = _ref("oci", image.reference), name.tag or image.manifest
    return _package(ref, name.name, version, image.manifest, purpose="CONTAINER", purl=purl, size=image.size)


def _encoded(text: str) -> str:
    # purl-spec, "Character encoding": all but these, letters and digits is percent-encoded; "+" becomes %2B.
    return quote(text, safe=".-_~:")
