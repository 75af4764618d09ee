"""pip resolves from a package index made here."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.exits import NeedsNetworkError
from edgewright.sources.requirements import read_requirements
from edgewright.sources.wheels import resolve_wheels

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.pins import Container

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class Index:
    """A package index (PEP 503) on a local web server."""

    def __init__(self, web: Any) -> None:
        self.web = web
        self.links: dict[str, list[str]] = {}

    def add(
        self,
        name: str,
        version: str,
        *requires: str,
        tags: str = "py3-none-any",
    ) -> None:
        filename = f"{name}-{version}-{tags}.whl"
        info = f"{name}-{version}.dist-info"
        dependencies = "".join(f"Requires-Dist: {line}\n" for line in requires)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as wheel:
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{dependencies}"
            wheel.writestr(f"{info}/METADATA", metadata)
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
            wheel.writestr(f"{info}/RECORD", "")
        self.web.files[f"/files/{filename}"] = content.getvalue()
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        links = self.links.setdefault(name, [])
        links.append(f'<a href="/files/{filename}#sha256={digest}">{filename}</a>')
        self.web.files[f"/simple/{name}/"] = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


@pytest.fixture
def index(web: Any, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return Index(web)


def _versions(container: Container) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in container.wheels}


def test_wheels_are_for_the_containers_python_and_c_library_not_for_this_machines(index: Index) -> None:
    index.add("native", "1.0", tags="cp313-cp313-manylinux_2_28_x86_64")
    index.add("native", "1.1", tags="cp313-cp313-manylinux_2_99_x86_64")
    index.add("native", "1.2", tags="cp311-cp311-manylinux_2_17_x86_64")
    index.add("native", "1.3", tags="cp313-cp313-musllinux_1_2_x86_64")
    index.add("native", "1.4", tags="cp313-cp313-manylinux_2_28_aarch64")
    container = resolve_wheels("container x", ["native"])
    (wheel,) = container.wheels
    assert wheel.version == "1.0"
    content = index.web.files["/files/" + wheel.filename]
    assert (wheel.digest, wheel.size) == (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    assert wheel.urls == (f"{index.web.url}/files/{wheel.filename}",)


def test_markers_are_those_of_the_target(index: Index) -> None:
    index.add("top", "1.0", "new; python_version >= '3.13'", f"here; python_version <= '{HERE}'", "extra[more]")
    index.add("new", "1.0", "deeper; python_full_version >= '3.13.0'")
    index.add("deeper", "1.0")
    index.add("here", "1.0", "below-here")
    index.add("below_here", "1.0")
    index.links["below-here"] = index.links["below_here"]
    index.web.files["/simple/below-here/"] = index.web.files["/simple/below_here/"]
    index.add(
        "extra", "1.0", "optional; extra == 'more'", "other; extra == 'unasked'", "windows; sys_platform == 'win32'"
    )
    index.add("optional", "1.0")
    expected = {"top": "1.0", "new": "1.0", "deeper": "1.0", "extra": "1.0", "optional": "1.0"}
    if HERE >= "3.13":
        expected |= {"here": "1.0", "below-here": "1.0"}
    assert _versions(resolve_wheels("container x", ["top"])) == expected


def test_pins_are_kept_if_they_still_satisfy_the_list(index: Index) -> None:
    index.add("one", "1.0")
    index.add("two", "1.0")
    first = resolve_wheels("container x", ["one", "two"])
    index.add("one", "1.1")
    index.add("two", "1.1")
    index.add("three", "1.1")
    assert _versions(resolve_wheels("container x", ["one", "two", "three"], first.wheels)) == {
        "one": "1.0",
        "two": "1.0",
        "three": "1.1",
    }
    assert _versions(resolve_wheels("container x", ["one", "two>1"], first.wheels)) == {"one": "1.0", "two": "1.1"}
    assert _versions(resolve_wheels("container x", ["one", "two"])) == {"one": "1.1", "two": "1.1"}


def test_what_cannot_be_satisfied_says_why(index: Index) -> None:
    index.add("one", "1.0")
    with pytest.raises(EdgeError, match=r"no wheels for Python 3.13 .*one>=2.*from versions: 1.0") as caught:
        resolve_wheels("container x", ["one>=2"])
    assert not isinstance(caught.value, NeedsNetworkError)


def test_no_index_needs_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(NeedsNetworkError, match="the Python package index does not answer"):
        resolve_wheels("container x", ["one"])


def test_requirement_files_are_read_strictly_with_lines(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("# what it needs\nnumpy>=2  # arrays\n\norjson\n")
    assert read_requirements(path) == ["numpy>=2", "orjson"]
    path.write_text("numpy>=2\n--index-url http://evil.invalid\nfoo bar\n")
    with pytest.raises(EdgeError) as caught:
        read_requirements(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:2", f"{path}:3"]
    with pytest.raises(EdgeError, match="is missing"):
        read_requirements(tmp_path / "absent.txt")
