"""Certificates made for a test, as C2PA wants them (Technical Specification 2.2, "Certificate profile")."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM
_PURPOSES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Certificates:
    """Files of a signer, and who has to be trusted for its signatures to be."""

    chain: Path
    key: Path
    root: str
    """The certificate of the root, PEM."""


def make_key(kind: str = "es256") -> Any:
    """A new private key for one of C2PA's algorithms."""
    curves = {"es256": ec.SECP256R1(), "es384": ec.SECP384R1(), "es512": ec.SECP521R1(), "es256k": ec.SECP256K1()}
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption))


def make_certificates(folder: Path, kind: str = "es256", *, days: int = 3650) -> Certificates:
    """Write a chain of two certificates and a key. days: how long they hold, from ten years ago."""
    root_key, key = make_key(), make_key(kind)
    root = _certificate("Root", root_key, "Root", root_key, days=7300, is_root=True)
    signer = _certificate("Signer", key, "Root", root_key, days=days, is_root=False)
    chain, key_file = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(signer.public_bytes(_PEM) + root.public_bytes(_PEM))
    key_file.write_bytes(pem_of(key))
    return Certificates(chain, key_file, root.public_bytes(_PEM).decode())


def _certificate(name: str, key: Any, issuer: str, issuer_key: Any, *, days: int, is_root: bool) -> x509.Certificate:
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3600)
    asked = {"key_cert_sign", "crl_sign"} if is_root else {"digital_signature"}
    usage = x509.KeyUsage(**{purpose: purpose in asked for purpose in _PURPOSES})
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    attributes = ((NameOID.ORGANIZATION_NAME, "Test"), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])
