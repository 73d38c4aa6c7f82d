"""Which photos the inputs stand for, and the names of their results."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.batch.plan import find_photos, labels, plan
from gpen.errors import PhotoError


@pytest.fixture
def folder(tmp_path):
    """Empty files: only names matter here."""
    for name in ("a.png", "B.JPG", "c.tiff", "d.webp", "e.bmp", "f.gif", "sub/a.png", "sub/deep/g.jpeg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("notes.txt", ".hidden.png", ".thumbnails/a.png", "sub/._a.png", "folder.png/readme.md"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def names(found) -> list[str]:
    photos, problems = found
    assert problems == []
    return sorted(photo.name for photo in photos)


def test_a_folder_stands_for_its_pictures(folder):
    assert names(find_photos([str(folder)])) == sorted(
        ["a.png", "B.JPG", "c.tiff", "d.webp", "e.bmp", "f.gif", "sub/a.png", "sub/deep/g.jpeg"]
    )


def test_hidden_files_count_if_they_are_named(folder):
    assert names(find_photos([str(folder / ".hidden.png")])) == [".hidden.png"]
    assert names(find_photos([str(folder / ".thumbnails")])) == ["a.png"]
    assert names(find_photos([str(folder / ".*.png")])) == [".hidden.png"]


def test_patterns(folder):
    assert names(find_photos([str(folder / "[ac].*")])) == ["a.png", "c.tiff"]
    assert names(find_photos([str(folder / "*" / "a.pn?")])) == ["sub/a.png"]
    assert names(find_photos([str(folder / "**" / "*.jpeg")])) == ["sub/deep/g.jpeg"]


def test_a_name_that_looks_like_a_pattern_is_a_name(folder):
    (folder / "[ac].png").touch()
    assert names(find_photos([str(folder / "[ac].png")])) == ["[ac].png"]


def test_a_named_file_is_taken_whatever_its_suffix(folder):
    assert names(find_photos([str(folder / "notes.txt")])) == ["notes.txt"]
    assert names(find_photos([str(folder / "lost.png")])) == ["lost.png"]


def test_each_file_counts_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert len(find_photos(["a.png", "./a.png", str(folder / "a.png"), "sub/../a.png", "*.png"])[0]) == 1


def test_formats_that_cannot_be_written_become_png(folder, tmp_path):
    (folder / "a.gif").touch()
    jobs, _ = plan([str(folder / "e.bmp"), str(folder / "f.gif"), str(folder / "B.JPG")], tmp_path / "out")
    assert [job.target.name for job in jobs] == ["e.png", "f.png", "B.JPG"]


def targets(tmp_path, *inputs) -> tuple[dict[str, str], list[str]]:
    """The results of photos, both relative to ``tmp_path``, and the problems."""
    jobs, problems = plan([str(path) for path in inputs], tmp_path / "out")
    found = {
        job.photo.path.relative_to(tmp_path).as_posix(): job.target.relative_to(tmp_path / "out").as_posix()
        for job in jobs
    }
    return found, [problem.why for problem in problems]


def made(folder, *names) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_photos_of_one_folder_and_one_name_are_all_kept(tmp_path):
    made(tmp_path / "p", "a.bmp", "a.png", "a.gif", "a_bmp.png", "sub/a.bmp", "good.jpg")
    expected = {
        "p/a.png": "a.png",
        "p/a.bmp": "a_2.png",  # a_bmp.png is taken
        "p/a.gif": "a_gif.png",
        "p/a_bmp.png": "a_bmp.png",
        "p/sub/a.bmp": "sub/a.png",
        "p/good.jpg": "good.jpg",
    }
    assert targets(tmp_path, tmp_path / "p") == (expected, [])
    # The order in which they are given has no influence on it.
    files = [tmp_path / name for name in expected if "sub" not in name]
    assert targets(tmp_path, *reversed(files))[0] == {k: v for k, v in expected.items() if "sub" not in k}


def test_names_that_differ_in_case_or_composition_are_all_kept(tmp_path):
    made(tmp_path / "p", "A.JPG", "a.jpg", "u\u0308.png", "\u00fc.png")
    if len(list((tmp_path / "p").iterdir())) < 4:
        pytest.skip("such names are the same here")
    found, problems = targets(tmp_path, tmp_path / "p")
    assert problems == []
    assert found["p/A.JPG"] == "A.JPG"
    assert found["p/a.jpg"] == "a_2.jpg"
    # On macOS, the two would be one file.
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found.values()}) == 4


def test_photos_of_two_folders_and_one_name_are_left_out_but_no_others(tmp_path):
    made(tmp_path, "x/a.png", "y/a.png", "y/b.png", "z/A.png")
    inputs = ["x/a.png", "y/a.png", "y/b.png", "z/A.png"]
    found, (why,) = targets(tmp_path, *(tmp_path / name for name in inputs))
    assert found == {"y/b.png": "b.png"}
    assert f"{tmp_path / 'x/a.png'}, {tmp_path / 'y/a.png'} and {tmp_path / 'z/A.png'} would all be written to" in why
    # With their folders in the name, they are different.
    assert len(targets(tmp_path, tmp_path)[0]) == 4


def test_names_stay_as_short_as_file_systems_allow(tmp_path):
    long = "\u7167" * 80 + ".png"  # 244 bytes
    twin = "\u7167" * 79 + "\u5f71.png"
    made(tmp_path / "p", long, twin, "x" * 251 + ".bmp", "x" * 251 + ".png")
    jobs, _ = plan([str(tmp_path / "p")], tmp_path / "out")
    names = [job.target.name for job in jobs]
    names += [f"{job.label}_{end}.png" for job in jobs for end in ("compare", "face00_before", "face123_before")]
    assert max(len(os.fsencode(name)) for name in names) <= 255
    assert len(set(names)) == len(names) == 16
    assert [name for name in names if not name.isprintable()] == []  # cut within a character


def test_thumbnails_and_deleted_files_of_systems_are_left_out(tmp_path):
    litter = ["@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "#recycle/old.jpg", "b/__MACOSX/c.jpg", "$RECYCLE.BIN/x.png"]
    made(tmp_path / "p", "a.jpg", "b/c.jpg", "b/._c.jpg", *litter)
    assert names(find_photos([str(tmp_path / "p")])) == ["a.jpg", "b/c.jpg"]
    assert names(find_photos([str(tmp_path / "p" / "**" / "*.jpg")])) == ["a.jpg", "b/c.jpg"]
    # Unless they are what was asked for.
    assert names(find_photos([str(tmp_path / "p" / "#recycle")])) == ["old.jpg"]
    assert names(find_photos([str(tmp_path / "p" / "#recycle" / "*.jpg")])) == ["old.jpg"]


def test_brackets_in_the_names_of_folders_are_no_pattern(tmp_path, monkeypatch):
    made(tmp_path / "Photos [1931]" / "[ab]", "a.png", "[c].png", "c.png")
    made(tmp_path / "Photos 1", "wrong.png")
    folder = tmp_path / "Photos [1931]"
    assert names(find_photos([str(folder)])) == ["[ab]/[c].png", "[ab]/a.png", "[ab]/c.png"]
    assert names(find_photos([str(folder / "[ab]" / "*.png")])) == ["[c].png", "a.png", "c.png"]
    assert names(find_photos([str(folder / "*" / "[ac].png")])) == ["[ab]/a.png", "[ab]/c.png"]
    monkeypatch.chdir(tmp_path)
    assert names(find_photos(["Photos [1931]/[ab]/a*"])) == ["a.png"]
    # A pattern where there is no such folder.
    assert names(find_photos(["Photos [1]/*.png"])) == ["Photos 1/wrong.png"]


def test_pictures_that_cannot_be_read_are_counted(tmp_path):
    made(tmp_path / "p", "IMG_1.jpg", "IMG_2.PSD", "sub/IMG_3.psd", "IMG_4.exr", "x.tga", "old.mpo", "notes.txt")
    made(tmp_path / "p", ".trash/x.psd", "@eaDir/y.psd")
    photos, (problem,) = find_photos([str(tmp_path / "p")])
    assert sorted(photo.name for photo in photos) == ["IMG_1.jpg", "old.mpo"]
    assert "4 pictures" in problem.why
    assert "(1 OpenEXR, 2 Photoshop, 1 TGA)" in problem.why
    assert problem.is_notice
    made(tmp_path / "only", "IMG_2.psd")
    photos, (problem,) = find_photos([str(tmp_path / "only")])
    assert photos == []
    assert "1 picture is of a kind that cannot be read (1 Photoshop), and left out. Convert it to JPEG" in problem.why
    assert not problem.is_notice


def test_links_that_lead_nowhere_are_photos_that_cannot_be_read(tmp_path):
    made(tmp_path / "p", "good.jpg")
    try:
        (tmp_path / "p" / "self.jpg").symlink_to("self.jpg")
        (tmp_path / "p" / "lost.jpg").symlink_to("gone.jpg")
    except OSError:
        pytest.skip("links cannot be made here")
    found, problems = targets(tmp_path, tmp_path / "p", tmp_path / "p" / "self.jpg")
    assert (sorted(found), problems) == (["p/good.jpg", "p/lost.jpg", "p/self.jpg"], [])


@pytest.mark.parametrize("out", ["o.heic", "o.CR2", "o.gif", "o.xyz"])
def test_the_name_of_a_file_does_not_become_a_folder(folder, tmp_path, out):
    with pytest.raises(PhotoError, match=f"cannot be written as .{out.split('.')[1]}"):
        plan([str(folder / "a.png")], tmp_path / out)
    (tmp_path / out).mkdir()
    (job,), _ = plan([str(folder / "a.png")], tmp_path / out)
    assert job.target == tmp_path / out / "a.png"


def test_a_picture_that_cannot_be_written_is_no_folder_for_several(folder, tmp_path):
    for out in ("o.heic", "o.gif"):
        with pytest.raises(PhotoError, match="cannot be written as"):
            plan([str(folder)], tmp_path / out)


def test_folders_may_have_dots_in_their_names(folder, tmp_path):
    (job,), _ = plan([str(folder / "a.png")], tmp_path / "Album 12.5.2020")
    assert job.target == tmp_path / "Album 12.5.2020" / "a.png"
    jobs, _ = plan([str(folder)], tmp_path / "restored.v2")
    assert jobs[0].target.is_relative_to(tmp_path / "restored.v2")


def test_photos_in_the_output_folder_are_found_if_they_are_named(folder, tmp_path):
    out = folder / "sub"
    assert "sub/a.png" not in names(find_photos([str(folder)], leave_out=out))
    assert names(find_photos([str(out)], leave_out=out)) == ["a.png", "deep/g.jpeg"]
    assert names(find_photos([str(out / "a.png")], leave_out=out)) == ["a.png"]
    assert names(find_photos([str(out / "*.png")], leave_out=out)) == ["a.png"]
    assert names(find_photos([str(out / "deep")], leave_out=out)) == ["g.jpeg"]


def test_targets_and_labels(folder, tmp_path):
    jobs, problems = plan([str(folder / "a.png"), str(folder / "sub" / "deep")], tmp_path / "out")
    assert problems == []
    assert [(job.target.relative_to(tmp_path).as_posix(), job.label) for job in jobs] == [
        ("out/a.png", "a"),
        ("out/g.jpeg", "g"),
    ]
    (job,), _ = plan([str(folder / "a.png")], tmp_path / "b.jpg")
    assert (job.target, job.label) == (tmp_path / "b.jpg", "b")
    # An existing folder of that name is the output folder.
    (job,), _ = plan([str(folder / "a.png")], folder / "folder.png")
    assert job.target == folder / "folder.png" / "a.png"


def test_an_unusable_input_is_a_problem_not_an_error(tmp_path):
    (job,), _ = plan(["lost.png"], tmp_path / "out")
    assert job.photo.path == Path("lost.png")
    _, problems = find_photos([str(tmp_path / "*.png"), str(tmp_path)])
    assert [problem.why for problem in problems] == ["No file matches.", "There is no picture in this folder."]


parts = st.sampled_from(
    ["a", "b", "a_compare", "a_face00_before", "a_faces", "a_png", "a_png_compare", "_compare", "A"]
)
files = st.builds(lambda stem, suffix: Path("out") / (stem + suffix), parts, st.sampled_from([".png", ".jpg"]))
different = st.lists(files, unique_by=lambda path: str(path).casefold(), max_size=10)


@settings(max_examples=200, deadline=None)
@given(targets=different)
def test_no_further_file_has_the_name_of_another(targets):
    extras = [
        target.with_name(f"{label}{end}.png")
        for target, label in zip(targets, labels(targets), strict=True)
        for end in ("_compare", "_faces", "_face00_before")
    ]
    assert len({str(path).casefold() for path in [*targets, *extras]}) == 4 * len(targets)


def test_labels_are_the_stem_unless_stems_are_ambiguous():
    assert labels([Path("a.png"), Path("b.png"), Path("sub/a.jpg")]) == ["a", "b", "a"]
    assert labels([Path("a.png"), Path("a.jpg")]) == ["a_png", "a_jpg"]
