"""Content Credentials: a signed C2PA manifest in a picture file, which says what was done to the photo before.

Source: C2PA Technical Specification 2.2, "Actions" and "Ingredient". The package c2pa-python writes and signs them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ...errors import FilesError, PhotoError
from ...packages import optional_package
from ...wording import first_line
from ..extras import AVIF, HEIC, JPEG_XL
from ..sniff import HEAD, picture_format
from .provenance import COMPOSITE, GENERATED, Provenance

_MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff"}
_MIME_OF_PHOTOS = {**_MIME, HEIC: "image/heic", AVIF: "image/avif", JPEG_XL: "image/jxl"}
_RUN = "io.github.gpen-face-restore.run"
_PHOTO = "photo"
_LARGEST_PEM = 1 << 20
# Nothing is fetched, and no preview of the photo before is kept in the file.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_TRIAL = Provenance(software="GPEN Face Restore", task="restore", networks=(), options={})


class ContentSigner:
    """Signs picture files.

    certificates: a PEM file with the signer's certificate, and those that lead to its root. key: a PEM file with the
    private key, without a password: ECDSA on P-256, P-384 or P-521, Ed25519, or RSA. Both are tried on a small picture.
    FilesError where they cannot be used, GpenError where the package c2pa-python cannot.
    """

    def __init__(self, certificates: Path, key: Path) -> None:
        self._c2pa = optional_package("c2pa", "c2pa-python", "c2pa", "Signing", only="--sign")
        self._certificates = _pem(certificates, "certificate")
        self._key = _pem(key, "private key")
        self._algorithm = _algorithm(self._key, key)
        try:
            self._sign(_small_picture(), "PNG", _TRIAL, None)
        except self._c2pa.C2paError as error:
            raise FilesError(
                f"{certificates} and {key} cannot sign pictures: {first_line(error)}. The certificate has to be one "
                "for Content Credentials, valid today, and the key its own."
            ) from error

    def sign(self, data: bytes, kind: str, note: Provenance, source: Path | None) -> bytes:
        """A picture file with a manifest in it.

        data: the file; kind: JPEG, PNG, WEBP or TIFF. source: the photo's file, which becomes an ingredient with the
        manifest that it may hold; one of another format does not. PhotoError if that fails.
        """
        try:
            return self._sign(data, kind, note, source)
        except (self._c2pa.C2paError, OSError) as error:
            raise PhotoError(f"The result cannot be signed: {first_line(error)}.") from error

    def _sign(self, data: bytes, kind: str, note: Provenance, source: Path | None) -> bytes:
        c2pa = self._c2pa
        ingredient = None if source is None or note.is_generated else _ingredient(source)
        context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        information = c2pa.C2paSignerInfo(self._algorithm, self._certificates, self._key, None)
        signed = io.BytesIO()
        with c2pa.Builder(_manifest(kind, note, has_ingredient=ingredient is not None), context) as builder:
            if ingredient is not None:
                photo, mime = ingredient
                about = {"title": _PHOTO, "relationship": "parentOf", "label": _PHOTO}
                builder.add_ingredient_from_stream(about, mime, io.BytesIO(photo))
            with c2pa.Signer.from_info(information) as signer:
                builder.sign(signer, _MIME[kind], io.BytesIO(data), signed)
        return signed.getvalue()


def _ingredient(source: Path) -> tuple[bytes, str] | None:
    data = source.read_bytes()
    mime = _MIME_OF_PHOTOS.get(picture_format(data[:HEAD], source))
    return None if mime is None else (data, mime)


def _manifest(kind: str, note: Provenance, *, has_ingredient: bool) -> dict[str, Any]:
    name, _, version = note.software.rpartition(" ")
    agent = {"name": name, "version": version}
    made: dict[str, Any] = {
        "action": "c2pa.edited" if has_ingredient else "c2pa.created",
        "digitalSourceType": GENERATED if note.is_generated else COMPOSITE,
        "softwareAgent": agent,
    }
    if note.boxes:
        made["changes"] = [_region(box) for box in note.boxes]
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PHOTO]}}
    run = {
        "task": note.task,
        "networks": [
            {"name": used.name, "part": used.part} | ({"sha256": used.sha256} if used.sha256 else {})
            for used in note.networks
        ],
        "options": dict(note.options),
    }
    return {
        "claim_generator_info": [agent],
        "format": _MIME[kind],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, made] if has_ingredient else [made]}},
            {"label": _RUN, "data": run},
        ],
    }


def _region(box: tuple[float, float, float, float]) -> dict[str, Any]:
    left, top, width, height = (round(100 * part, 3) for part in box)
    shape = {"type": "rectangle", "unit": "percent", "origin": {"x": left, "y": top}, "width": width, "height": height}
    return {"name": "face", "region": [{"type": "spatial", "shape": shape}]}


def _pem(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_PEM)
    except OSError as error:
        raise FilesError(f"{path}, the {what}, cannot be read: {error.strerror or error}.") from error
    if b"-----BEGIN " not in data:
        raise FilesError(f"{path}, the {what}, is no PEM file: it has no line that starts with -----BEGIN.")
    return data


def _algorithm(pem: bytes, path: Path) -> bytes:
    """What C2PA calls the signature algorithm of a private key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise FilesError(f"{path}, the private key, has a password. Write it to a file without one first.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FilesError(f"{path} holds no private key that can be read: {first_line(error)}.") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return b"ps256"
    curves = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise FilesError(f"{path} holds a private key of a kind that C2PA does not allow. Use ECDSA, Ed25519 or RSA.")


def _small_picture() -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.new("RGB", (8, 8)).save(packed, "PNG")
    return packed.getvalue()
