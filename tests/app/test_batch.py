"""Batches of uploaded photos and zips: what is unpacked, what is refused, and what the results are."""

from __future__ import annotations

import json
import os
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gpen.app import uploads
from gpen.app.batch import BatchOutput, BatchRequest, OnBatchProgress, _write_zip, run_batch
from gpen.app.engine import Engine, ModelLocator
from gpen.app.uploads import gather
from gpen.errors import GpenError, PhotoError
from gpen.images import Picture, read_picture, write_picture
from gpen.options import Options
from gpen.tasks import TASKS

MOST = 10_000_000


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    path = tmp_path / "made" / "p.png"
    path.parent.mkdir()
    write_picture(path, Picture(np.random.default_rng(0).random((24, 32, 3), np.float32)))
    return path.read_bytes()


def make_zip(path: Path, files: dict[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_zip_keeps_its_folders_and_only_pictures(tmp_path: Path, picture: bytes) -> None:
    files = {"a.png": b"", "deep/er/b.JPG": b"", "notes.txt": b"", ".hidden.png": b"", "__MACOSX/deep/._b.JPG": b""}
    files |= {"@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg": b"", "#recycle/c.png": b""}
    archive = make_zip(tmp_path / "a.zip", dict.fromkeys(files, picture))
    gather([archive], tmp_path / "out", MOST)
    assert names(tmp_path / "out") == ["a.png", "deep/er/b.JPG"]


def written_as(path: Path, names: dict[str, bytes], content: bytes, extra: bytes = b"") -> Path:
    """A zip in which these bytes stand for the names, and nothing is said about their encoding."""
    entries = {zipfile.ZipInfo(stand_in): content for stand_in in names}
    for entry in entries:
        assert len(entry.filename) == len(names[entry.filename])
        entry.extra = extra
    data = make_zip(path, dict(entries)).read_bytes()
    for stand_in, name in names.items():
        assert data.count(stand_in.encode()) == 2
        data = data.replace(stand_in.encode(), name)
    path.write_bytes(data)
    return path


LANGUAGES = {
    "gbk": ["\u7167\u7247/\u5976\u5976\u7237\u7237.jpg", "1985\u5e74\u6625\u8282.jpg", "\u5317\u4eac.png"],
    "cp932": [
        "\u5199\u771f/\u5bb6\u65cf\u65c5\u884c.jpg",
        "\u8868\u7d19.png",
        "\u304a\u3070\u3042\u3061\u3083\u3093\u30bd\u30d5\u30a1.jpg",
    ],
    "cp437": ["Gro\u00dfm\u00fctter/sch\u00f6n.jpg", "\u00e9t\u00e9.png", "Espa\u00f1a.jpg", "sch\u00f6n.jpg"],
    "cp1252": ["Gro\u00dfm\u00fctter/sch\u00f6n.jpg", "\u00e9t\u00e9.png", "\u00c5ngstr\u00f6m.jpg"],
    "utf-8": ["\u5b66/\u00fc.jpg", "\u00e9t\u00e9.png"],
}


@pytest.mark.parametrize("encoding", LANGUAGES)
def test_names_in_the_encoding_of_a_country(tmp_path: Path, picture: bytes, encoding: str) -> None:
    for number, wanted in enumerate([LANGUAGES[encoding], *([name] for name in LANGUAGES[encoding])]):
        stored = {f"{index}" * len(name.encode(encoding)): name.encode(encoding) for index, name in enumerate(wanted)}
        gather([written_as(tmp_path / "a.zip", stored, picture)], tmp_path / str(number), MOST)
        assert names(tmp_path / str(number)) == sorted(wanted)


def test_backslashes_separate_folders(tmp_path: Path, picture: bytes) -> None:
    # In Shift-JIS, the second byte of this character is a backslash.
    stored = {
        "album_1931_a.jpg": b"album\\1931\\a.jpg",
        "album_1931.jpg_": b"album\\1931.jpg\\",
        "xx_yyyy.jpg": "\u8868\\\u8868\u7d19.jpg".encode("cp932"),
    }
    gather([written_as(tmp_path / "a.zip", stored, picture)], tmp_path / "out", MOST)
    assert names(tmp_path / "out") == ["album/1931/a.jpg", "\u8868/\u8868\u7d19.jpg"]


def test_the_second_name_in_utf_8_counts_if_it_belongs_to_the_first(tmp_path: Path, picture: bytes) -> None:
    name = "\u0424\u043e\u0442\u043e/\u0431.jpg"  # of which no encoding is guessed
    for crc, expected in ((zlib.crc32(b"????/?.jpg"), [name]), (1, [])):
        body = struct.pack("<BI", 1, crc) + name.encode()
        extra = struct.pack("<HHI", 0x9999, 4, 7) + struct.pack("<HH", 0x7075, len(body)) + body
        archive = written_as(tmp_path / "a.zip", {"abcd/e.jpg": b"????/?.jpg"}, picture, extra)
        gather([archive], tmp_path / str(crc), MOST)
        assert [found for found in names(tmp_path / str(crc)) if found == name] == expected


def test_pictures_of_the_same_name_do_not_replace_one_another(tmp_path: Path, picture: bytes) -> None:
    uploads = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        uploads.append(folder / "a.png")
        uploads[-1].write_bytes(picture + bytes(number))
    uploads.append(make_zip(tmp_path / "more.zip", {"a.png": picture}))
    gather(uploads, tmp_path / "out", MOST)
    assert names(tmp_path / "out") == ["2/a.png", "3/a.png", "a.png", "more/a.png"]


def test_folders_of_any_depth(tmp_path: Path, picture: bytes) -> None:
    """Or a sentence, before anything is unpacked."""
    gather([make_zip(tmp_path / "a.zip", {"d/" * 40 + "a.png": picture})], tmp_path / "out", MOST)
    assert names(tmp_path / "out") == ["d/" * 40 + "a.png"]
    archive = make_zip(tmp_path / "b.zip", {"good.png": picture, "d/" * 2000 + "a.png": picture})
    with pytest.raises(PhotoError, match="folders more than 64 deep"):
        gather([archive], tmp_path / "deep", MOST)
    assert not list(tmp_path.rglob("good.png"))


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png", "C:evil.png", "\\\\server\\a.png"],
)
def test_paths_outside_the_folder_are_refused(tmp_path: Path, picture: bytes, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"good.png": picture, name: picture})
    with pytest.raises(PhotoError, match="a path outside its own folder"):
        gather([archive], tmp_path / "deep" / "out", MOST)
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(tmp_path.rglob("good.png"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused_before_anything_is_unpacked(tmp_path: Path, picture: bytes, method: int) -> None:
    """A few bytes of bzip2 or LZMA make their decompressors take gigabytes."""
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.png", picture, zipfile.ZIP_DEFLATED)
        file.writestr("other.png", picture, method)
    with pytest.raises(
        PhotoError, match=r"^a\.zip is compressed in an unusual way \((bzip2|LZMA)\)\. Create a plain zip"
    ):
        gather([archive], tmp_path / "out", MOST)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_picture_without_a_name_is_refused(tmp_path: Path, picture: bytes) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x": picture})
    data = bytearray(archive.read_bytes())
    for start in (data.index(b"PK\3\4") + 26, data.index(b"PK\1\2") + 28):
        data[start : start + 2] = bytes(2)
    # What follows the empty names is read as part of the data, and of the directory.
    archive.write_bytes(data)
    with pytest.raises(PhotoError):
        gather([archive], tmp_path / "out", MOST)


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / "a.zip", {link: b"/etc/passwd"})
    with pytest.raises(PhotoError, match=r"^a\.zip contains a link"):
        gather([archive], tmp_path / "out", MOST)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"big.png": bytes(MOST + 1)}, zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < MOST / 100
    with pytest.raises(PhotoError, match="larger than the 10 MB"):
        gather([archive], tmp_path / "out", MOST)
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"big.png": bytes(MOST * 2)}, zipfile.ZIP_DEFLATED)
    data = archive.read_bytes().replace(struct.pack("<I", MOST * 2), struct.pack("<I", 1000))
    archive.write_bytes(data)
    with pytest.raises(PhotoError):
        gather([archive], tmp_path / "out", MOST)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) <= MOST


def test_several_uploads_share_the_limit(tmp_path: Path) -> None:
    archives = [make_zip(tmp_path / f"{n}.zip", {"a.png": bytes(MOST // 2 + 1)}) for n in range(2)]
    with pytest.raises(PhotoError, match="larger than"):
        gather(archives, tmp_path / "out", MOST)


def test_too_many_files_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    archive = make_zip(tmp_path / "a.zip", {f"{n}.png": b"" for n in range(4)})
    with pytest.raises(PhotoError, match="There are 4 pictures, and at most 3"):
        gather([archive], tmp_path / "out", MOST)
    assert not (tmp_path / "out").exists()


def test_a_huge_central_directory_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{n}.png": b"" for n in range(100)})
    monkeypatch.setattr(uploads, "_MOST_OF_DIRECTORY", 1000)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was read"))
    with pytest.raises(PhotoError, match="very many or very large files"):
        gather([archive], tmp_path / "out", MOST)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4" + bytes(100), b"PK\5\6", b"PK\5\6" + bytes(18)])
def test_files_that_are_not_zips_are_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    with pytest.raises(PhotoError):
        gather([archive], tmp_path / "out", MOST)


def test_every_damaged_zip_is_a_clear_error(tmp_path: Path, picture: bytes) -> None:
    whole = make_zip(tmp_path / "a.zip", {"a.png": picture, "b/c.png": picture}, zipfile.ZIP_DEFLATED).read_bytes()
    random = np.random.default_rng(1)
    errors = []
    for number in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[random.integers(len(data))] = random.integers(256)
        archive = tmp_path / "damaged.zip"
        archive.write_bytes(data[: random.integers(len(data)) if number % 3 == 0 else None])
        try:
            gather([archive], tmp_path / str(number), MOST)
        except GpenError as error:
            errors.append(str(error))
    assert len(errors) > 50
    assert not [text for text in errors if str(tmp_path) in text]


def test_a_protected_zip_is_refused(tmp_path: Path, picture: bytes) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.png": picture})
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(PhotoError, match="password"):
        gather([archive], tmp_path / "out", MOST)


@pytest.fixture
def engine(weights: Path) -> Engine:
    return Engine(ModelLocator((weights,)), "cpu")


RunBatch = Callable[..., BatchOutput]


@pytest.fixture
def batch_of(engine: Engine, tmp_path: Path) -> RunBatch:
    """Runs a batch with the small model."""

    def run(
        upload: Path,
        folder: Path = tmp_path,
        *,
        task: str = "restore",
        damage: Sequence[Path] = (),
        protect: Sequence[Path] = (),
        on_progress: OnBatchProgress = lambda done, text: None,
    ) -> BatchOutput:
        request = BatchRequest(
            task=TASKS[task],
            options=Options(),
            photos=[upload],
            most_bytes=MOST,
            model="small.pth",
            damage=damage,
            protect=protect,
        )
        return run_batch(engine, request, folder, on_progress)

    return run


def test_results_keep_their_folders_and_the_report_names_no_local_path(
    batch_of: RunBatch, portrait: Path, tmp_path: Path
) -> None:
    content = portrait.read_bytes()
    archive = make_zip(tmp_path / "a.zip", {"x/one.png": content, "x/y/two.png": content, "broken.jpg": b"no picture"})
    seen: list[tuple[float, str]] = []
    out = tmp_path / "made"
    out.mkdir()
    batch = batch_of(archive, out, on_progress=lambda done, text: seen.append((done, text)))
    assert batch.summary == "3 photos: 2 restored, 1 failed. report.json in the zip says why."
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    with zipfile.ZipFile(batch.path) as file:
        assert sorted(file.namelist()) == ["report.json", "x/one.png", "x/y/two.png"]
        text = file.read("report.json").decode()
    report = json.loads(text)
    assert [entry["path"] for entry in report] == ["broken.jpg", "x/one.png", "x/y/two.png"]
    assert str(tmp_path) not in text
    assert list(out.iterdir()) == [batch.path]


def test_pictures_that_cannot_be_read_are_counted(batch_of: RunBatch, portrait: Path, tmp_path: Path) -> None:
    files = {"x/one.png": portrait.read_bytes(), "x/two.PSD": b"?", "three.exr": b"?", "@eaDir/x.psd": b"?"}
    batch = batch_of(make_zip(tmp_path / "a.zip", dict(files)))
    assert batch.summary.startswith(
        "1 photo: 1 restored. 2 pictures are of a kind that cannot be read (1 OpenEXR, 1 Photoshop)"
    )
    with pytest.raises(PhotoError, match=r"1 picture is of a kind that cannot be read \(1 Photoshop\)"):
        batch_of(make_zip(tmp_path / "b.zip", {"x/two.PSD": b"?"}))


def test_a_stop_keeps_what_is_finished(batch_of: RunBatch, portrait: Path, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{n}.png": portrait.read_bytes() for n in range(5)})
    batch = batch_of(archive, on_progress=lambda done, text: done < 0.5)
    assert "Stopped: the others are not in the zip." in batch.summary
    with zipfile.ZipFile(batch.path) as file:
        done = len(json.loads(file.read("report.json")))
        assert 1 <= done < 5
        assert len(file.namelist()) == done + 1


def test_a_batch_without_results_says_why(batch_of: RunBatch, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"broken.jpg": b"no picture"})
    with pytest.raises(PhotoError, match=r"None of 1 photo could be used\. broken\.jpg") as refused:
        batch_of(archive)
    assert str(tmp_path) not in str(refused.value)


def test_masks_are_found_by_name(batch_of: RunBatch, portrait: Path, tmp_path: Path) -> None:
    mask = np.zeros((257, 301, 3), np.float32)
    mask[:, 60:120] = 1
    write_picture(tmp_path / "mask.png", Picture(mask))
    photos = make_zip(tmp_path / "a.zip", {"x/one.png": portrait.read_bytes(), "two.png": portrait.read_bytes()})
    masks = make_zip(tmp_path / "masks.zip", {"x/one.png": (tmp_path / "mask.png").read_bytes()})
    batch = batch_of(photos, task="inpaint", damage=[masks])
    assert "1 inpainted, 1 failed." in batch.summary
    with zipfile.ZipFile(batch.path) as file:
        report = json.loads(file.read("report.json"))
    assert "no damage mask for this photo" in next(e["message"] for e in report if e["path"] == "two.png")


def test_what_is_protected_is_found_by_name(batch_of: RunBatch, portrait: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "mask.png", Picture(np.ones((257, 301, 3), np.float32)))
    photos = make_zip(tmp_path / "a.zip", {"x/one.png": portrait.read_bytes(), "two.png": portrait.read_bytes()})
    masks = make_zip(tmp_path / "masks.zip", {"x/one.png": (tmp_path / "mask.png").read_bytes()})
    batch = batch_of(photos, protect=[masks])
    with zipfile.ZipFile(batch.path) as file:
        (tmp_path / "kept.png").write_bytes(file.read("x/one.png"))
        text = file.read("report.json").decode()
    # Everything is protected in the first photo; the second has no mask, and is not touched.
    assert np.array_equal(read_picture(tmp_path / "kept.png", 1).photo, read_picture(portrait, 1).photo)
    assert "no protection mask for this photo" in next(e["message"] for e in json.loads(text) if e["path"] == "two.png")
    assert str(tmp_path) not in text


def test_a_file_without_a_name_in_a_zip(tmp_path: Path, picture: bytes) -> None:
    archive = make_zip(tmp_path / "a.zip", {zipfile.ZipInfo(""): picture, "a.png": picture})
    with pytest.raises(PhotoError, match=r"contains '', a path outside its own folder"):
        gather([archive], tmp_path / "out", MOST)


def test_results_of_a_clock_before_1980(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer whose clock has lost its battery stands at 1970; a zip knows no year before 1980."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.png").write_bytes(b"a picture")
    os.utime(results / "a.png", (0, 0))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    _write_zip(tmp_path / "a.zip", results, [])
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.namelist() == ["a.png", "report.json"]
        assert file.read("a.png") == b"a picture"
