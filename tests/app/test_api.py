"""The page's API, called with Gradio's own client."""

from __future__ import annotations

import json
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpen.options import OPTIONS
from gpen.tasks import TASKS
from tests.app.conftest import Served

ENDPOINTS = ("restore", "colorize", "inpaint", "synthesize")


@pytest.fixture(scope="module")
def client(app: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from gradio_client import Client

    client = Client(app.url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
    yield client
    client.close()


@pytest.fixture
def upload() -> Callable[[Path], Any]:
    from gradio_client import handle_file

    return handle_file


def test_every_task_and_option_is_described(client: Any) -> None:
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(described) == {"/networks"} | {f"/{name}{many}" for name in ENDPOINTS for many in ("", "_many")}
    for name in ENDPOINTS:
        parameters = {each["parameter_name"]: each for each in described[f"/{name}"]["parameters"]}
        options = set(TASKS[name].options) - {"max_megapixels", "video", "texture"}
        assert options <= set(parameters)
        assert {option: parameters[option]["parameter_default"] for option in options} == {
            option: OPTIONS[option].default for option in options
        }
        assert all(OPTIONS[option].help in described[f"/{name}"]["description"] for option in options)


def test_the_endpoints_hardly_burden_the_page(app: Served) -> None:
    """The browser parses all of it before it paints anything; with components of their own, it was 593 kB."""
    with urllib.request.urlopen(app.url) as answer:
        assert len(answer.read()) < 500_000


def test_models_are_listed(client: Any) -> None:
    assert client.predict("restore", api_name="/networks")[0] == "GPEN-BFR-512.pth"
    assert "GPEN-BFR-512.pth" not in client.predict("colorize", api_name="/networks")


def test_one_photo(client: Any, upload: Any, portrait: Path, from_command: Callable[..., bytes]) -> None:
    result, text = client.predict(
        photo=upload(portrait), weights="small.pth", only_faces="0,2", strength=0.5, api_name="/restore"
    )
    assert text == "2 faces restored, 3 skipped."
    expected = from_command(portrait, "--model", "small.pth", "--only-faces", "0,2", "--strength", 0.5)
    assert Path(result).read_bytes() == expected


@pytest.mark.parametrize(("sent", "method"), [(True, "lab"), (False, "none"), ("wavelet", "wavelet")])
def test_matching_colours_may_still_be_yes_or_no(
    client: Any, upload: Any, portrait: Path, from_command: Callable[..., bytes], sent: bool | str, method: str
) -> None:
    given = {"weights": "small-colours.pth", "color_match": sent}
    result, _ = client.predict(photo=upload(portrait), **given, api_name="/restore")
    expected = from_command(portrait, "--model", "small-colours.pth", "--color-match", method)
    assert Path(result).read_bytes() == expected


def test_the_other_tasks(
    client: Any, upload: Any, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    with_weights = {"weights": "small-colours.pth"}
    colored, _ = client.predict(photo=upload(portrait), **with_weights, api_name="/colorize")
    model = ("--model", "small-colours.pth")
    assert Path(colored).read_bytes() == from_command(portrait, *model, command="colorize")
    mask = np.zeros((257, 301), np.uint8)
    mask[:, 60:90] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    filled, text = client.predict(
        photo=upload(portrait), damage=upload(tmp_path / "mask.png"), **with_weights, api_name="/inpaint"
    )
    assert "inpainted" in text
    expected = from_command(portrait, *model, "--damage", tmp_path / "mask.png", command="inpaint")
    assert Path(filled).read_bytes() == expected
    square = tmp_path / "map.png"
    cv2.imwrite(str(square), cv2.imread(str(portrait))[:64, :64])
    made, _ = client.predict(photo=upload(square), **with_weights, api_name="/synthesize")
    assert Path(made).read_bytes() == from_command(square, *model, command="synthesize")


def test_what_is_protected_stays(
    client: Any, upload: Any, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    mask = np.zeros((257, 301), np.uint8)
    mask[:, :150] = 255
    (tmp_path / "masks").mkdir()
    file = tmp_path / "masks" / "portrait.png"
    cv2.imwrite(str(file), mask)
    expected = from_command(portrait, "--model", "small.pth", "--protect", file)
    one, _ = client.predict(photo=upload(portrait), protect=upload(file), weights="small.pth", api_name="/restore")
    assert Path(one).read_bytes() == expected != from_command(portrait, "--model", "small.pth")
    many, _ = client.predict(
        photos=[upload(portrait)], protect=[upload(file)], weights="small.pth", api_name="/restore_many"
    )
    with zipfile.ZipFile(many) as archive:
        assert archive.read("portrait.png") == expected


def test_people_need_a_recogniser(client: Any, upload: Any, portrait: Path) -> None:
    one, many = {"photo": upload(portrait)}, {"photos": [upload(portrait)]}
    for endpoint, photos in (("/restore", one), ("/restore_many", many)):
        with pytest.raises(Exception, match=r"arcface .* is not on this computer"):
            client.predict(**photos, person=[upload(portrait)], weights="small.pth", api_name=endpoint)


def test_a_background_model_has_to_be_one(client: Any, upload: Any, portrait: Path) -> None:
    one, many = {"photo": upload(portrait)}, {"photos": [upload(portrait)]}
    for endpoint, photos in (("/restore", one), ("/restore_many", many)):
        with pytest.raises(Exception, match=r"small\.pth.* is not a background model"):
            client.predict(**photos, background="small.pth", weights="small.pth", api_name=endpoint)


def test_many_photos(client: Any, upload: Any, portrait: Path, from_command: Callable[..., bytes]) -> None:
    result, text = client.predict(photos=[upload(portrait)], weights="small.pth", api_name="/restore_many")
    assert text == "1 photo: 1 restored."
    with zipfile.ZipFile(result) as file:
        assert file.read("portrait.png") == from_command(portrait, "--model", "small.pth")
        (entry,) = json.loads(file.read("report.json"))
    assert (entry["path"], entry["output"], len(entry["faces"])) == ("portrait.png", "portrait.png", 5)


def test_without_a_chosen_face_the_file_is_unchanged(client: Any, upload: Any, portrait: Path) -> None:
    result, text = client.predict(photo=upload(portrait), weights="small.pth", only_faces="17", api_name="/restore")
    assert text == "None of 5 faces was chosen (not among faces 17); the photo is unchanged."
    assert Path(result).read_bytes() == portrait.read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": "/etc/passwd"}, "is not a model for this task"),
        ({"weights": "../small.pth"}, "is not a model for this task"),
        ({"only_faces": "two"}, "numbers and ranges"),
        ({"detection_threshold": 7}, "7"),
    ],
)
def test_mistakes_are_explained(client: Any, upload: Any, portrait: Path, given: dict[str, Any], message: str) -> None:
    from gradio_client.exceptions import AppError

    given = {"weights": "small.pth", **given}
    with pytest.raises(AppError, match=message):
        client.predict(photo=upload(portrait), **given, api_name="/restore")


def test_files_of_this_computer_cannot_be_read(client: Any, app: Served) -> None:
    """Only uploaded files are accepted as photos."""
    from gradio_client.exceptions import AppError

    secret = app.home / "log.txt"
    with pytest.raises((AppError, ValueError)):
        client.predict(
            photo={"path": str(secret), "meta": {"_type": "gradio.FileData"}}, weights="small.pth", api_name="/restore"
        )
