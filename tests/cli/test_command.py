"""The command itself: its name, its start, its help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gpen.cli import main
from gpen.cli import task as task_module
from gpen.cli.arguments import options_from
from gpen.errors import GpenError
from gpen.options import COMPARE_OPTIONS, OPTIONS, Options
from gpen.tasks import TASKS
from gpen.weights.search import NetworkFiles

ROOT = Path(__file__).resolve().parents[2]
OPTIONS_OF_COMMANDS = {
    "restore": [name for name in OPTIONS if name != "damage_feather"],
    "colorize": TASKS["colorize"].options,
    "inpaint": TASKS["inpaint"].options,
    "synthesize": ("precision", "max_megapixels"),
    "compare": COMPARE_OPTIONS,
    "detect": ("detector", "detection_threshold", "max_megapixels"),
}


def help_of(gpen, command: str) -> dict[str, str]:
    """The flags of a command, each with its help text on one line."""
    run = gpen(command, "--help-all")
    assert run.code == 0
    flags = {}
    for part in re.split(r"\n  (?=-)", run.out)[1:]:
        text = " ".join(part.split("\n\n")[0].split())
        for flag in re.findall(r"(?:^|, )(--[a-z-]+)", text):
            flags[flag] = text
    return flags


@pytest.mark.parametrize("command", OPTIONS_OF_COMMANDS)
def test_every_option_is_a_flag_with_its_help(gpen, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    flags = help_of(gpen, command)
    for name in OPTIONS_OF_COMMANDS[command]:
        option = OPTIONS[name]
        text = flags["--" + name.replace("_", "-")]
        assert " ".join(option.help.split()) in text
        shown = {"": "none", "True": "yes", "False": "no"}
        default = str(option.default).removesuffix(".0")
        default = shown.get(default, default)
        assert f"(default: {default}" in text
        if option.minimum is not None:
            assert f"; {option.minimum:g} to {option.maximum:g})" in text
        if option.choices:
            assert "{" + ",".join(option.choices) + "}" in text


@pytest.mark.parametrize("command", OPTIONS_OF_COMMANDS)
def test_no_flag_is_without_effect(gpen, command):
    flags = help_of(gpen, command)
    named = {name for name in OPTIONS if "--" + name.replace("_", "-") in flags}
    assert named == set(OPTIONS_OF_COMMANDS[command])


def test_every_option_belongs_to_a_task():
    assert {name for task in TASKS.values() for name in task.options} == set(OPTIONS)


def test_the_help_says_the_default_quality(gpen):
    """That it is 95 is what test_restore.py::test_quality checks."""
    assert "(default: 95)" in help_of(gpen, "restore")["--quality"]


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Return the options that the command would run with."""
    seen = []
    photo = tmp_path / "a.png"
    photo.touch()

    def config(**fields):
        seen.append(fields["options"])
        raise GpenError("seen")

    monkeypatch.setattr(task_module, "RunConfig", config)
    monkeypatch.setattr(task_module, "find_networks", lambda *_: NetworkFiles(Path("a.pth")))

    def run(*arguments: object, command: str = "restore") -> Options:
        more = ["--damage", "m.png"] if command == "inpaint" else []
        assert main([command, str(photo), "-o", "b.png", *more, *map(str, arguments)]) == 1
        return seen[-1]

    return run


def test_without_flags_the_options_are_the_defaults(parsed):
    assert parsed() == Options()


@pytest.mark.parametrize("name", OPTIONS)
def test_every_flag_sets_its_option(parsed, name):
    option = OPTIONS[name]
    command = "inpaint" if name == "damage_feather" else "restore"
    flag = "--" + name.replace("_", "-")
    if option.kind is bool:
        assert getattr(parsed(flag), name) is True
        assert getattr(parsed("--no-" + flag[2:]), name) is False
        return
    values = option.choices or (["0,2-3"] if option.kind is str else [option.minimum, option.maximum])
    for value in values:
        value = option.kind(value)
        options = parsed(flag, value, command=command)
        assert getattr(options, name) == value
        assert type(getattr(options, name)) is option.kind
        assert options == Options(**{name: value})


def test_options_from_arguments_that_lack_them():
    from argparse import Namespace

    assert options_from(Namespace(strength=0.5)) == Options(strength=0.5)


@pytest.mark.parametrize("position", ["before", "after"])
def test_verbose(gpen, position, tmp_path):
    import logging

    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        root.handlers.clear()
        arguments = ["-v", "models"] if position == "before" else ["models", "-v"]
        assert gpen(*arguments, "--models-path", tmp_path).code == 0
        assert root.level == logging.INFO
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@pytest.mark.parametrize("arguments", [["--help"], ["restore", "--help"]])
def test_runs_from_a_checkout_and_help_needs_no_heavy_package(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['gpen', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_module('gpen', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print(*sorted({'torch', 'cv2', 'numpy', 'PIL', 'facexlib', 'tqdm'} & set(sys.modules)), file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage: gpen")
    assert run.stderr.strip() == ""


def test_every_command_is_in_the_help(start):
    out, err = start("--help").communicate(timeout=60)
    assert err == ""
    others = ("compare", "detect", "convert", "inspect", "models", "download", "app", "doctor", "completion")
    for command in (*TASKS, *others):
        assert re.search(rf"^    {command} +\w", out, re.MULTILINE)


def test_the_package_installs_this_command():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    value = re.search(r'^\[project\.scripts\]\ngpen = "(.+)"$', text, re.MULTILINE)[1]
    assert EntryPoint("gpen", value, "console_scripts").load() is main
    assert 'name = "gpen-face-restore"' in text


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise on Windows")
def test_a_closed_pipe_is_no_traceback(start):
    process = start("models")
    process.stdout.close()
    process.wait(timeout=60)
    assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gpen", "models", "--models-path", str(tmp_path / "模型")]
    run = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert rb"\u6a21\u578b" in run.stdout
