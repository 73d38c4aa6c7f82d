"""What a stranger types: nothing at all, a photo, a misspelt word."""

from __future__ import annotations

import pytest

from gpen import __version__
from gpen.cli import models
from gpen.cli.parser import make_parser
from gpen.tasks import TASKS


def test_alone_it_prints_its_help(gpen):
    run = gpen()
    assert (run.code, run.err) == (0, "")
    assert run.out == gpen("--help").out
    assert "gpen PHOTO is short for gpen restore PHOTO." in " ".join(run.out.split())


def test_the_version(gpen):
    assert gpen("--version").out == f"gpen {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["restor", "--upscale", 2], "restor is neither a command nor a photo. Did you mean restore? Try: gpen --help"),
        (["restor", "a.png"], "restor is neither a command nor a photo. Did you mean restore? Try: gpen --help"),
        (["-v", "colorise", "a.png"], "colorise is neither a command nor a photo. Did you mean colorize? Try: gpen"),
        (["xyzzy"], "xyzzy is neither a command nor a photo. Try: gpen --help"),
        (
            ["--strenght", 0.5, "a.png"],
            "There is no option --strenght. Did you mean --strength? Try: gpen restore --help",
        ),
        (["restore", "a.png", "--qqq"], "There is no option --qqq. Try: gpen restore --help"),
        (["inspect", "a.pth", "b.pth"], "One argument too many: b.pth. Try: gpen inspect --help"),
        (["restore"], "The following arguments are required: PATH. Try: gpen restore --help"),
        (
            ["restore", "a.png", "--strength", 7],
            "Strength is 7.0; it has to lie between 0 and 1. Try: gpen",
        ),
        (["restore", "a.png", "--mask", "oval"], "Mask is 'oval', which is not one of its choices: auto, ellipse"),
        (["restore", "a.png", "--engine", "spark"], "Argument --engine: invalid choice: 'spark'"),
        (["--vrbose"], "There is no option --vrbose. Did you mean --verbose? Try: gpen --help"),
    ],
)
def test_what_is_misspelt_is_one_sentence_that_says_what_is_meant(gpen, arguments, said):
    run = gpen(*arguments)
    assert run.code == 2
    assert run.out == ""
    assert run.err.startswith(f"gpen: {said}")
    assert run.err.count("\n") == 1


def test_photos_that_do_not_exist_are_named_before_a_model_is_looked_for(gpen, tmp_path):
    run = gpen("restore", tmp_path / "a.png", tmp_path / "b.mp4", "--models-path", tmp_path)
    assert run.code == 1
    assert run.err == "".join(
        f"{start}{tmp_path / name} does not exist. Check the name and the folder.\n"
        for start, name in (("gpen: ", "a.png"), ("", "b.mp4"))
    )


def test_a_photo_alone_is_restored_beside_itself(gpen, networks, album, assert_restored, files_in):
    photo = album.add("a.png")
    known = ["--models-path", networks, "--model", "negative", "--faces", album.faces_file]
    for command in ([], ["restore"]):
        run = gpen(*command, photo, *known, "--overwrite")
        assert (run.code, run.err) == (0, "")
        assert files_in(album.folder) == ["a.png", "a_restored.png"]
        assert_restored(album.folder / "a_restored.png", photo)
        (album.folder / "a_restored.png").unlink()
    # Flags may come first.
    assert gpen("-v", "--strength", 0.5, *known, photo).code == 0
    assert files_in(album.folder) == ["a.png", "a_restored.png"]


def test_several_photos_beside_themselves(restore, album, assert_restored, files_in):
    photos = [album.add(name) for name in ("a.png", "sub/a.jpg", "b.webp")]
    assert restore(*photos).code == 0
    results = ["a_restored.png", "b_restored.webp", "sub/a_restored.jpg"]
    assert files_in(album.folder) == sorted(["a.png", "b.webp", "sub/a.jpg", *results])
    # The next run over a pattern leaves the results alone.
    album.set_faces("a_restored.png", album.faces["a.png"])
    run = restore(album.folder / "*.png")
    assert run.code == 0
    assert "1 photo: 1 already there" in run.out
    assert files_in(album.folder) == sorted(["a.png", "b.webp", "sub/a.jpg", *results])
    # Asked for by itself, a result is a photo like any other.
    assert restore(album.folder / "a_restored.png").code == 0
    assert (album.folder / "a_restored_restored.png").is_file()


def test_a_fault_of_the_program_itself_is_not_taken_for_one_of_a_file(gpen, monkeypatch):
    def broken(*arguments: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(models, "run", broken)
    with pytest.raises(OSError, match="Bad file descriptor"):
        gpen("models")


def test_what_is_written_beside_results_is_not_restored_by_the_next_run(restore, album, files_in):
    photos = [album.add("a.png"), album.add("a.jpg"), album.add("b.png"), album.add("b_compare.png")]
    assert restore(*photos, "--compare", "--save-faces").code == 0
    made = files_in(album.folder)
    assert {"b_restored_compare.png", "b_restored_face00_before.png", "a_restored_jpg_compare.png"} <= set(made)
    done = restore(album.folder / "*.*", "--compare", "--save-faces")
    assert (done.code, files_in(album.folder)) == (0, made)
    assert "4 photos: 4 already there" in done.out


def test_photos_whose_results_would_have_one_name_keep_both(restore, album, files_in):
    photos = [album.add("a.png"), album.add("a.bmp.png")]
    photos[1] = photos[1].rename(album.folder / "a.bmp")
    album.set_faces("a.bmp", album.faces["a.png"])
    assert restore(*photos).code == 0
    assert files_in(album.folder) == ["a.bmp", "a.png", "a_restored.png", "a_restored_bmp.png"]


def test_a_folder_gets_a_folder_beside_it(restore, album, files_in, monkeypatch):
    album.add("sub/a.png")
    assert restore(album.folder).code == 0
    assert files_in(album.folder.parent / "photos_restored") == ["sub/a.png"]
    monkeypatch.chdir(album.folder)
    run = restore(".", "--strength", 0.5)
    assert run.code == 1
    assert "made differently (strength 1, now 0.5)" in run.out


@pytest.mark.parametrize("more", [["--engine", "ray"], []])
def test_where_the_results_go_has_to_be_said_for_several_folders_and_clusters(restore, album, more):
    photo = album.add("a.png")
    run = restore(photo, *more) if more else restore(photo, album.folder)
    assert run.code == 2
    assert run.err == "gpen: Say where the results go: -o FOLDER.\n"


def test_short_help_shows_what_most_people_need_and_full_help_all(gpen):
    short, full = (gpen("restore", flag).out for flag in ("--help", "--help-all"))
    assert "(default: no, for films yes)" in " ".join(full.split())
    assert "show all options" in short
    for flag in ("--strength", "--model", "--output", "--overwrite", "--mask"):
        assert f"{flag} " in short
    for flag in ("--engine", "--sign", "--feather", "--template", "--region", "--damage-feather"):
        assert f"{flag} " not in short
    for flag in ("--engine", "--sign", "--feather", "--template", "--region"):
        assert f"{flag} " in full
    assert len(short.splitlines()) < 100 < len(full.splitlines())


def test_every_command_has_both_kinds_of_help(gpen):
    for command in make_parser().commands:
        for flag in ("--help", "--help-all"):
            run = gpen(command, flag)
            assert (run.code, run.err) == (0, "")
            assert run.out.startswith(f"usage: gpen {command}")
    assert set(TASKS) <= set(make_parser().commands)


def test_failures_are_said_again_at_the_end_of_a_long_run(restore, album, tmp_path):
    album.add("00.png")
    for number in range(1, 40):
        (album.folder / f"{number:02d}.png").write_text("no picture")
    run = restore(album.folder, "-o", tmp_path / "out")
    assert run.code == 1
    end = run.err.splitlines()[39:]
    assert end[0] == "gpen: 39 photos failed:"
    assert len(end) == 12
    assert all(f"{number:02d}.png" in line for number, line in enumerate(end[1:11], 1))
    assert end[11] == "    and 29 more; --report FILE writes them all."
