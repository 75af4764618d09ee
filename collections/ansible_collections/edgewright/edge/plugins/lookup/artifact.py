# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: the file of a pinned artifact in the content-addressed store."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifact
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Path of a pinned artifact on this machine
description:
  - Returns the path of an artifact in the content-addressed store that C(edgewright fetch) fills.
  - The artifact must be pinned in C(site.lock.yml) beside the inventory. Nothing is downloaded.
options:
  _terms:
    description:
      - Sources of artifacts, as the inventory writes them (C(pypi:), C(http://), C(https://), C(file:)).
      - What the image builder makes itself is there once C(edgewright build --artifacts-only) has run. That is
        C(build:), and the disk in a container image, C(docker://).
    type: list
    elements: str
    required: true
  cache:
    description:
      - Folder of the image builder's cache; the store is the folder C(store) in it.
      - The default is C(edgewright) in E(XDG_CACHE_HOME), which is C(~/.cache) where it is not set.
    type: str
    env:
      - name: EDGEWRIGHT_CACHE
  verify:
    description:
      - Whether the file's content is compared with its digest too, and not only its size. A file that did not change is
        read once for all hosts.
    type: bool
    default: false
  program_for:
    description:
      - Debian architecture of the machine that is to run the file; it must be an ELF program for that.
    type: str
    choices: [amd64, arm64, armhf]
"""

EXAMPLES = r"""
- name: Model is in place
  ansible.builtin.copy:
    src: "{{ lookup('edgewright.edge.artifact', 'pypi:magika==1.0.3#magika/models/standard_v3_3/model.onnx') }}"
    dest: /var/lib/edgewright/models/file-type/magika/1/model.onnx
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: The path of each artifact, in order.
  type: list
  elements: path
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_pin import (
    LOCK_NAME,
    built_disk,
    image_manifest,
    pin_of,
)
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import image_of, parse_source
from ansible_collections.edgewright.edge.plugins.module_utils.elf import check_program
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.plugin_utils.site_lock import read_lock


class LookupModule(LookupBase):  # type: ignore[misc]
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the path of each source; every problem of every source is in the one error."""
        self.set_options(var_options=variables, direct=kwargs)
        folder = (variables or {}).get("inventory_dir")
        cache = Path(self.get_option("cache") or _default_cache()).expanduser()
        problems = Problems()
        paths: list[str] = []
        for term in terms:
            with problems.collecting():
                path = _locate(str(term), folder, cache / "store")
                if self.get_option("verify"):
                    _verify(path, str(term))
                if architecture := self.get_option("program_for"):
                    with path.open("rb") as stream:
                        check_program(stream.read(64), architecture, where=str(term))
                paths.append(str(path))
        try:
            problems.raise_if_any()
        except EdgeError as error:
            raise AnsibleLookupError(str(error)) from error
        return paths


def _default_cache() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "edgewright")  # noqa: PTH118 (~ is expanded later)


def _locate(source: str, folder: str | None, store: Path) -> Path:
    if source.startswith("build:"):
        return _built(source, source.removeprefix("build:"), folder, store)
    # For hosts that come from no file Ansible has the text "None" here.
    if not folder or not Path(folder).is_dir():
        raise EdgeError(
            Problem(source, "there is no inventory folder to find site.lock.yml in", remedy="Use -i FOLDER.")
        )
    lock = Path(folder) / LOCK_NAME
    if image := image_of(source):
        manifest = image_manifest(_locked(lock), image, where=str(lock))
        return _built(source, built_disk(manifest), folder, store)
    pin = pin_of(_locked(lock), source, where=str(lock))
    path = store / pin.store_path
    try:
        found = path.stat().st_size
    except OSError:
        remedy = "Run 'edgewright fetch' where there is a network."
        raise EdgeError(Problem(source, "has not been fetched", f"no {path}", remedy=remedy)) from None
    if found != pin.size:
        remedy = f"Delete {path}, then run 'edgewright fetch'."
        raise EdgeError(Problem(source, "is damaged in the store", f"{found} bytes", f"{pin.size} bytes", remedy))
    return path


def _verify(path: Path, source: str) -> None:
    """Compare a file with the digest that it is named by."""
    status = path.stat()
    digest = _digest(path, status.st_mtime_ns, status.st_size)
    if digest != path.name:
        remedy = f"Delete {path}, then run 'edgewright fetch'."
        problem = Problem(source, "is damaged in the store", f"sha256:{digest}", f"sha256:{path.name}", remedy)
        raise EdgeError(problem)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, _stamp: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _built(source: str, place: str, folder: str | None, store: Path) -> Path:
    """Return what the builder last made of a recipe or an image: ``<store>/built/<place>`` has its digest."""
    try:
        parse_source(source)
    except UnfitError as error:
        raise EdgeError(Problem(source, str(error))) from error
    remedy = f"Run 'edgewright build -i {folder} --artifacts-only' on this machine."
    try:
        digest = (store / "built" / place).read_text(encoding="ascii").strip()
    except OSError:
        raise EdgeError(Problem(source, "has not been built", remedy=remedy)) from None
    name = digest.removeprefix("sha256:")
    path = store / "sha256" / name[:2] / name
    if not path.is_file():
        raise EdgeError(Problem(source, "is no longer in the store", f"no {path}", remedy=remedy))
    return path


def _locked(lock: Path) -> object:
    try:
        return read_lock(lock)
    except OSError:
        remedy = f"Run 'edgewright lock -i {lock.parent}', then 'edgewright fetch', where there is a network."
        raise EdgeError(Problem(str(lock), "the site is not locked: there is no such file", remedy=remedy)) from None
