from __future__ import annotations

import email.utils
import shutil
import socket
import subprocess
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.download import Wanted, download
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.reporter import Reporter
    from edgewright.store import Store

CONTENT = Random(1).randbytes(300_000)  # noqa: S311 - repeatable


@pytest.fixture
def wanted(web: Any) -> Wanted:
    web.files["/file"] = CONTENT
    return _wanted("file", CONTENT, f"{web.url}/file")


def _wanted(name: str, content: bytes, *urls: str) -> Wanted:
    import hashlib

    return Wanted(name, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), urls)


def _is_stored(store: Store, wanted: Wanted) -> bool:
    path = store.path(wanted.digest)
    if not path.exists():
        return False
    found = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
    assert found == wanted.digest.removeprefix("sha256:")
    return True


def _nothing_kept(store: Store, wanted: Wanted) -> bool:
    return not store.has(wanted.digest) and not store.partial_path(wanted.digest).exists()


def test_many_files_come_over_few_connections(web: Any, store: Store, reporter: Reporter) -> None:
    many = []
    for index in range(60):
        content = Random(index).randbytes(1 + index * 1000)  # noqa: S311 - repeatable
        web.files[f"/{index}"] = content
        many.append(_wanted(str(index), content, f"{web.url}/{index}"))
    fetched = download(many, store, reporter, connections=4)
    assert all(_is_stored(store, each) for each in many)
    assert fetched.files == 60
    assert fetched.received == sum(each.size for each in many)
    assert download(many, store, reporter).received == 0
    assert len(web.requests) == 60


def test_a_cut_connection_is_resumed_where_it_was_cut(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.script["/file"] = [step(cut_after=100_000), step(cut_after=50_000)]
    download([wanted], store, reporter, patience=patience)
    assert _is_stored(store, wanted)
    assert [asked for _, asked in web.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_progress_resets_the_count_of_failures(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.script["/file"] = [step(cut_after=20_000)] * 10
    download([wanted], store, reporter, patience=patience)
    assert len(web.requests) == 11 > patience.attempts
    assert _is_stored(store, wanted)


def test_a_later_run_goes_on_where_the_network_failed(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.script["/file"] = [step(cut_after=123_456)]
    web.always = step(cut_after=0)
    with pytest.raises(NeedsNetworkError, match="it goes on where it stopped"):
        download([wanted], store, reporter, patience=patience)
    assert store.partial_path(wanted.digest).read_bytes() == CONTENT[:123_456]
    web.always = None
    fetched = download([wanted], store, reporter, patience=patience)
    assert web.requests[-1][1] == "bytes=123456-"
    assert fetched.received == len(CONTENT) - 123_456
    assert _is_stored(store, wanted)


def test_a_server_that_ignores_ranges_sends_all_again(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.script["/file"] = [step(cut_after=1000), step(ignore_range=True)]
    download([wanted], store, reporter, patience=patience)
    assert _is_stored(store, wanted)


@pytest.mark.parametrize("rubbish", [b"x" * 1000, b"x" * 300_000, b"x" * 400_000])
def test_a_rotten_part_is_thrown_away_before_the_server_is_blamed(
    wanted: Wanted, store: Store, reporter: Reporter, patience: Patience, rubbish: bytes
) -> None:
    with store.partial(wanted.digest) as part:
        part.write(rubbish)
    download([wanted], store, reporter, patience=patience)
    assert _is_stored(store, wanted)


@pytest.mark.parametrize("body", [b"X" + CONTENT[1:], CONTENT + b"more", b""])
def test_wrong_bytes_are_an_error_with_both_digests_and_nothing_is_kept(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience, body: bytes
) -> None:
    web.always = step(body=body)
    with pytest.raises(EdgeError) as caught:
        download([wanted], store, reporter, patience=patience)
    (problem,) = caught.value.problems
    assert problem.where == "file"
    if len(body) >= len(CONTENT):
        assert not isinstance(caught.value, NeedsNetworkError)
        assert problem.expected == wanted.digest
        assert problem.found.startswith("sha256:" if len(body) == len(CONTENT) else "more than 300000 bytes")
    assert _nothing_kept(store, wanted)


def test_a_mirror_with_wrong_bytes_does_not_keep_the_right_one_from_being_asked(
    make_web: Callable[[], Any],
    step: Any,
    web: Any,
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    patience: Patience,
) -> None:
    liar = make_web()
    liar.always = step(body=b"X" + CONTENT[1:])
    both = Wanted("file", wanted.digest, wanted.size, (f"{liar.url}/file", *wanted.urls))
    download([both], store, reporter, patience=patience)
    assert _is_stored(store, both)
    assert [asked for _, asked in web.requests] == [""]


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience, as_date: bool
) -> None:
    # a date has whole seconds: two seconds from now may be little more than one
    later = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    web.script["/file"] = [step(429, {"Retry-After": later})]
    begin = time.monotonic()
    download([wanted], store, reporter, patience=patience)
    assert 0.9 < time.monotonic() - begin < 4
    assert _is_stored(store, wanted)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_passing_error_is_tried_again(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience, status: int
) -> None:
    web.script["/file"] = [step(status), step(status)]
    download([wanted], store, reporter, patience=patience)
    assert _is_stored(store, wanted)


def test_a_lasting_error_is_given_up_after_some_tries(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.always = step(500)
    with pytest.raises(NeedsNetworkError, match=r"answers 500 Internal Server Error"):
        download([wanted], store, reporter, patience=patience)
    assert len(web.requests) == patience.attempts
    assert _nothing_kept(store, wanted)


def test_the_next_mirror_has_what_the_first_no_longer_has(
    make_web: Callable[[], Any], wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    first = make_web()
    both = Wanted("file", wanted.digest, wanted.size, (f"{first.url}/file", *wanted.urls))
    download([both], store, reporter, patience=patience)
    assert len(first.requests) == 1  # asking again would not help
    assert _is_stored(store, both)


def test_all_files_that_are_gone_are_named_and_the_others_fetched(
    make_web: Callable[[], Any], web: Any, wanted: Wanted, store: Store, reporter: Reporter, patience: Patience
) -> None:
    second = make_web()
    gone = [
        _wanted(f"package {name}", name.encode(), f"{web.url}/{name}", f"{second.url}/{name}") for name in ("aa", "bb")
    ]
    with pytest.raises(NeedsNetworkError) as caught:
        download([*gone, wanted], store, reporter, patience=patience)
    assert [problem.where for problem in caught.value.problems] == ["package aa", "package bb"]
    assert all("edgewright lock --upgrade" in problem.remedy for problem in caught.value.problems)
    assert _is_stored(store, wanted)


def test_a_dead_fallback_is_found_out_once_not_for_each_file(
    web: Any, store: Store, reporter: Reporter, patience: Patience
) -> None:
    gone = [_wanted(f"p{n}", f"{n}".encode(), f"{web.url}/{n}", f"{_closed_port()}/{n}") for n in range(40)]
    begin = time.monotonic()
    with pytest.raises(NeedsNetworkError) as caught:
        download(gone, store, reporter, patience=patience)
    assert time.monotonic() - begin < 5
    assert len(caught.value.problems) == 40


def test_no_network_at_all_ends_soon_with_a_remedy(store: Store, reporter: Reporter, patience: Patience) -> None:
    dead = _closed_port()
    many = [_wanted(f"p{n}", f"{n}".encode(), f"{dead}/{n}") for n in range(300)]
    begin = time.monotonic()
    with pytest.raises(NeedsNetworkError, match="Check the network and the proxy"):
        download(many, store, reporter, patience=patience)
    assert time.monotonic() - begin < 5
    assert list((store.root / "partial").glob("*.part")) == []


def test_a_server_that_falls_silent_is_given_up(
    web: Any, step: Any, wanted: Wanted, store: Store, reporter: Reporter
) -> None:
    web.always = step(silence=3)
    hasty = Patience(attempts=2, backoff=0.01, longest=1, connect_timeout=1, read_timeout=0.2)
    with pytest.raises(NeedsNetworkError, match="does not answer in time"):
        download([wanted], store, reporter, patience=hasty)


def test_a_proxy_is_used(
    web: Any,
    store: Store,
    reporter: Reporter,
    patience: Patience,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    web.files["http://mirror.invalid/file"] = CONTENT  # how a proxy is asked (RFC 9112, 3.2.2)
    monkeypatch.setenv("http_proxy", web.url)
    wanted = _wanted("file", CONTENT, "http://mirror.invalid/file")
    download([wanted], store, reporter, patience=patience)
    assert _is_stored(store, wanted)


def test_a_disk_too_small_is_told_before_anything_is_asked(
    web: Any, store: Store, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000_000))
    large = Wanted("large", "sha256:" + "0" * 64, 50_000_000, (f"{web.url}/large",))
    with pytest.raises(EdgeError, match=r"found 100 MB free; expected 117 MB \(50 MB to download"):
        download([large], store, reporter)
    assert web.requests == []


def test_two_runs_at_once_fetch_each_file_once(
    web: Any, step: Any, store: Store, reporter: Reporter, patience: Patience
) -> None:
    web.always = step(delay=0.01)
    many = []
    for index in range(10):
        content = Random(index).randbytes(200_000)  # noqa: S311 - repeatable
        web.files[f"/{index}"] = content
        many.append(_wanted(str(index), content, f"{web.url}/{index}"))
    threads = [
        threading.Thread(target=download, args=(many, store, reporter), kwargs={"connections": 3, "patience": patience})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(_is_stored(store, each) for each in many)
    assert len(web.requests) == 10
    assert list((store.root / "partial").glob("*.part")) == []


def _closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
