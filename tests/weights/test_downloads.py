"""Downloads in the background, over real connections to a server on this machine."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gpen.errors import FilesError, GpenError
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.weights.catalog import NETWORKS, find_published
from gpen.weights.downloads import (
    OFF_VARIABLE,
    Downloads,
    accept_label,
    download_label,
    progress_text,
)

BODY = b"PK\x03\x04" + random.Random(1).randbytes(300_000)
NETWORK, DETECTOR = "GPEN-BFR-512", "yunet"


@pytest.fixture
def published_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the catalogue list a model at an address, with the hash of BODY unless another one is given."""

    def publish(name: str, address: str, sha256: str = hashlib.sha256(BODY).hexdigest()) -> None:
        facts = vars(find_published(name))
        for key, value in {"addresses": (address,), "sha256": sha256, "size": len(BODY)}.items():
            monkeypatch.setitem(facts, key, value)

    return publish


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(lambda published: tmp_path / published.kind, lambda published: [tmp_path / published.kind])


def ended(downloads: Downloads) -> dict[str, str]:
    """The state of each download, once none is active."""
    wait_until(lambda: not downloads.is_active())
    return {download.published.name: download.state for download in downloads.states()}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_thread_that_cannot_be_started_leaves_nothing_waiting(
    site, tmp_path, downloads, published_at, monkeypatch
) -> None:
    published_at(DETECTOR, site.add("/detector", BODY))
    with monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", lambda thread: raise_no_thread())
        with pytest.raises(RuntimeError, match="can't start new thread"):
            downloads.start([DETECTOR], accepted=True)
    assert downloads.states() == []
    downloads.start([DETECTOR], accepted=True)
    assert ended(downloads) == {DETECTOR: "done"}


def raise_no_thread() -> None:
    raise RuntimeError("can't start new thread")


def test_both_in_one_step(site, tmp_path, downloads, published_at):
    gate = threading.Event()
    published_at(NETWORK, site.add("/network", BODY, gate=gate))
    published_at(DETECTOR, site.add("/detector", BODY))
    assert downloads.states() == []
    downloads.start([NETWORK, DETECTOR], accepted=True)
    assert site.resources["/network"].waiting.wait(20)
    # Meanwhile nothing is fetched twice, and the second waits.
    downloads.start([NETWORK, DETECTOR], accepted=True)
    running, waiting = downloads.states()
    assert (running.state, running.total, waiting.state) == ("running", len(BODY), "waiting")
    assert progress_text(downloads.states()) == "GPEN-BFR-512: 0.0 MB of 0.3 MB\nyunet: waiting"
    gate.set()
    assert ended(downloads) == {NETWORK: "done", DETECTOR: "done"}
    assert files_in(tmp_path) == {
        "network/GPEN-BFR-512.pth": BODY,
        "detector/face_detection_yunet_2023mar.onnx": BODY,
    }
    assert len(site.requests) == 2
    assert [(state.done, state.total) for state in downloads.states()] == [(len(BODY), len(BODY))] * 2
    assert progress_text(downloads.states()) == "GPEN-BFR-512: downloaded\nyunet: downloaded"


def test_a_file_that_is_there_is_not_fetched(site, tmp_path, downloads, published_at):
    published_at(NETWORK, site.add("/network", BODY))
    there = tmp_path / "network" / "gpen_bfr_512.safetensors"
    there.parent.mkdir()
    there.write_bytes(b"1234")
    downloads.start([NETWORK], accepted=True)
    assert ended(downloads) == {NETWORK: "done"}
    assert site.requests == []
    assert files_in(tmp_path) == {"network/gpen_bfr_512.safetensors": b"1234"}


def test_stopped(site, tmp_path, downloads, published_at):
    gate = threading.Event()
    published_at(NETWORK, site.add("/network", BODY, gate=gate))
    published_at(DETECTOR, site.add("/detector", BODY))
    downloads.start([NETWORK, DETECTOR], accepted=True)
    assert site.resources["/network"].waiting.wait(20)
    downloads.stop()
    gate.set()
    assert ended(downloads) == {NETWORK: "stopped", DETECTOR: "stopped"}
    assert "goes on from here" in progress_text(downloads.states())
    assert {Path(file).suffix for file in files_in(tmp_path)} <= {".part", ".json"}
    downloads.start([DETECTOR], accepted=True)
    assert ended(downloads) == {DETECTOR: "done"}


def test_cut_and_continued(site, tmp_path, downloads, published_at):
    received = 100_000
    published_at(NETWORK, site.add("/network", BODY, cuts=[received, 0]))
    downloads.start([NETWORK], accepted=True)
    assert ended(downloads) == {NETWORK: "failed"}
    assert "broke off" in downloads.states()[0].error
    assert not (tmp_path / "network" / "GPEN-BFR-512.pth").exists()
    downloads.start([NETWORK], accepted=True)
    assert ended(downloads) == {NETWORK: "done"}
    assert site.requests[-1].headers["Range"] == f"bytes={received}-"
    assert files_in(tmp_path) == {"network/GPEN-BFR-512.pth": BODY}


def test_a_wrong_hash_is_told_and_the_next_file_still_fetched(site, tmp_path, downloads, published_at):
    published_at(NETWORK, site.add("/network", BODY), sha256="0" * 64)
    published_at(DETECTOR, site.add("/detector", BODY))
    downloads.start([NETWORK, DETECTOR], accepted=True)
    assert ended(downloads) == {NETWORK: "failed", DETECTOR: "done"}
    failed = downloads.states()[0]
    assert "a damaged or different file (SHA256" in failed.error
    assert failed.error in progress_text(downloads.states())
    assert files_in(tmp_path) == {"detector/face_detection_yunet_2023mar.onnx": BODY}


def test_a_failed_file_is_fetched_again_while_another_one_is(site, downloads, published_at):
    published_at(NETWORK, site.url("/lost"))
    gate = threading.Event()
    published_at(DETECTOR, site.add("/detector", BODY, gate=gate))
    downloads.start([NETWORK, DETECTOR], accepted=True)
    assert site.resources["/detector"].waiting.wait(20)
    assert [state.state for state in downloads.states()] == ["failed", "running"]
    published_at(NETWORK, site.add("/network", BODY))
    downloads.start([NETWORK], accepted=True)
    gate.set()
    assert ended(downloads) == {DETECTOR: "done", NETWORK: "done"}


@pytest.mark.parametrize(
    ("names", "accepted", "message"),
    [
        ([NETWORK, DETECTOR], False, "Nothing was downloaded. Accept the terms of GPEN-BFR-512 and yunet first."),
        ([NETWORK, "http://localhost/other.pth"], True, "No published model is called"),
        (["../../etc/passwd"], True, "No published model is called"),
        ([], True, "No model was chosen"),
    ],
)
def test_refusals(site, tmp_path, downloads, published_at, names, accepted, message):
    published_at(NETWORK, site.add("/network", BODY))
    with pytest.raises(FilesError, match=message):
        downloads.start(names, accepted=accepted)
    assert downloads.states() == []
    assert site.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "off"), [("1", True), ("yes", True), ("0", False), ("", False), ("false", False)])
def test_switched_off(site, downloads, published_at, monkeypatch, value, off):
    published_at(DETECTOR, site.add("/detector", BODY))
    monkeypatch.setenv(OFF_VARIABLE, value)
    if off:
        with pytest.raises(GpenError, match=OFF_VARIABLE):
            downloads.start([DETECTOR], accepted=True)
        assert site.requests == []
    else:
        downloads.start([DETECTOR], accepted=True)
        assert ended(downloads) == {DETECTOR: "done"}


def test_a_mistake_of_ours_ends_the_download(tmp_path, published_at, site, caplog):
    published_at(DETECTOR, site.add("/detector", BODY))
    broken = Downloads(lambda published: 1 / 0, lambda published: [])
    broken.start([DETECTOR], accepted=True)
    assert ended(broken) == {DETECTOR: "failed"}
    assert "ZeroDivisionError" in broken.states()[0].error
    assert "Traceback" in caplog.text


def test_labels():
    both = [find_published(NETWORK), find_published(DETECTOR)]
    assert download_label(both) == "Download both, 284 MB"
    assert accept_label(both) == "Accept and download both, 284 MB"
    assert download_label(both[1:]) == "Download yunet, 0.2 MB"
    assert download_label([*both, find_published("sface")]) == "Download 3 models, 323 MB"
    assert download_label([find_published("xseg_3")]) == "Download xseg_3"
    assert download_label([find_published("xseg_3"), both[1]]) == "Download both"


def test_the_sizes_of_networks_are_told():
    widths = {"256": (1, 0.5)}
    for published in NETWORKS:
        size = published.name.rpartition("-")[2]
        with torch.device("meta"):
            network = GPEN(Spec(int(size), int(size), *widths.get(size, (2, 1))))
        numbers = sum(tensor.numel() for tensor in network.state_dict().values())
        # The authors' files also hold the filters, of 16 numbers each.
        assert 0 <= published.about - 4 * numbers < 5_000
