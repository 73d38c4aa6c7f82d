"""Which photos the inputs stand for, and the names of their results."""

from __future__ import annotations

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
    with pytest.raises(PhotoError, match="would both be written to"):
        plan([str(folder / "a.gif"), str(folder / "a.png")], tmp_path / "out")


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
    assert [why for _, why in problems] == ["No file matches.", "There is no picture in this folder."]


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
