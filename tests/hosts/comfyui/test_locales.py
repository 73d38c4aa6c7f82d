"""Names and tooltips in other languages: complete, translated, and in step with the nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gpen.options import OPTIONS
from tests.hosts.comfyui.server import ComfyUIServer
from tests.hosts.loading import ROOT

LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir())
TRANSLATED = [language for language in LANGUAGES if language != "en"]
FILE_INPUTS = {("GPENLoadModel", "inputs", "model_name"), ("GPENConvertCheckpoint", "inputs", "weight_file")}
"""Their tooltip names the user's own folder while it is empty, so the English file must not replace it."""

LOADS_DETECTORS = "GPENLoadFaceDetector"
NO_OPTIONS = {("GPENRestoreVideo", "video")}
"""Inputs with the name of an option that are none."""

Key = tuple[str, ...]


def read(language: str, file: str = "nodeDefs") -> Any:
    return json.loads((ROOT / "locales" / language / f"{file}.json").read_text(encoding="utf-8"))


def texts(tree: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    for name, value in tree.items():
        if isinstance(value, str):
            yield (*key, name), value
        else:
            yield from texts(value, (*key, name))


def definitions(object_info: dict[str, Any]) -> dict[str, Any]:
    """The English nodeDefs.json for the server's description of the nodes."""
    result = {}
    for node, info in object_info.items():
        inputs: dict[str, Any] = {}
        for name, (_, more) in (info["input"]["required"] | info["input"].get("optional", {})).items():
            inputs[name] = {"name": more.get("display_name") or name, "tooltip": more["tooltip"]}
            if (node, "inputs", name) in FILE_INPUTS:
                del inputs[name]["tooltip"]
        outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
        result[node] = {
            "display_name": info["display_name"],
            "description": info["description"],
            "inputs": inputs,
            "outputs": {str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)},
        }
    return result


def test_the_languages() -> None:
    assert LANGUAGES == ["en", "ja", "zh"]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_and_no_other(language: str) -> None:
    expected = {key for key, _ in texts(read("en"))} | {(*key, "tooltip") for key in FILE_INPUTS}
    assert {key for key, _ in texts(read(language))} == expected
    assert {key for key, _ in texts(read(language, "main"))} == {key for key, _ in texts(read("en", "main"))}


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_plain(language: str) -> None:
    """Some characters are syntax in the page's translations, and would cut or hide the text."""
    for key, text in [*texts(read(language)), *texts(read(language, "main"))]:
        assert text.strip() == text != "", key
        assert not set(text) & set("@{}|\n"), key


@pytest.mark.parametrize(("language", "script"), [("zh", r"[\u4e00-\u9fff]"), ("ja", r"[\u3040-\u30ff\u4e00-\u9fff]")])
def test_nothing_is_left_in_english(language: str, script: str) -> None:
    names = re.compile(
        r"GPEN(-BFR-512|-Colorization-1024|-Inpainting-1024|-Seg2face-512)?|YuNet|RetinaFace|auto|float32|float16|"
        r"bfloat16|NVIDIA|RTX|gpen|ffhq|facexlib|facefusion|Lab|CPU|GPU|R|all|H|HEVC|AV1|ffv1|CRF|webm|mkv"
    )
    names_of_choices = {choice for option in OPTIONS.values() for choice in option.choices}
    for key, text in [*texts(read(language)), *texts(read(language, "main"))]:
        assert re.search(script, text), key
        without_files = re.sub(r"[\w/-]*(\.(safetensors|pth)|models/\w+)", "", text)
        for word in re.findall(r"[A-Za-z][\w-]*", without_files):
            assert word in names_of_choices or names.fullmatch(word), (key, word)
    # Kana would be Japanese by mistake.
    assert language == "ja" or not any(re.search(r"[\u3040-\u30ff]", text) for _, text in texts(read(language)))


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_keep_choices_numbers_and_the_names_of_nodes(language: str) -> None:
    english, translated = read("en"), dict(texts(read(language)))
    for key, text in texts(english):
        here = translated[key]
        words = re.findall(r"[\w.]*/\w+|\.safetensors|\d(?:[\d,-]*\d)?", text)
        if key[1:] in {("inputs", name, "tooltip") for name in OPTIONS}:
            words += [f"{choice}：" for choice in OPTIONS[key[2]].choices if f"{choice}: " in text]
            words += OPTIONS["select"].choices if key[2] == "select" else ()
        for word in words:
            assert word in here, (key, word)
        for node in english:
            if key != (node, "display_name") and english[node]["display_name"] in text:
                assert translated[(node, "display_name")] in here, key


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_same_text_is_translated_in_the_same_way(language: str) -> None:
    translated = dict(texts(read(language)))
    seen: dict[str, str] = {}
    for key, text in texts(read("en")):
        assert seen.setdefault(text, translated[key]) == translated[key], key


def test_english_agrees_with_the_options() -> None:
    found = set()
    for node, definition in read("en").items():
        for name, input in definition["inputs"].items():
            if name in OPTIONS and (node, name) not in NO_OPTIONS and (name != "detector" or node == LOADS_DETECTORS):
                assert input == {"name": OPTIONS[name].label, "tooltip": OPTIONS[name].help}
                found.add(name)
    assert found == set(OPTIONS)


def test_english_agrees_with_the_nodes(comfyui: ComfyUIServer) -> None:
    ours = {node: info for node, info in comfyui.object_info().items() if node.startswith("GPEN")}
    assert definitions(ours) == read("en")
    categories = {part for info in ours.values() for part in info["category"].split("/")}
    assert set(read("en", "main")["nodeCategories"]) == categories - {"image"}


def test_the_server_sends_every_language_to_the_page(comfyui: ComfyUIServer) -> None:
    assert json.loads(comfyui.get("/i18n")) == {
        language: {"nodeDefs": read(language), **read(language, "main")} for language in LANGUAGES
    }
