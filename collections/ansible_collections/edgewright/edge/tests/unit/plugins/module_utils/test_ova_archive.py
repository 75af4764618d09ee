from __future__ import annotations

import io
import tarfile

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.ova_archive import MOST_MEMBERS, members
from ansible_collections.edgewright.edge.plugins.module_utils.vm_manifest import read_manifest
from hypothesis import given
from hypothesis import strategies as st


def archive(*headers, form=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as writer:
        for name, data, kind in headers:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(data), kind
            header.linkname = "/etc/shadow" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
            writer.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def read(data):
    return members(io.BytesIO(data), len(data), where="a.ova")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_they_say(form):
    data = (
        archive(("a.ovf", b"<x/>", tarfile.REGTYPE), ("d" * 120 + ".vmdk", b"disk", tarfile.REGTYPE), form=form)
        if (form != tarfile.USTAR_FORMAT)
        else archive(("a.ovf", b"<x/>", tarfile.REGTYPE), ("d.vmdk", b"disk", tarfile.REGTYPE), form=form)
    )
    found = list(read(data).values())
    assert [data[each.offset : each.offset + each.size] for each in found] == [b"<x/>", b"disk"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../../etc/cron.d/x", tarfile.REGTYPE, "leaves the folder"),
        ("/etc/passwd", tarfile.REGTYPE, "leaves the folder"),
        ("a/../../b", tarfile.REGTYPE, "leaves the folder"),
        ("..\\b", tarfile.REGTYPE, "leaves the folder"),
        ("C:b", tarfile.REGTYPE, "leaves the folder"),
        ("a.ovf", tarfile.REGTYPE, "two members of one name"),
        ("link", tarfile.SYMTYPE, "a symbolic link"),
        ("link", tarfile.LNKTYPE, "a hard link"),
        ("null", tarfile.CHRTYPE, "a device"),
        ("sda", tarfile.BLKTYPE, "a device"),
        ("pipe", tarfile.FIFOTYPE, "a pipe"),
        ("folder", tarfile.DIRTYPE, "a folder"),
        ("strange", b"Z", "a member of a strange kind"),
    ],
)
def test_what_an_ova_never_needs_is_refused(name, kind, message):
    data = archive(("a.ovf", b"<x/>", tarfile.REGTYPE), (name, b"", kind))
    with pytest.raises(EdgeError, match=message):
        read(data)


def test_everything_wrong_is_in_one_error():
    with pytest.raises(EdgeError) as caught:
        read(archive(("../a", b"", tarfile.REGTYPE), ("b", b"", tarfile.SYMTYPE), ("c", b"", tarfile.CHRTYPE)))
    assert len(caught.value.problems) == 3


def test_an_archive_that_is_cut_off_is_refused():
    data = archive(("a.ovf", b"<x/>", tarfile.REGTYPE), ("d.vmdk", b"d" * 4096, tarfile.REGTYPE))
    with pytest.raises(EdgeError, match=r"cut off|not a whole tar"):
        read(data[:3000])


def test_a_damaged_header_is_not_taken_for_the_end():
    data = bytearray(archive(("a.ovf", b"<x/>", tarfile.REGTYPE), ("d.vmdk", b"disk", tarfile.REGTYPE)))
    data[1024 + 3] ^= 0x40
    with pytest.raises(EdgeError, match="not a whole tar"):
        read(bytes(data))


def test_a_header_that_wants_gigabytes_is_refused_before_they_are_read():
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 8 * 1024**3
    data = header.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(EdgeError, match="a header of 8589934592 bytes"):
        read(data)


def test_members_without_number_are_refused():
    data = archive(*((f"f{number}", b"", tarfile.REGTYPE) for number in range(MOST_MEMBERS + 1)))
    with pytest.raises(EdgeError, match="too many members"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"no tar", b"\0" * 10240, b"\x1f\x8b" + b"\0" * 600])
def test_what_is_no_archive_is_an_error(data):
    with pytest.raises(EdgeError):
        read(data)


GOOD = archive(
    ("a.ovf", b"<x/>" * 200, tarfile.REGTYPE), ("d.vmdk", b"disk" * 500, tarfile.REGTYPE), form=tarfile.PAX_FORMAT
)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(GOOD)))
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(changes, length):
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    data = data[:length]
    try:
        found = read(bytes(data))
    except EdgeError:
        return
    for each in found.values():
        assert each.offset >= 0
        assert each.offset + each.size <= len(data)


SHA1 = "SHA1(a.ovf)= " + "0" * 40
SHA256 = "SHA256 (b b.vmdk) = " + "A" * 64


def test_a_manifest_of_either_age_is_read():
    found = read_manifest(f"{SHA1}\r\n\r\n{SHA256}\n".encode(), where="a.mf")
    assert (found["a.ovf"].algorithm, found["a.ovf"].value) == ("sha1", "0" * 40)
    assert (found["b b.vmdk"].algorithm, found["b b.vmdk"].value) == ("sha256", "a" * 64)


@pytest.mark.parametrize("line", ["MD5(a)= 00", "SHA256(a)= 00", "hello", SHA1 + "0", f"{SHA1}\n{SHA1}"])
def test_a_manifest_with_a_line_that_is_no_digest_is_refused(line):
    with pytest.raises(EdgeError, match=r"a\.mf:\d"):
        read_manifest(line.encode(), where="a.mf")


@given(st.binary(max_size=300))
def test_no_manifest_makes_anything_but_an_error(data):
    try:
        found = read_manifest(data, where="a.mf")
    except EdgeError:
        return
    assert all(each.value for each in found.values())
