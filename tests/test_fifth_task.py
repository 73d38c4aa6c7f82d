"""A new task is one row and one processor: every surface then offers it, and works.

Its networks have passthrough weights, so that the result is known: faces of half the brightness.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gpen
from gpen import options as options_module
from gpen import tasks as tasks_module
from gpen.app.engine import Engine, ModelLocator
from gpen.app.session import WorkRequest, open_photo, work, write_result
from gpen.batch.config import RunConfig
from gpen.batch.plan import Job, PhotoFile
from gpen.batch.report import Status
from gpen.cli import main
from gpen.errors import FilesError, GpenError, OptionError
from gpen.faces.face import Face
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import read_picture, write_picture
from gpen.images.picture import FloatImage, Picture
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration import processors as processors_module
from gpen.restoration.result import Restoration
from gpen.tasks import TASKS, Task
from gpen.weights.checkpoint import load_model
from tests.commands import HEIGHT, SPEC, WIDTH, picture, upright_face
from tests.fifth_task import darken
from tests.hosts.loading import from_checkout

FACE = upright_face(36, 28, 40)
EXACT, ROUNDED = 1e-6, 0.51 / 255


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Task]:
    """The registered row; the folders that a user may have are hidden."""
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    with darken(tasks_module, processors_module) as row:
        yield row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, two photos, and their faces."""
    (tmp_path / "models").mkdir()
    torch.save(synthetic_weights(SPEC), tmp_path / "models" / "mine.pth")
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        write_picture(tmp_path / "photos" / name, picture(number))
    write_faces(tmp_path / "faces.json", [PhotoFaces(name, WIDTH, HEIGHT, (FACE,)) for name in ("a.png", "b.png")])
    square = picture().photo[:, :HEIGHT]
    write_picture(tmp_path / "square.png", Picture(np.ascontiguousarray(square)))
    return tmp_path


def read(path: Path) -> FloatImage:
    return read_picture(path, 1).photo


def from_python(folder: Path, name: str, options: Options = Options(), **more: Any) -> Restoration:  # noqa: B008
    return gpen.run("darken", read(folder / "photos" / name), model(folder), [FACE], options, **more)


def model(folder: Path) -> Any:
    return load_model(folder / "models" / "mine.pth", dtype=torch.float32)


def assert_darkened(photo: FloatImage, mask: FloatImage, before: FloatImage) -> None:
    """The known answer: half as bright where the mask is 1, unchanged where it is 0."""
    expected = before * (1 - mask[..., None] / 2)
    assert np.abs(photo - expected).max() * 255 <= 2
    assert np.array_equal(photo[mask == 0], before[mask == 0])
    assert (mask[44:54, 50:62] == 1).all()
    assert (mask[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()


def test_the_python_api(folder: Path) -> None:
    before = read(folder / "photos" / "a.png")
    result = from_python(folder, "a.png", keep_layers=True)
    assert result.summary == "1 face darkened."
    assert_darkened(result.photo, result.mask, before)
    half = from_python(folder, "a.png", Options(strength=0.5))
    assert half.mask.max() == 0.5
    assert np.array_equal(result.with_strength(0.5).photo, half.photo)
    # Options that the row does not list have no effect.
    others = Options(upscale=2, color_match=True, identity_guard=0.1)
    assert np.array_equal(from_python(folder, "a.png", others).photo, result.photo)
    assert np.array_equal(gpen.run("dim", before, model(folder), [FACE]).photo, result.photo)


def test_an_aligned_portrait(folder: Path) -> None:
    photo = read(folder / "square.png")
    result = gpen.run("darken", photo, model(folder), None)
    assert (result.mask == 1).all()
    assert np.abs(result.photo - photo / 2).max() * 255 <= 2


def command(folder: Path, source: Path, output: Path, *more: object) -> list[dict[str, Any]]:
    """Run ``gpen darken``; returns the report."""
    known = ["--model", "mine", "--models-path", folder / "models", "--device", "cpu", "--precision", "fp32"]
    words = ["darken", source, "-o", output, *known, "--report", folder / "report.json", *more]
    assert main([str(word) for word in words]) == 0
    report: list[dict[str, Any]] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = ("--faces", folder / "faces.json")
    report = command(folder, folder / "photos", folder / "results", *faces, "--save-faces", "--compare")
    assert [entry["status"] for entry in report] == ["restored", "restored"]
    assert "2 photos: 2 darkened; 2 faces darkened." in capsys.readouterr().out
    for name in ("a.png", "b.png"):
        expected = from_python(folder, name).photo
        assert np.abs(read(folder / "results" / name) - expected).max() <= ROUNDED
    crops = [read(next((folder / "results").rglob(f"a*_{which}.png"))) for which in ("before", "after")]
    assert np.abs(crops[1] - crops[0]).max() * 255 <= 1

    command(folder, folder / "photos" / "a.png", folder / "half.png", *faces, "--strength", "0.5")
    assert (
        np.abs(read(folder / "half.png") - from_python(folder, "a.png", Options(strength=0.5)).photo).max() <= ROUNDED
    )

    command(folder, folder / "square.png", folder / "dark.png", "--aligned")
    assert np.abs(read(folder / "dark.png") - read(folder / "square.png") / 2).max() * 255 <= 2.5


def test_the_help_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "darken the faces of photos" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["darken", "--help-all"])
    text = capsys.readouterr().out
    for flag in ("--aligned", "--strength", "--region", "--faces", "--video"):
        assert flag in text
    for flag in ("--damage", "--upscale", "--background-model", "--identity-guard", "--selfie"):
        assert flag not in text


def test_a_batch(folder: Path) -> None:
    config = RunConfig(
        weights=folder / "models" / "mine.pth",
        options=Options(precision="fp32"),
        task_name="darken",
        faces=folder / "faces.json",
    )
    config.check()
    processor = config.make()
    job = Job(PhotoFile(folder / "photos" / "a.png", "a.png"), folder / "out" / "a.png", "a")
    result = processor.write(processor.process(processor.read(job)))
    assert (result.status, result.message) == (Status.DONE, "1 face darkened.")
    assert np.abs(read(job.target) - from_python(folder, "a.png").photo).max() <= ROUNDED


def test_the_page(folder: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(ModelLocator((folder / "models",)), "cpu")
    monkeypatch.setattr(engine.loader, "detector", lambda name: AlwaysThere())
    session = open_photo(folder / "photos" / "a.png", folder, 1)
    result = work(engine, session, WorkRequest(task=task, options=Options(precision="fp32")))
    assert np.array_equal(result.photo, from_python(folder, "a.png").photo)
    assert np.abs(read(write_result(session)[0]) - result.photo).max() <= ROUNDED
    aligned = WorkRequest(task=task, options=Options(precision="fp32"), aligned=True)
    square = open_photo(folder / "square.png", folder, 1)
    assert np.abs(work(engine, square, aligned).photo - square.picture.photo / 2).max() * 255 <= 2


class AlwaysThere:
    """A detector that finds the face."""

    name = "yunet"

    def detect(self, photo: FloatImage, threshold: float = 0.7) -> list[Face]:
        return [FACE]


def test_models_for_the_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A converted model carries the task: other tasks refuse it, and this one refuses theirs."""
    mine, saved = folder / "models" / "mine.pth", folder / "models" / "darkening.safetensors"
    assert main(["convert", str(mine), "-o", str(saved), "--task", "darken"]) == 0
    info = gpen.inspect(saved)
    assert (info.task, info.is_task_known) == ("darken", True)
    assert info.what.endswith("face darkening network")
    photo = read(folder / "photos" / "a.png")
    assert gpen.run("darken", photo, gpen.load_model(saved), [FACE]).faces
    with pytest.raises(GpenError, match=r"for the task darken\. Choose a model for the task restore, such as"):
        gpen.run("restore", photo, gpen.load_model(saved), [FACE])
    colorizer = mine.rename(folder / "models" / "GPEN-Colorization-1024.pth")
    with pytest.raises(GpenError, match=r"for the task colorize\. Choose a model for the task darken\.$"):
        gpen.run("darken", photo, gpen.load_model(colorizer), [FACE])
    with pytest.raises(FilesError, match="darkens faces"):
        ModelLocator((folder / "photos",)).network_files("", TASKS["darken"])
    capsys.readouterr()


def test_comfyui(folder: Path) -> None:
    """The checkout as ComfyUI loads it, where the task is registered anew: its classes are others."""
    frames, widgets = (from_checkout(f"gpen_hosts.comfyui.{name}") for name in ("frames", "widgets"))
    found_faces = from_checkout("gpen_hosts.comfyui.found_faces")
    photos = [read(folder / "photos" / name) for name in ("a.png", "b.png")]
    batch = torch.from_numpy(np.stack(photos))
    face = from_checkout("gpen.faces.face").Face(FACE.box, FACE.score, FACE.landmarks)
    found = found_faces.FoundFaces(2, WIDTH, HEIGHT, tuple(found_faces.FrameFace(n, 0, face) for n in range(2)))
    own_model = from_checkout("gpen.weights.checkpoint").load_model(folder / "models" / "mine.pth", dtype=torch.float32)
    components = from_checkout("gpen.restoration.components").Components(model=own_model.for_task("restore"))
    options = from_checkout("gpen.options").Options
    with darken(from_checkout("gpen.tasks"), from_checkout("gpen.restoration.processors")) as task:
        names = widgets.option_names(task)
        assert names == [
            *("detection_threshold", "select", "only_faces", "min_face_size", "template", "mask", "feather"),
            *("strength", "max_megapixels", "video"),
        ]
        assert all(widgets.widget(name)[1]["id"] == name for name in names)
        result = frames.restore_frames(task, batch, components, found, options())
        assert result.faces == 2
        assert np.abs((result.after - result.before).numpy()).max() <= 1e-5
        for index, name in enumerate(("a.png", "b.png")):
            assert_darkened(result.images[index].numpy(), result.mask[index].numpy(), photos[index])
            assert np.abs(result.images[index].numpy() - from_python(folder, name).photo).max() <= EXACT
        half = frames.restore_frames(task, batch, components, found, options(strength=0.5))
        assert half.mask.max() == 0.5
        square = torch.from_numpy(read(folder / "square.png"))[None]
        aligned = frames.restore_frames(task, square, components, None, options())
        assert (aligned.images - square / 2).abs().max() * 255 <= 2


def test_it_is_gone_afterwards() -> None:
    """The fixture of every other test is not left behind."""
    with darken(from_checkout("gpen.tasks"), from_checkout("gpen.restoration.processors")):
        pass
    with pytest.raises(from_checkout("gpen.errors").OptionError, match="'darken' is unknown"):
        from_checkout("gpen.tasks").find_task("darken")
    assert "darken" not in from_checkout("gpen.restoration.processors").PROCESSORS
    with pytest.raises(OptionError, match=r"'darker' is unknown\. Choose one of: .*, darken"):
        gpen.run("darker", np.zeros((4, 4, 3), np.float32), None, [])  # type: ignore[arg-type]
    assert options_module.supported(Options(upscale=2), TASKS["darken"]).upscale == 1
