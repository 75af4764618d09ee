# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: the pinned container images of a site, each as an archive that containerd imports."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_archives
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Archives of a site's pinned container images
description:
  - Returns an archive for each image of C(site.lock.yml) beside the inventory, made of the files that
    C(edgewright fetch) has put into the content-addressed store. Nothing is downloaded.
  - Archives are kept in the cache. Another image has another archive, for the name has the image's digest in it. A kept
    one is read in full, and made anew if a byte of it is another one.
options:
  _terms:
    description: Nothing; a lookup without terms returns all.
    type: list
    elements: str
  cache:
    description:
      - Folder of the image builder's cache; the store is the folder C(store) in it, archives are in C(archives).
      - The default is C(edgewright) in E(XDG_CACHE_HOME), which is C(~/.cache) where it is not set.
    type: str
    env:
      - name: EDGEWRIGHT_CACHE
  elsewhere:
    description: Sizes of archives that need not be read, by their names, for they are where they are wanted already.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Archives are in place
  ansible.builtin.copy:
    src: "{{ item.path }}"
    dest: "/var/lib/rancher/k3s/agent/images/{{ item.name }}"
    mode: "0644"
  loop: "{{ query('edgewright.edge.image_archives') }}"
  loop_control:
    label: "{{ item.reference }}"
"""

RETURN = r"""
_raw:
  description: One dictionary an image, sorted by its name.
  type: list
  elements: dict
  contains:
    reference: {description: Full name of the image with its tag., type: str}
    name: {description: Name of the archive., type: str}
    path: {description: Where it is on this machine., type: path}
    size: {description: Its bytes., type: int}
"""

import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_pin import LOCK_NAME
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.image_archive import (
    PinnedImage,
    layout_files,
    pinned_images,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.site_lock import read_lock

_CHUNK = 1024**2


class LookupModule(LookupBase):  # type: ignore[misc]
    """What Ansible looks for."""

    def run(self, _terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the archives; every problem of every image is in the one error."""
        self.set_options(var_options=variables, direct=kwargs)
        cache = Path(self.get_option("cache") or _default_cache()).expanduser()
        elsewhere = self.get_option("elsewhere")
        lock = Path(str((variables or {}).get("inventory_dir"))) / LOCK_NAME
        if not lock.is_file():
            return []
        problems, found = Problems(), []
        try:
            for image in pinned_images(read_lock(lock), where=str(lock)):
                with problems.collecting():
                    path = _archive(image, cache, elsewhere.get(image.file_name))
                    size = path.stat().st_size
                    found.append(
                        {"reference": image.reference, "name": image.file_name, "path": str(path), "size": size}
                    )
            problems.raise_if_any()
        except EdgeError as error:
            raise AnsibleLookupError(str(error)) from error
        return found


def _default_cache() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "edgewright")  # noqa: PTH118 (~ is expanded later)


def _archive(image: PinnedImage, cache: Path, elsewhere: int | None) -> Path:
    """Return an image's archive; it is made of verified files, under another name until it is whole."""
    target = cache / "archives" / image.file_name
    if target.is_file() and (target.stat().st_size == elsewhere or _is_whole(image, target)):
        return target
    files = [(digest, _blob(image, digest, cache / "store")) for digest in image.digests]
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in layout_files(image, files[0][1].read_bytes()).items():
                archive.addfile(_member(name, len(content)), io.BytesIO(content))
            for digest, path in files:
                with path.open("rb") as blob:
                    archive.addfile(_member(_blob_name(digest), path.stat().st_size), blob)
        Path(temporary).rename(target)
    except BaseException:
        Path(temporary).unlink()
        raise
    return target


def _is_whole(image: PinnedImage, path: Path) -> bool:
    """Return whether each file in an archive has its digest, and the image its name."""
    try:
        with tarfile.open(path) as archive:
            for digest in image.digests:
                found = hashlib.sha256()
                with _opened(archive, _blob_name(digest)) as blob:
                    while chunk := blob.read(_CHUNK):
                        found.update(chunk)
                if found.hexdigest() != digest.partition(":")[2]:
                    return False
            with _opened(archive, _blob_name(image.root)) as root:
                small = layout_files(image, root.read())
            for name, content in small.items():
                with _opened(archive, name) as file:
                    if file.read() != content:
                        return False
    except (OSError, KeyError, EdgeError, tarfile.TarError):
        return False
    return True


def _opened(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _blob(image: PinnedImage, digest: str, store: Path) -> Path:
    name = digest.partition(":")[2]
    path = store / "sha256" / name[:2] / name
    remedy = "Run 'edgewright fetch' where there is a network."
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        raise EdgeError(Problem(image.reference, "has not been fetched", f"no {path}", remedy=remedy)) from None
    if found != name:
        remedy = f"Delete {path}, then run 'edgewright fetch'."
        raise EdgeError(Problem(image.reference, "is damaged in the store", f"sha256:{found}", digest, remedy))
    return path
