"""Releases of k3s, KubeVirt and CDI: which go together, which step is allowed, what their assets are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, nearest, text
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

ARCHITECTURES: Final = ("amd64", "arm64", "arm")
IMAGE_LIST: Final = "k3s-images.txt"

_DOWNLOADS: Final = "https://github.com/{project}/releases/download/{version}/{asset}"
# Only the binary of 32-bit ARM is called after its floating point; its images and checksums are not
# (k3s scripts/validate-artifacts).
_BINARIES: Final = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
_K3S: Final = re.compile(r"v([0-9]+)\.([0-9]+)\.([0-9]+)\+k3s([0-9]+)", re.ASCII)
_OTHER: Final = re.compile(r"v([0-9]+)\.([0-9]+)\.([0-9]+)", re.ASCII)
_SUM: Final = re.compile(r"([0-9a-f]{64}) [ *](\S+)", re.ASCII)

# The Kubernetes minor versions that a KubeVirt minor version supports (kubevirt/sig-release k8s-support-matrix.md).
_KUBEVIRT_RUNS_ON: Final[dict[tuple[int, ...], tuple[int, ...]]] = {
    (1, 9): (34, 35, 36),
    (1, 8): (34, 35),
    (1, 7): (34,),
}
_KNOWN_MINOR: Final = (1, 36)
_WORKING_IMAGE_VOLUMES: Final = (1, 36, 2)


@dataclass(frozen=True)
class Release:
    """Versions that go together; without KubeVirt or CDI, the field is ``None``."""

    k3s: str
    kubevirt: str | None = None
    cdi: str | None = None

    def __str__(self) -> str:
        parts = [f"k3s {self.k3s}"]
        parts += [f"KubeVirt {self.kubevirt}"] if self.kubevirt else []
        parts += [f"CDI {self.cdi}"] if self.cdi else []
        return ", ".join(parts)


TESTED: Final = (
    Release("v1.36.5+k3s1", "v1.9.0", "v1.66.0"),
    Release("v1.36.4+k3s1", "v1.9.0", "v1.66.0"),
    Release("v1.36.3+k3s1", "v1.9.0", "v1.66.0"),
    Release("v1.36.2+k3s1"),
)
"""What this collection is made for, newest first; the first is what a site gets that asks for nothing.

v1.36.2 comes without KubeVirt: it does not import an image archive again that was replaced by one of the same size or
date (k3s issue 14284), so that virtual machines' disks would stay old.
"""


def k3s_version(value: object) -> str:
    """Accept a version of k3s as its release is tagged: ``v1.36.5+k3s1``.

    Raises:
        UnfitError: it is not one.
    """
    return _version(value, _K3S, "a release of k3s", TESTED[0].k3s)


def kubevirt_version(value: object) -> str:
    """Accept a version of KubeVirt as its release is tagged: ``v1.9.0``.

    Raises:
        UnfitError: it is not one.
    """
    return _version(value, _OTHER, "a release of KubeVirt", str(TESTED[0].kubevirt))


def cdi_version(value: object) -> str:
    """Accept a version of CDI as its release is tagged: ``v1.66.0``.

    Raises:
        UnfitError: it is not one.
    """
    return _version(value, _OTHER, "a release of CDI", str(TESTED[0].cdi))


def is_tested(release: Release) -> bool:
    """Tell whether these versions are a tested tuple, or one with KubeVirt or CDI left out."""
    return any(
        release.k3s == tested.k3s and release.kubevirt in {None, tested.kubevirt} and release.cdi in {None, tested.cdi}
        for tested in TESTED
    )


def release_of(k3s: str) -> Release:
    """Return the tested tuple of a version of k3s; of an untested one, the tuple without KubeVirt and CDI."""
    return next((tested for tested in TESTED if tested.k3s == k3s), Release(k3s))


def refusals(k3s: str, kubevirt: str | None = None, cdi: str | None = None) -> list[str]:
    """Return why these versions must not be combined, each reason a clause; none means that they may.

    Every version must be well-formed (``k3s_version`` and its like).
    """
    reasons = []
    numbers = _numbers(k3s)
    kubernetes = numbers[:2]
    if kubernetes != _KNOWN_MINOR:
        reasons.append(
            f"the options of k3s {kubernetes[0]}.{kubernetes[1]} are not known to this release, "
            f"which checks those of {_KNOWN_MINOR[0]}.{_KNOWN_MINOR[1]}"
        )
    if cdi is not None and kubevirt is None:
        reasons.append("CDI fills the disks of KubeVirt's virtual machines, and there is no KubeVirt")
    if cdi is not None and _numbers(cdi)[:2] != (1, 66):
        reasons.append(f"CDI {cdi} is of another minor version than v1.66, the only one tested")
    if kubevirt is None:
        return reasons
    minor = _numbers(kubevirt)[:2]
    supported = _KUBEVIRT_RUNS_ON.get(minor)
    if supported is None:
        reasons.append(f"which Kubernetes KubeVirt {kubevirt} supports is not known to this release")
        return reasons
    if kubernetes[0] != 1 or kubernetes[1] not in supported:
        listed = ", ".join(f"1.{number}" for number in supported)
        reasons.append(f"KubeVirt {kubevirt} supports Kubernetes {listed}, not {kubernetes[0]}.{kubernetes[1]}")
    if minor == (1, 9) and numbers[:3] < _WORKING_IMAGE_VOLUMES:
        reasons.append(
            f"k3s {k3s} mounts KubeVirt {kubevirt}'s container disks empty and says nothing "
            "(containerd before 2.3; k3s issue 14323)"
        )
    return reasons


def upgrade_path(old: str, new: str, *, where: str = "edge_kubernetes.k3s") -> list[str]:
    """Return the versions to install in turn on the way from ``old`` to ``new``: nothing if they are equal.

    Kubernetes lets no minor version be skipped (its version skew policy), and a datastore that a newer version wrote
    is not read by an older one.

    Raises:
        EdgeError: a step down, or one over a minor version.
    """
    if old == new:
        return []
    before, after = _numbers(old), _numbers(new)
    if after < before:
        raise EdgeError(
            Problem(
                where,
                "an older version cannot read the datastore of a newer one",
                f"{new} after {old}",
                f"{old} or newer",
                "To go back, restore a backup that the older version made.",
            )
        )
    if after[0] != before[0] or after[1] - before[1] > 1:
        raise EdgeError(
            Problem(
                where,
                "skips a minor version of Kubernetes",
                f"{new} after {old}",
                f"v{before[0]}.{before[1]} or v{before[0]}.{before[1] + 1}",
                f"Upgrade to a release of v{before[0]}.{before[1] + 1} first.",
            )
        )
    return [new]


def k3s_binary(architecture: str) -> str:
    """Return the name of the program's asset."""
    return _BINARIES[architecture]


def k3s_checksums(architecture: str) -> str:
    """Return the name of the asset with the checksums of one architecture."""
    return f"sha256sum-{architecture}.txt"


def k3s_image_archive(architecture: str, compression: str = "zst") -> str:
    """Return the name of the archive with k3s's own images; compressions are ``zst``, ``gz`` and none (empty)."""
    return f"k3s-airgap-images-{architecture}.tar" + (f".{compression}" if compression else "")


def k3s_url(version: str, asset: str) -> str:
    """Return the canonical address of an asset: the plus sign of the version is written ``%2B``."""
    return _DOWNLOADS.format(project="k3s-io/k3s", version=quote(version, safe=""), asset=asset)


def kubevirt_url(version: str) -> str:
    """Return the canonical address of KubeVirt's operator manifest."""
    return _DOWNLOADS.format(project="kubevirt/kubevirt", version=version, asset="kubevirt-operator.yaml")


def cdi_url(version: str) -> str:
    """Return the canonical address of CDI's operator manifest."""
    return _DOWNLOADS.format(project="kubevirt/containerized-data-importer", version=version, asset="cdi-operator.yaml")


def parse_image_list(content: str, *, where: str) -> tuple[str, ...]:
    """Return the images of a ``k3s-images.txt``, normalised, in order; blank lines and ``#`` lines are passed over.

    Raises:
        EdgeError: every line that is no image, or that there is none at all; ``where`` is the file.
    """
    problems = Problems()
    images: dict[str, None] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        try:
            images[str(ImageName.parse(written))] = None
        except UnfitError as error:
            problems.add(f"{where}:{number}", error.what, found=repr(written[:100]), expected=error.expected)
    if not images and not problems.found:
        problems.add(where, "names no image", remedy="Fetch it again: it is empty, or not the list of a release.")
    problems.raise_if_any()
    return tuple(images)


def parse_checksums(content: str, architecture: str, *, where: str) -> dict[str, str]:
    """Return the digests (``sha256:<hex>``) of the assets in a ``sha256sum-<architecture>.txt`` by asset name.

    Raises:
        EdgeError: every line that is no checksum, and the program of the architecture if it is not there.
    """
    problems = Problems()
    sums: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        match = _SUM.fullmatch(line.rstrip())
        at = f"{where}:{number}"
        if match is None:
            problems.add(at, "is no checksum", found=repr(line[:100]), expected="64 hexadecimal digits and a name")
        elif sums.setdefault(match[2], f"sha256:{match[1]}") != f"sha256:{match[1]}":
            problems.add(at, f"'{match[2]}' has two checksums", found=match[1], expected=sums[match[2]])
    binary = k3s_binary(architecture)
    if binary not in sums and not problems.found:
        problems.add(
            where,
            f"has no checksum of '{binary}', the program for {architecture}",
            found=", ".join(sums) or "nothing",
            remedy=f"Use the {k3s_checksums(architecture)} of the same release.",
        )
    problems.raise_if_any()
    return sums


def _version(value: object, form: re.Pattern[str], what: str, example: str) -> str:
    version = str(text(value))
    if form.fullmatch(version) is None:
        known = [part for tested in TESTED for part in (tested.k3s, tested.kubevirt, tested.cdi) if part]
        raise UnfitError(
            f"is not {what}", expected=f"its tag, as {example}", remedy=nearest(version, dict.fromkeys(known))
        )
    return version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version.replace("+k3s", ".")))
