"""Interrupted and simultaneous downloads."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from pathlib import Path

import pytest

from gpen.errors import FilesError
from gpen.weights import download as module
from gpen.weights.download import fetch

BODY = b"PK\x03\x04" + random.Random(1).randbytes(400_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = "GPEN-TEST.pth"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("validator", [{"etag": '"abc"'}, {"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_broken_connection_is_continued_at_once(site, tmp_path, validator, published):
    url = site.add("/f", BODY, cuts=[150_000], **validator)
    path = fetch(published(url, sha256=SHA256), tmp_path)
    assert path.read_bytes() == BODY
    first, second = site.requests
    assert second.headers["Range"] == "bytes=150000-"
    assert second.headers["If-Range"] == next(v for v in validator.values() if v)
    assert second.status == 206
    assert (first.sent, second.sent) == (150_000, len(BODY) - 150_000)
    assert names(tmp_path) == [NAME]


def test_the_next_call_requests_only_the_rest(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    text = failure(published(url), tmp_path)
    assert "broke off after 100,000 of 400,004 bytes" in text
    assert names(tmp_path) == [f"{NAME}.part", f"{NAME}.part.json"]
    assert (tmp_path / f"{NAME}.part").read_bytes() == BODY[:100_000]
    site.requests.clear()
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert [request.sent for request in site.requests] == [300_004]
    assert names(tmp_path) == [NAME]


def test_a_connection_that_breaks_too_often_is_given_up(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[1000] * 50)
    failure(published(url), tmp_path)
    assert len(site.requests) == module.ATTEMPTS


def test_a_changed_file_is_downloaded_from_the_start(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url), tmp_path)
    other = bytes(reversed(BODY))
    site.add("/f", other, etag='"v2"')
    assert fetch(published(url), tmp_path).read_bytes() == other


@pytest.mark.parametrize(
    "change",
    [{"etag": '"v2"'}, {"body": bytes(reversed(BODY)) + b"longer"}, {"wrong_start": 1}],
    ids=["other etag", "other length", "other start"],
)
def test_a_server_that_ignores_if_range_does_not_mix_two_files(site, tmp_path, published, failure, change):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url), tmp_path)
    answer = {"body": bytes(reversed(BODY)), "honours_if_range": False, **change}
    site.add("/f", **answer)
    assert fetch(published(url), tmp_path).read_bytes() == answer["body"]
    assert [request.status for request in site.requests[-2:]] == [206, 200]


def test_a_server_without_range_starts_again(site, tmp_path, published):
    url = site.add("/f", BODY, ranges=False, cuts=[150_000])
    assert fetch(published(url, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert [request.status for request in site.requests] == [200, 200]
    assert site.requests[1].sent == len(BODY)


@pytest.mark.parametrize("headers", [{"etag": None}, {"etag": 'W/"weak"'}])
def test_without_a_strong_validator_nothing_is_continued(site, tmp_path, headers, published, failure):
    url = site.add("/f", BODY, cuts=[150_000], **headers)
    failure(published(url), tmp_path)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert all("Range" not in request.headers for request in site.requests)


def test_a_complete_part_needs_no_transfer(site, tmp_path, published):
    url = site.add("/f", BODY)

    def stop_at_the_end(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(published(url), tmp_path, on_progress=stop_at_the_end)
    site.requests.clear()
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert site.requests == []


def test_a_part_longer_than_the_file_is_discarded(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url), tmp_path)
    with (tmp_path / f"{NAME}.part").open("ab") as part:
        part.write(bytes(len(BODY)))
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert [request.status for request in site.requests[-2:]] == [416, 200]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{",
        "[1, 2, 3]",
        '{"address": "URL"}',
        '{"address": "URL", "validator": 2, "total": 9}',
        '{"address": "URL", "validator": "x", "total": "9"}',
        '{"address": 1, "validator": "x", "total": 9}',
    ],
)
def test_a_damaged_note_is_ignored(site, tmp_path, published, note):
    url = site.add("/f", BODY)
    (tmp_path / f"{NAME}.part").write_bytes(b"what is this")
    (tmp_path / f"{NAME}.part.json").write_text(note.replace("URL", url))
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert "Range" not in site.requests[0].headers
    assert names(tmp_path) == [NAME]


def test_a_part_damaged_on_disk_is_downloaded_again(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url, sha256=SHA256), tmp_path)
    (tmp_path / f"{NAME}.part").write_bytes(bytes(100_000))
    assert fetch(published(url, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert [request.status for request in site.requests[-2:]] == [206, 200]


def test_an_error_page_does_not_cost_the_part(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url), tmp_path)
    site.add("/f", b"<html>Maintenance</html>", etag=None)
    assert "an HTML page" in failure(published(url), tmp_path)
    site.add("/f", BODY)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert site.requests[-1].sent == 300_004


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_server_that_refuses_for_now_does_not_cost_the_part(site, tmp_path, published, failure, status):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    failure(published(url), tmp_path)
    site.add("/f", b"", status=status, ranges=False)
    assert f"answered {status}" in failure(published(url), tmp_path)
    site.add("/f", BODY)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert site.requests[-1].sent == 300_004


def test_a_part_is_not_continued_from_another_address(site, tmp_path, published, failure):
    first = site.add("/a", BODY, cuts=[100_000, 0])
    failure(published(first), tmp_path)
    second = site.add("/b", bytes(reversed(BODY)))
    assert fetch(published(second), tmp_path).read_bytes() == bytes(reversed(BODY))
    assert "Range" not in site.requests[-1].headers


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_download_can_be_resumed(site, tmp_path, error, published):
    url = site.add("/f", BODY)

    def stop(done, total):
        if done > 100_000:
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fetch(published(url), tmp_path, on_progress=stop)
    assert names(tmp_path) == [f"{NAME}.part", f"{NAME}.part.json"]
    size = (tmp_path / f"{NAME}.part").stat().st_size
    assert 100_000 < size < len(BODY)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert site.requests[-1].sent == len(BODY) - size


def test_two_downloads_of_one_file_at_once(site, tmp_path, published):
    gate = threading.Event()
    slow = site.add("/slow", BODY, gate=gate)
    fast = site.add("/fast", BODY)
    results = []
    thread = threading.Thread(target=lambda: results.append(fetch(published(slow), tmp_path)))
    thread.start()
    assert site.resources["/slow"].waiting.wait(10)
    assert fetch(published(fast), tmp_path).read_bytes() == BODY
    # The first download holds the lock; the second leaves nothing behind.
    assert set(names(tmp_path)) <= {NAME, f"{NAME}.part", f"{NAME}.part.json", f"{NAME}.part.lock"}
    gate.set()
    thread.join(20)
    assert results == [tmp_path / NAME]
    assert results[0].read_bytes() == BODY
    assert names(tmp_path) == [NAME]


def test_a_second_download_that_fails_leaves_the_first_ones_part(site, tmp_path, published, failure):
    url = site.add("/f", BODY)
    inner = []

    def fail_meanwhile(done, total):
        if done > 100_000 and not inner:
            inner.append(failure(published(site.add("/short", BODY, cuts=[9000, 0])), tmp_path))

    assert fetch(published(url), tmp_path, on_progress=fail_meanwhile).read_bytes() == BODY
    assert "broke off" in inner[0]
    assert names(tmp_path) == [NAME]


def test_a_lock_file_left_by_a_crash_is_ignored(site, tmp_path, published, failure):
    url = site.add("/f", BODY, cuts=[100_000, 0])
    (tmp_path / f"{NAME}.part.lock").write_bytes(b"")
    failure(published(url), tmp_path)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert site.requests[-1].sent == 300_004
    assert names(tmp_path) == [NAME]


def test_the_lock_is_released_after_every_outcome(site, tmp_path, published):
    for address in (site.url("/missing"), site.add("/page", b"<html>"), site.add("/f", BODY)):
        with contextlib.suppress(FilesError):
            fetch(published(address), tmp_path)
        assert f"{NAME}.part.lock" not in names(tmp_path)


def test_a_download_works_without_a_lock(site, tmp_path, published, failure):
    (tmp_path / f"{NAME}.part.lock").mkdir()
    url = site.add("/f", BODY, cuts=[9000, 0])
    failure(published(url), tmp_path)
    assert names(tmp_path) == [f"{NAME}.part.lock"]
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert names(tmp_path) == [NAME, f"{NAME}.part.lock"]
