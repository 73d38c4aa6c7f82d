"""Downloads, over real connections to a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import re
import shutil
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gpen.errors import FilesError
from gpen.weights import download as module
from gpen.weights import partial_download as part
from gpen.weights.download import fetch

BODY = b"PK\x03\x04" + random.Random(1).randbytes(400_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = "GPEN-TEST.pth"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_good_download(site, tmp_path, published):
    url = site.add("/f", BODY)
    folder = tmp_path / "new" / "folder"
    path = fetch(published(url, sha256=SHA256, size=len(BODY)), folder)
    assert path == folder / NAME
    assert path.read_bytes() == BODY
    assert names(folder) == [NAME]
    assert "Range" not in site.requests[0].headers


def test_without_hash_size_length_and_validator(site, tmp_path, published):
    url = site.add("/f", BODY, etag=None, length=False)
    assert fetch(published(url), tmp_path).read_bytes() == BODY
    assert names(tmp_path) == [NAME]


def test_an_existing_file_is_replaced_only_by_a_good_one(site, tmp_path, published):
    (tmp_path / NAME).write_bytes(b"old")
    bad = published(site.add("/bad", BODY), sha256="0" * 64)
    with pytest.raises(FilesError):
        fetch(bad, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"old"
    fetch(published(site.add("/good", BODY), sha256=SHA256), tmp_path)
    assert (tmp_path / NAME).read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing(site, tmp_path, published, failure):
    url = site.add("/f", BODY)
    text = failure(published(url, sha256="0" * 64), tmp_path)
    assert SHA256 in text
    assert "0" * 64 in text
    assert names(tmp_path) == []


def test_a_wrong_size_is_noticed_before_the_transfer(site, tmp_path, published, failure):
    url = site.add("/f", BODY)
    seen = []
    text = failure(published(url, size=5), tmp_path, on_progress=lambda *step: seen.append(step))
    assert "400,004 bytes, but the published file has 5" in text
    assert seen == []
    assert names(tmp_path) == []


def test_a_wrong_size_without_a_length_is_noticed_after_it(site, tmp_path, published, failure):
    url = site.add("/f", BODY, length=False)
    text = failure(published(url, size=5), tmp_path)
    assert "400,004 bytes, but the published file has 5" in text
    assert names(tmp_path) == []


def test_a_server_that_never_stops_is_stopped(site, tmp_path, monkeypatch, published, failure):
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    url = site.add("/f", BODY, length=False)
    assert "more bytes than the file has" in failure(published(url), tmp_path)
    assert names(tmp_path) == []


PAGES = [
    (b"<!DOCTYPE html>\n<html><title>Sign in</title>", "an HTML page .*Sign in"),
    (b"\xef\xbb\xbf \n<HTML>\xc4\xe3\xba\xc3\xff</HTML>", "an HTML page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "an XML message .*AccessDenied"),
    ('{"error": "Kein Zugriff für Sie"}'.encode(), "a JSON message .*Kein Zugriff für Sie"),
    ((b'["' + "ü".encode() * 400), "a JSON message"),  # 512 bytes end inside a character
    (b"Rate limit exceeded", "a text .*Rate limit exceeded"),
    (b"", "an empty file"),
]


@pytest.mark.parametrize(("body", "what"), PAGES)
def test_another_kind_of_body_is_refused(site, tmp_path, body, what, published, failure):
    url = site.add("/f", body, headers={"Content-Type": "application/octet-stream"})
    assert re.search(what, failure(published(url), tmp_path))
    assert names(tmp_path) == []


def test_the_second_address_after_a_404(site, tmp_path, published):
    missing, good = site.url("/missing"), site.add("/f", BODY)
    assert fetch(published(missing, good, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert [request.path for request in site.requests] == ["/missing", "/f"]


def test_the_second_address_after_a_wrong_hash(site, tmp_path, published):
    bad, good = site.add("/bad", BODY[:-1]), site.add("/f", BODY)
    assert fetch(published(bad, good, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert names(tmp_path) == [NAME]


def test_no_connection(tmp_path, published, failure):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/f"
        text = failure(published(address, "http://host.invalid/f"), tmp_path)
    lines = text.splitlines()
    assert lines[0] == "GPEN-TEST could not be downloaded."
    assert lines[1] == "Tried:"
    assert re.fullmatch(rf"  {re.escape(address)}: no connection \(.*refused.*\)\.", lines[2])
    assert lines[3].startswith("  http://host.invalid/f: no connection (")
    assert lines[4].endswith(f"save it as {NAME} in {tmp_path}")
    assert len(lines) == 5
    assert names(tmp_path) == []


def test_no_answer_in_time(tmp_path, published, failure):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/f"
        assert "no answer within 0.2 seconds" in failure(published(address), tmp_path, timeout=0.2)


def test_no_data_in_time(site, tmp_path, published, failure):
    gate = threading.Event()
    url = site.add("/f", BODY, gate=gate)
    text = failure(published(url), tmp_path, timeout=0.2)
    gate.set()
    assert "no data for 0.2 seconds" in text


def test_no_address_known(tmp_path, published, failure):
    assert "No address is known" in failure(published(), tmp_path)


@pytest.mark.parametrize("scheme", ["ftp", "file", "data"])
def test_only_http(tmp_path, scheme, published, failure):
    assert "neither http nor https" in failure(published(f"{scheme}://127.0.0.1/etc/passwd"), tmp_path)


def test_a_redirect_is_followed(site, tmp_path, published):
    site.add("/f", BODY)
    url = site.add("/old", status=302, headers={"Location": site.url("/f")})
    assert fetch(published(url), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/f", "file:///etc/passwd"])
def test_a_redirect_out_of_http_is_refused(site, tmp_path, location, published, failure):
    url = site.add("/old", status=302, headers={"Location": location})
    text = failure(published(url), tmp_path)
    assert location in text
    assert "redirect" in text.lower()
    assert names(tmp_path) == []


def test_a_compressed_answer_is_refused(site, tmp_path, published, failure):
    url = site.add("/f", BODY, headers={"Content-Encoding": "gzip"})
    assert "compresses" in failure(published(url), tmp_path)


def test_progress(site, tmp_path, published):
    url = site.add("/f", BODY, cuts=[150_000])
    seen = []
    fetch(published(url), tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    done = [step[0] for step in seen]
    assert {step[1] for step in seen} == {len(BODY)}
    assert done[0] == 0
    assert done == sorted(done)
    assert 150_000 in done
    assert sum(b - a for a, b in itertools.pairwise(done)) == done[-1] == len(BODY)


def test_progress_without_a_length(site, tmp_path, published):
    url = site.add("/f", BODY, length=False)
    seen = []
    fetch(published(url), tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, None)
    assert seen[-1] == (len(BODY), None)


def test_too_little_disk_space(site, tmp_path, monkeypatch, published, failure):
    url = site.add("/f", BODY)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    text = failure(published(url), tmp_path)
    assert f"The disk of {tmp_path} is full" in text
    assert "0.4 MB" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(site, tmp_path, published, failure):
    url = site.add("/f", BODY)
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    text = failure(published(url, site.add("/second", BODY)), tmp_path)
    assert f"The disk of {tmp_path} is full" in text
    assert [request.path for request in site.requests] == ["/f"]


def test_a_folder_that_cannot_be_created(site, tmp_path, published):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FilesError, match=r"cannot be saved in .*folder"):
        fetch(published(site.add("/f", BODY)), tmp_path / "file" / "folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root ignores file modes")
def test_a_read_only_folder(site, tmp_path, published, failure):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    text = failure(published(site.add("/f", BODY)), folder)
    assert f"cannot be saved in {folder}" in text


def test_a_target_that_is_a_folder(site, tmp_path, published):
    (tmp_path / NAME).mkdir()
    with pytest.raises(FilesError, match="cannot be saved"):
        fetch(published(site.add("/f", BODY)), tmp_path)


def test_a_part_that_cannot_be_written(site, tmp_path, published, failure):
    (tmp_path / f"{NAME}.part").mkdir()
    text = failure(published(site.add("/f", BODY)), tmp_path)
    assert f"cannot be saved in {tmp_path}" in text


def test_the_bytes_are_on_the_disk_before_the_name(site, tmp_path, monkeypatch, published):
    seen = []
    monkeypatch.setattr(part.os, "fsync", lambda descriptor: seen.append(names(tmp_path)))
    fetch(published(site.add("/f", BODY)), tmp_path)
    assert [NAME in files for files in seen] == [False]


@pytest.mark.parametrize(("number", "fails"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EINVAL, False)])
def test_a_disk_that_fails_to_store_the_bytes(site, tmp_path, monkeypatch, published, failure, number, fails):
    def broken(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(part.os, "fsync", broken)
    entry = published(site.add("/f", BODY))
    if fails:
        text = failure(entry, tmp_path)
        assert str(tmp_path) in text
        assert ("is full" in text) == (number == errno.ENOSPC)
    else:
        assert fetch(entry, tmp_path).read_bytes() == BODY


def test_another_opener(tmp_path, published, failure):
    class Offline(urllib.request.OpenerDirector):
        def open(self, *args, **kwargs):
            raise urllib.error.URLError("downloads are switched off here")

    text = failure(published("https://example.invalid/f"), tmp_path, opener=Offline())
    assert "no connection (downloads are switched off here)" in text
