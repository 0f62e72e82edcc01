"""Certificates of the tests: of an authority, for servers on loopback and for clients, and one signed by itself."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Signed:
    """A certificate with its key, both in PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority with its files in a folder."""

    def __init__(self, folder: Path, name: str = "authority of the tests") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ca.pem"
        authority = (
            _builder(self._name, self._name, self._key, timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(authority.public_bytes(Encoding.PEM))

    def sign(self, name: str, *hosts: str, valid: timedelta = timedelta(days=90)) -> Signed:
        """A certificate that ends after this time. `hosts` are the names and addresses of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key, valid)
        if hosts:
            builder = builder.add_extension(_names(*hosts), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        made = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made


@dataclass(frozen=True)
class Certificate:
    """Signed by itself."""

    file: Path
    """In PEM, with its key."""
    server: ssl.SSLContext
    pin: str
    """Hash of its key, as Chromium's `--ignore-certificate-errors-spki-list` takes it."""


def make_certificate(folder: Path) -> Certificate:
    """One for 127.0.0.1 and localhost."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("proxy of the tests")
    builder = _builder(name, name, key, _DAY).add_extension(_names("localhost", "127.0.0.1"), critical=False)
    file = folder / "proxy.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM) + secret)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(file, server, base64.b64encode(hashlib.sha256(public).digest()).decode())


def _names(*hosts: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_host(host) for host in hosts])


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(valid, timedelta()) - _DAY)
        .not_valid_after(now + valid)
    )
