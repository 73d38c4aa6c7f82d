"""The catalogue of published models."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from gpen.errors import FilesError
from gpen.options import DETECTORS as DETECTOR_CHOICES
from gpen.tasks import TASKS, find_task
from gpen.weights.catalog import (
    DETECTORS,
    KINDS,
    NETWORKS,
    PARSERS,
    PUBLISHED,
    find_published,
    is_half,
    published_by_file_name,
)


def test_networks_have_the_published_tasks_and_value_ranges():
    facts = {network.name: (network.task, find_task(network.task).value_range) for network in NETWORKS}
    both = (-1.0, 1.0)
    assert facts == {
        "GPEN-BFR-256": ("restore", both),
        "GPEN-BFR-512": ("restore", both),
        "GPEN-BFR-1024": ("restore", both),
        "GPEN-BFR-2048": ("restore", both),
        "GPEN-Seg2face-512": ("synthesize", (0.0, 1.0)),
        "GPEN-Colorization-1024": ("colorize", both),
        "GPEN-Inpainting-1024": ("inpaint", both),
    }
    assert {task for task, _ in facts.values()} == set(TASKS)


def test_the_option_offers_exactly_these_detectors():
    assert ("auto", *(detector.name for detector in DETECTORS)) == DETECTOR_CHOICES


def test_detectors_and_parsers_are_not_networks():
    for published in (*DETECTORS, *PARSERS):
        assert published.kind in KINDS
        assert published.kind != "network"
        assert published.task is None


def test_every_entry_is_well_formed():
    for published in PUBLISHED:
        assert published.addresses
        assert published.licence.endswith(".")
        assert "/" not in published.saved_as
        assert published.sha256 is None or re.fullmatch("[0-9a-f]{64}", published.sha256)
        for address in published.addresses:
            assert urlsplit(address).scheme == "https"
            assert " " not in address
    assert len({p.name for p in PUBLISHED}) == len({p.saved_as for p in PUBLISHED}) == len(PUBLISHED)


def test_the_yunet_in_the_catalogue_is_the_file_on_disk(detector_weights):
    from gpen.weights.download import sha256_of

    yunet = find_published("yunet")
    path = detector_weights / yunet.saved_as
    assert sha256_of(path) == yunet.sha256
    assert path.stat().st_size == yunet.size


def test_network_licences_say_non_commercial():
    assert all("non-commercial" in network.licence for network in NETWORKS)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("GPEN-BFR-512.pth", "GPEN-BFR-512"),
        ("gpen-bfr-512.PTH", "GPEN-BFR-512"),
        ("GPEN-BFR-512.safetensors", "GPEN-BFR-512"),
        ("GPEN-BFR-512.pt", "GPEN-BFR-512"),
        ("GPEN-BFR-512-fp16.safetensors", "GPEN-BFR-512"),
        ("gpen_bfr_512_half.pth", "GPEN-BFR-512"),
        ("GPEN-BFR-512", "GPEN-BFR-512"),
        ("models/x/GPEN-BFR-1024.pth", "GPEN-BFR-1024"),
        (r"C:\models\GPEN-BFR-1024.pth", "GPEN-BFR-1024"),
        ("pytorch_model-2048.pt", "GPEN-BFR-2048"),
        ("GPEN-Seg2face-512_half.safetensors", "GPEN-Seg2face-512"),
        ("detection_mobilenet0.25_Final.pth", "retinaface_mobile0.25"),
        ("detection_Resnet50_Final.pth", "retinaface_resnet50"),
        ("face_detection_yunet_2023mar.onnx", "yunet"),
        ("face_detection_yunet_2026may.onnx", "yunet"),
        ("parsing_parsenet.pth", "parsenet"),
        ("parsing_bisenet.pth", "bisenet"),
    ],
)
def test_files_are_recognised_by_their_names(file_name, name):
    found = published_by_file_name(file_name)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "file_name",
    [
        "pytorch_model.pt",  # ModelScope's 512 and 1024 share this name
        "GPEN-BFR-512-D.pth",
        "GPEN-BFR-512.onnx",
        "GPEN-BFR-512.txt",
        "GPEN-BFR-5122.pth",
        "GFPGANv1.4.pth",
        "face_detection_yunet_2023mar_int8.onnx",
        "face_detection_yunet_2023mar_int8bq.onnx",
        "face_detection_yunet_2023mar.pth",
        "",
    ],
)
def test_other_files_are_not_recognised(file_name):
    assert published_by_file_name(file_name) is None


def test_the_task_comes_with_the_file_name():
    found = published_by_file_name("gpen-seg2face-512-fp16.safetensors")
    assert found is not None
    assert (found.task, find_task(found.task).value_range) == ("synthesize", (0.0, 1.0))


def test_half_precision_is_read_from_the_name():
    assert is_half("GPEN-BFR-512-fp16.safetensors")
    assert is_half("GPEN-BFR-512_half.pth")
    assert not is_half("GPEN-BFR-512.pth")
    assert not is_half("GPEN-BFR-512-fp32.pth")


@pytest.mark.parametrize("name", ["GPEN-BFR-512", "gpen-bfr-512", " GPEN_BFR_512 ", "GPEN-BFR-512.pth"])
def test_find_published(name):
    assert find_published(name).name == "GPEN-BFR-512"


def test_find_published_suggests_similar_names():
    with pytest.raises(FilesError, match=r'"GPEN-BFR-521".*Did you mean GPEN-BFR-512'):
        find_published("GPEN-BFR-521")
    with pytest.raises(FilesError, match=r"Did you mean .*GPEN-BFR-2048"):
        find_published("2048")
    with pytest.raises(FilesError, match="Did you mean retinaface_resnet50"):
        find_published("resnet50")


def test_find_published_lists_all_names_when_none_is_similar():
    for name in ("zzzzzz", ""):
        with pytest.raises(FilesError) as caught:
            find_published(name)
        assert all(published.name in str(caught.value) for published in PUBLISHED)
