"""--sign: Content Credentials, validated by the library of c2patool."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.images import read_picture
from gpen.images.metadata.provenance import COMPOSITE
from tests.certificates import Certificates, make_certificates, make_key, pem_of
from tests.commands import HEIGHT, WIDTH
from tests.files import xmp_of

c2pa = pytest.importorskip("c2pa")

MIME = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def sign(restore, certificates):
    """Run ``gpen restore --sign``."""

    def run(*arguments: object, **more: Any) -> Any:
        return restore(*arguments, "--sign", certificates.chain, certificates.key, **more)

    return run


def validated(path: Path, certificates: Certificates) -> dict[str, Any]:
    """The manifest store of a file, with its state, by somebody who trusts the root."""
    trusted = {"verify": {"verify_trust": True}, "trust": {"trust_anchors": certificates.root}}
    context = c2pa.Context(c2pa.Settings.from_dict(trusted))
    with path.open("rb") as file, c2pa.Reader(MIME[path.suffix], file, context=context) as reader:
        content: dict[str, Any] = json.loads(reader.json())
        assert content["validation_state"] == reader.get_validation_state()
        return content


def active(content: dict[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = content["manifests"][content["active_manifest"]]
    return manifest


def actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        action
        for assertion in manifest["assertions"]
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]


@pytest.mark.parametrize("suffix", MIME)
def test_results_carry_a_manifest_that_validates(restore, sign, album, certificates, tmp_path, suffix):
    photo = album.add(f"grandmother ada{suffix}")
    run = sign(photo, "-o", tmp_path / "signed")
    assert (run.code, run.err) == (0, "")
    content = validated(tmp_path / "signed" / photo.name, certificates)
    assert content["validation_state"] == "Trusted"
    manifest = active(content)
    opened, edited = actions(manifest)
    assert [opened["action"], edited["action"]] == ["c2pa.opened", "c2pa.edited"]
    assert edited["digitalSourceType"] == COMPOSITE
    shape = edited["changes"][0]["region"][0]["shape"]
    assert (shape["type"], shape["unit"]) == ("rectangle", "percent")
    place = [shape["origin"]["x"], shape["origin"]["y"], shape["width"], shape["height"]]
    assert place == pytest.approx([3600 / WIDTH, 2800 / HEIGHT, 4000 / WIDTH, 4000 / HEIGHT], abs=1e-3)
    (parent,) = manifest["ingredients"]
    assert (parent["relationship"], parent["title"]) == ("parentOf", "photo")
    assert "thumbnail" not in json.dumps(content)
    for name in ("ada", str(tmp_path)):
        assert name not in json.dumps(manifest).replace("metadata", "")
    (described,) = (entry for entry in manifest["assertions"] if entry["label"].endswith(".run"))
    assert described["data"]["networks"][0]["name"] == "negative.pth"
    assert described["data"]["options"]["strength"] == 1.0
    # Everything else is as without a signature.
    assert restore(photo, "-o", tmp_path / "plain").code == 0
    signed, plain = (tmp_path / folder / photo.name for folder in ("signed", "plain"))
    assert np.array_equal(read_picture(signed, 1).photo, read_picture(plain, 1).photo)
    assert xmp_of(signed) == xmp_of(plain)


@pytest.mark.parametrize("kind", ["es384", "es512", "ed25519", "ps256"])
def test_every_kind_of_key_that_c2pa_allows(restore, album, tmp_path, kind):
    certificates = make_certificates(tmp_path, kind)
    photo = album.add("a.png")
    run = restore(photo, "-o", tmp_path / "out", "--sign", certificates.chain, certificates.key)
    assert (run.code, run.err) == (0, "")
    assert validated(tmp_path / "out" / "a.png", certificates)["validation_state"] == "Trusted"


def test_a_change_after_signing_is_seen(sign, album, certificates, tmp_path):
    assert sign(album.add("a.png"), "-o", tmp_path / "out").code == 0
    result = tmp_path / "out" / "a.png"
    data = bytearray(result.read_bytes())
    data[-30] ^= 1
    result.write_bytes(data)
    assert validated(result, certificates)["validation_state"] == "Invalid"


def test_the_manifest_of_the_photo_stays_as_its_ingredients(sign, restore, album, certificates, tmp_path):
    photo = album.add("a.png")
    assert sign(photo, "-o", tmp_path / "once").code == 0
    first = tmp_path / "once" / "a.png"
    run = sign(first, "-o", tmp_path / "twice")
    assert run.code == 0
    assert "C2PA" not in run.out
    content = validated(tmp_path / "twice" / "a.png", certificates)
    assert content["validation_state"] == "Trusted"
    assert len(content["manifests"]) == 2
    assert active(content)["ingredients"][0]["active_manifest"] == validated(first, certificates)["active_manifest"]
    # Without a signature it is left out, and that is said.
    assert "Its C2PA manifest (Content Credentials) is left out" in restore(first, "-o", tmp_path / "plain").out


def test_a_photo_of_a_format_without_manifests(sign, album, certificates, tmp_path):
    photo = album.add("a.png")
    with Image.open(photo) as image:
        image.save(photo.with_suffix(".bmp"))
    album.set_faces("a.bmp", album.faces["a.png"])
    run = sign(photo.with_suffix(".bmp"), "-o", tmp_path / "a.png")
    assert (run.code, run.err) == (0, "")
    content = validated(tmp_path / "a.png", certificates)
    assert content["validation_state"] == "Trusted"
    assert [action["action"] for action in actions(active(content))] == ["c2pa.created"]


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_a_photo_of_a_telephone(sign, album, certificates, tmp_path, suffix):
    pillow_heif = pytest.importorskip("pillow_heif")
    pytest.importorskip("pi_heif" if suffix == ".heic" else "imagecodecs")
    photo = album.add("a.png")
    with Image.open(photo) as image:
        if suffix == ".avif":
            image.save(photo.with_suffix(suffix))
        else:
            pillow_heif.from_pillow(image).save(photo.with_suffix(suffix))
    album.set_faces(f"a{suffix}", album.faces["a.png"])
    run = sign(photo.with_suffix(suffix), "-o", tmp_path / "a.png")
    assert (run.code, run.err) == (0, "")
    manifest = active(validated(tmp_path / "a.png", certificates))
    assert [parent["format"] for parent in manifest["ingredients"]] == [f"image/{suffix[1:]}"]


def test_what_no_network_changed_is_not_signed(sign, album, tmp_path):
    photo = album.add("a.png", faces=[])
    assert sign(photo, "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "a.png").read_bytes() == photo.read_bytes()
    assert sign(photo, "-o", tmp_path / "a.webp").code == 0
    assert b"c2pa" not in (tmp_path / "a.webp").read_bytes()


def test_nothing_is_fetched(sign, album, tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    photo = album.add("a.jpg")
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet += b'<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="%s"/>'
    with Image.open(photo) as image:
        image.save(photo, xmp=packet % b"http://127.0.0.1:9/manifest.c2pa" + b"</rdf:RDF></x:xmpmeta>")
    run = sign(photo, "-o", tmp_path / "out")
    assert (run.code, run.err) == (0, "")


def test_what_cannot_sign_is_refused_before_the_work(restore, album, certificates, tmp_path, files_in):
    photo = album.add("a.png")
    other, expired = tmp_path / "other", tmp_path / "expired"
    other.mkdir()
    expired.mkdir()
    (other / "password.pem").write_bytes(pem_of(make_key(), b"secret"))
    (other / "kind.pem").write_bytes(pem_of(make_key("es256k")))
    (other / "key.pem").write_bytes(pem_of(make_key()))
    (other / "cut.pem").write_bytes(pem_of(make_key())[:80])
    (other / "text.pem").write_text("no key")
    old = make_certificates(expired, days=30)
    cases = {
        "cannot be read: No such file": (tmp_path / "none.pem", certificates.key),
        "the certificate, is no PEM file": (other / "text.pem", certificates.key),
        "the private key, is no PEM file": (certificates.chain, other / "text.pem"),
        "has a password": (certificates.chain, other / "password.pem"),
        "of a kind that C2PA does not allow": (certificates.chain, other / "kind.pem"),
        "holds no private key that can be read": (certificates.chain, other / "cut.pem"),
        "cannot sign pictures": (certificates.chain, other / "key.pem"),
        f"{old.chain} and {old.key} cannot sign pictures": (old.chain, old.key),
    }
    for message, (chain, key) in cases.items():
        run = restore(photo, "-o", tmp_path / "out", "--sign", chain, key)
        assert run.code == 1, message
        assert message in run.err
        assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_provenance_contradicts_a_signature(sign, album, tmp_path):
    run = sign(album.add("a.png"), "-o", tmp_path / "out", "--no-provenance")
    assert run.code == 2
    assert "leave --sign or --no-provenance out" in run.err


def test_without_the_package_the_extra_is_named(sign, album, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    run = sign(album.add("a.png"), "-o", tmp_path / "out")
    assert run.code == 1
    assert 'pip install "gpen-face-restore[c2pa]"' in run.err


def test_a_result_that_cannot_be_signed_leaves_nothing(sign, album, tmp_path, monkeypatch, files_in):
    from gpen.images.metadata.content_credentials import ContentSigner

    photo = album.add("a.png")
    really = ContentSigner._sign

    def fails(self: ContentSigner, data: bytes, kind: str, note: Any, source: Path | None) -> bytes:
        if source is None:  # the trial at the start
            return really(self, data, kind, note, source)
        raise c2pa.C2paError("broken")

    monkeypatch.setattr(ContentSigner, "_sign", fails)
    run = sign(photo, "-o", tmp_path / "out")
    assert run.code == 1
    assert "The result cannot be signed: broken." in run.err
    assert files_in(tmp_path / "out") == []


def test_signing_is_in_memory_only(certificates, tmp_path):
    from gpen.images.metadata.content_credentials import ContentSigner
    from gpen.images.metadata.provenance import Provenance

    packed = io.BytesIO()
    Image.new("RGB", (9, 9)).save(packed, "JPEG")
    note = Provenance(software="GPEN Face Restore 1", task="restore", networks=(), options={})
    signed = ContentSigner(certificates.chain, certificates.key).sign(packed.getvalue(), "JPEG", note, None)
    (tmp_path / "a.jpg").write_bytes(signed)
    assert validated(tmp_path / "a.jpg", certificates)["validation_state"] == "Trusted"
