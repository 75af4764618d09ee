from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import (
    BuildSource,
    FileSource,
    ModelPackSource,
    PypiSource,
    RegistrySource,
    UrlSource,
    guest_disk,
    model_file,
    parse_source,
)
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("build:containers/inference-server", BuildSource("containers", "inference-server")),
        ("build:guests/till", BuildSource("guests", "till")),
        ("pypi:magika==1.0.3#a/b/model.onnx", PypiSource("magika", "1.0.3", "a/b/model.onnx")),
        ("pypi:a.b_c==1!2.0rc1.post2.dev3#m", PypiSource("a.b_c", "1!2.0rc1.post2.dev3", "m")),
        ("https://example.org/a/model.onnx?x=1", UrlSource("https://example.org/a/model.onnx?x=1")),
        ("http://10.0.0.1:8080/disk.qcow2", UrlSource("http://10.0.0.1:8080/disk.qcow2")),
        ("file:disks/till.qcow2", FileSource("disks/till.qcow2")),
        ("file:./a b", FileSource("./a b")),
        ("docker://quay.io/a/b:1", RegistrySource(ImageName("quay.io", "a/b", "1"))),
        ("modelpack:models/shelf", ModelPackSource("models/shelf")),
        ("modelpack:models/shelf:v1.5#a/model.onnx", ModelPackSource("models/shelf", "v1.5", "a/model.onnx")),
    ],
)
def test_sources_are_read_and_written_alike(written, expected):
    assert parse_source(written) == expected
    # The lock finds a source by its text: it must never be rewritten.
    assert str(parse_source(written)) == written


@pytest.mark.parametrize(
    ("written", "what", "remedy"),
    [
        ("till.qcow2", "is not an artifact source", ""),
        ("pypy:a==1#m", "has the unknown scheme 'pypy:'", "Did you mean 'pypi'?"),
        ("ftp://example.org/a", "has the unknown scheme 'ftp:'", ""),
        ("build:till", "names no recipe", ""),
        ("build:guest/till", "names no recipe", ""),
        ("build:guests/Till", "is not an RFC 1123 label", "Use 'till'."),
        ("build:guests/../x", "is not an RFC 1123 label", "Use 'x'."),
        ("pypi:magika#m", "names no exact version", "Pin one version with '=='."),
        ("pypi:magika>=1#m", "names no PyPI project", ""),
        ("pypi:magika==1.*#m", "names no exact version", "Pin one version with '=='."),
        ("pypi:magika==1.0", "the part after '#' must be a relative path without '..'", ""),
        ("pypi:magika==1.0#/etc/passwd", "the part after '#' must be a relative path without '..'", ""),
        ("pypi:magika==1.0#a/../../b", "the part after '#' must be a relative path without '..'", ""),
        ("file:/etc/passwd", "the path of a file source must be a relative path without '..'", ""),
        ("file:../x", "the path of a file source must be a relative path without '..'", ""),
        ("file:disks/", "the path of a file source must be a relative path without '..'", ""),
        ("modelpack:/models", "the folder of a model pack must be a relative path without '..'", ""),
        ("modelpack:a:5#../x", "the part after '#' must be a relative path without '..'", ""),
        ("modelpack:a#", "the part after '#' must be a relative path without '..'", ""),
        ("modelpack:a:b c", "has a tag that is none", ""),
        ("http:example.org", "is not the URL of a file", ""),
        ("https://example.org/", "is not the URL of a file", ""),
        ("https://example.org/a#b", "has a fragment or a space in it", ""),
        ("https://example.org:99999/a", "is not a URL (Port out of range 0-65535)", ""),
        (7, "must be a string", "Put it in quotes: YAML reads it as something else."),
        ("", "must be a line of text", ""),
    ],
)
def test_other_texts_are_refused(written, what, remedy):
    with pytest.raises(UnfitError) as caught:
        parse_source(written)
    assert (caught.value.what, caught.value.remedy) == (what, remedy)


def test_a_password_in_a_url_is_refused_and_never_shown():
    with pytest.raises(UnfitError) as caught:
        parse_source("https://me:hunter2@example.org/a")
    assert caught.value.secret
    assert "hunter2" not in f"{caught.value.what}{caught.value.expected}{caught.value.remedy}"


def test_what_makes_a_container_is_no_disk_and_no_model():
    with pytest.raises(UnfitError, match="builds a container, not a disk"):
        guest_disk("build:containers/x")
    with pytest.raises(UnfitError, match="builds an image, not a model"):
        model_file("build:guests/x")
    assert guest_disk("build:guests/x") == "build:guests/x"
    assert model_file("file:model.onnx") == "file:model.onnx"
