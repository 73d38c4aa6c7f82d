"""A release, as far as it goes without publishing: `make test-release`."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.packing import packed_files

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 1_000_000
"""Bytes of a pack."""

pytest.importorskip("comfy_cli", reason="in the environment of make test-release")
pytest.importorskip("build")


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"PYTHON": sys.executable, "HOME": str(folder.parent / "home"), "DO_NOT_TRACK": "1"}
    environment = {**os.environ, **settings, **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, in a repository of their own, beside an empty home folder."""
    folder = tmp_path_factory.mktemp("release") / "checkout"
    (folder.parent / "home").mkdir(parents=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for path in listed.stdout.splitlines():
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes((ROOT / path).read_bytes())
            (folder / path).chmod((ROOT / path).stat().st_mode)
    for command in (["init", "-q"], ["add", "-A"], [*["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm."]]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def dist(clone: Path, version: str) -> Path:
    """What the release makes."""
    made = run(clone, "bash", ".ci/release", f"v{version}")
    assert made.returncode == 0, made.stdout + made.stderr
    return clone / "dist"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    yaml = importlib.import_module("yaml")
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    # YAML 1.1 reads "on" as true.
    assert loaded[True] == {"push": {"tags": ["v*"]}}
    jobs: dict[str, Any] = loaded["jobs"]
    return jobs


def test_the_package_and_the_pack_are_made(dist: Path, version: str) -> None:
    made = {path.name for path in dist.iterdir()}
    name = f"gpen_face_restore-{version}"
    assert made == {f"{name}-py3-none-any.whl", f"{name}.tar.gz", "node.zip"}


def test_the_pack_holds_what_the_rules_say_and_is_small(dist: Path, clone: Path) -> None:
    assert (dist / "node.zip").stat().st_size < LARGEST
    with zipfile.ZipFile(dist / "node.zip") as pack:
        names = set(pack.namelist())
    assert names == set(packed_files(clone))
    assert {"__init__.py", "nodes.py", "pyproject.toml", "requirements.txt", "LICENSE", "gpen/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/", ".", "scripts/"))]
    # Every module of the package and of the nodes, whatever imports it.
    for folder in ("gpen", "gpen_hosts/comfyui", "web", "locales"):
        files = {path.relative_to(clone).as_posix() for path in (clone / folder).rglob("*.*") if path.is_file()}
        assert {name for name in files if "__pycache__" not in name} <= names


def test_the_wheel_holds_the_package_alone(dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        metadata = files.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"gpen"}
    assert "gpen/py.typed" in names
    assert "Requires-Dist: torch>=2.1" in metadata
    assert "Project-URL: Issues, https://" in metadata


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "The tag is v9.9.9, but the version in pyproject.toml is"),
        ({"CHANGELOG.md": "# Changelog\n"}, "CHANGELOG.md has no section about"),
    ],
)
def test_a_release_that_does_not_fit_is_refused(
    clone: Path, version: str, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(clone), str(folder)], check=True)
    for name, text in change.items():
        (folder / name).write_text(text, encoding="utf-8")
    refused = run(folder, "bash", ".ci/release", f"v{version}" if change else "v9.9.9")
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert not (folder / "dist").exists()


def test_a_pack_that_grew_too_large_is_refused(clone: Path, version: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(clone), str(folder)], check=True)
    (folder / "large.bin").write_bytes(os.urandom(LARGEST))
    subprocess.run(["git", "add", "large.bin"], cwd=folder, check=True)
    refused = run(folder, "bash", ".ci/release", f"v{version}")
    assert refused.returncode == 1
    assert "more than a million is too many" in refused.stderr


def test_the_workflow_s_commands_run(jobs: dict[str, Any], dist: Path, clone: Path, version: str) -> None:
    """Those that need no network: that for the archive, and the choice of PyPI's files. Others are called as here."""
    build = {step.get("name"): step.get("run") for step in jobs["build"]["steps"]}
    assert build["Make what is published"] == 'PYTHON=$(bash .ci/environment release) bash .ci/release "$TAG"'
    tag = f"v{version}"
    archived = run(clone, "bash", "-c", build["Make the archive for SD-WebUI and for installation by hand"], TAG=tag)
    assert archived.returncode == 0, archived.stderr
    archive = dist / f"gpen-face-restore-{tag}.zip"
    with zipfile.ZipFile(archive) as files:
        names = set(files.namelist())
    archive.rename(clone.parent / archive.name)
    for name in ("install.py", "preload.py", "metadata.ini", "scripts/gpen_webui.py", "gpen_hosts/webui/host.py"):
        assert f"gpen-face-restore/{name}" in names

    folder = clone.parent / "pypi"
    (folder / "all").mkdir(parents=True)
    for path in dist.iterdir():
        (folder / "all" / path.name).write_bytes(path.read_bytes())
    [choose] = [step["run"] for step in jobs["pypi"]["steps"] if "run" in step]
    assert run(folder, "bash", "-c", choose).returncode == 0
    assert sorted(path.suffix for path in (folder / "dist").iterdir()) == [".gz", ".whl"]


def test_every_command_of_the_workflow_is_a_valid_script(jobs: dict[str, Any], tmp_path: Path) -> None:
    for job in jobs.values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "run" in step:
                assert "${{" not in step["run"], "values come through the environment, not into the script"
                checked = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
                assert checked.returncode == 0, checked.stderr


def test_nothing_is_published_before_everything_is_built(jobs: dict[str, Any]) -> None:
    assert jobs["pypi"]["needs"] == jobs["registry"]["needs"] == "build"
    assert jobs["github"]["needs"] == ["pypi", "registry"]
    allowed = {name: job.get("permissions") for name, job in jobs.items()}
    assert allowed == {
        "build": None,
        "pypi": {"id-token": "write"},
        "registry": None,
        "github": {"contents": "write"},
    }


def test_the_registry_s_command_is_one_that_comfy_cli_has(jobs: dict[str, Any], clone: Path) -> None:
    command = jobs["registry"]["steps"][-1]["run"].splitlines()[-1]
    assert command.startswith('"$python" -m comfy_cli --skip-prompt --no-enable-telemetry node publish --token ')
    arguments = command.split()[1:-1]
    helped = run(clone, sys.executable, *arguments[:-1], "--help")
    assert helped.returncode == 0
    assert "--token" in helped.stdout
