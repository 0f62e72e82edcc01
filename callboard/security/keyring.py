"""Seal secrets before they enter Temporal or the artifact store, and fingerprint what must be compared.

A sealed token has the form `cb1.{key id}.{nonce and ciphertext}`: ASCII, AES-256-GCM, its key derived by HKDF-SHA256
from one configured secret. The first secret of the ring seals, and every secret opens what it has sealed. To rotate
keys, put the new one first, and remove the old one when nothing that it has sealed is needed any more.

Payloads of Temporal are bytes, and there are many more of them than of secrets. So they are sealed as bytes, by a
cipher with a key of its own that is derived from the same secret.

The configured secrets must be random. HKDF stretches a key, but does not slow down the guessing of a weak password.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.mask import MASK
from callboard.settings import Settings

MIN_KEY_LENGTH = 16
"""Fewest characters of a configured key."""

_VERSION = "cb1"
_TOKEN = re.compile(rf"{_VERSION}\.([A-Za-z0-9_-]{{11}})\.([A-Za-z0-9_-]+)", re.ASCII)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_NONCE_BYTES = 12
_CANNOT_OPEN = "A sealed secret cannot be opened: it was changed, or it was sealed for another owner."
_CANNOT_OPEN_PAYLOAD = (
    "A payload in Temporal cannot be decrypted: it was changed, or it was encrypted for another namespace."
)


def mask_sealed(text: str) -> str:
    """Return `text` with each sealed token in it masked: links have such, which open what they are about."""
    return _TOKEN.sub(MASK, text)


class KeyRing:
    """The configured secrets, newest first.

    The ring may be empty; then each use that needs a key raises an error that says so.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        for position, key in enumerate(keys, start=1):
            if len(key) < MIN_KEY_LENGTH:
                raise ConfigurationError(
                    f"CALLBOARD_SECRET_KEY: key number {position} has {len(key)} characters, "
                    f"expected at least {MIN_KEY_LENGTH} random ones."
                )
        self._keys = [_Key(key) for key in keys]

    @classmethod
    def of(cls, settings: Settings) -> KeyRing:
        """Return the ring of the settings. Raises ConfigurationError if a key is too short."""
        return cls([key.get_secret_value() for key in settings.secret_key])

    def __bool__(self) -> bool:
        """Tell whether there is a key at all."""
        return bool(self._keys)

    def seal(self, text: str, *, bound_to: str) -> str:
        """Seal `text` as a token that opens only with the same `bound_to` (such as `workspace/project/run id`).

        Raises:
            ConfigurationError: The ring is empty.
        """
        key = self._newest_key()
        return f"{_VERSION}.{key.id}.{_to_base64url(_encrypt(key.tokens, text.encode(), bound_to))}"

    def open(self, token: str, *, bound_to: str) -> str:
        """Return the text that was sealed.

        Raises:
            ConfigurationError: The key that sealed it is not in the ring.
            SealError: The token was changed, or was sealed for another owner. Neither error quotes the token.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise SealError(_CANNOT_OPEN)
        key_id, body = match.groups()
        key = self._find_key(key_id)
        if key is None:
            raise ConfigurationError(
                f"A secret was sealed with key {key_id}, which is not in CALLBOARD_SECRET_KEY. "
                "Add the older key to the end of that list until nothing sealed by it is left."
            )
        try:
            sealed = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError as error:
            raise SealError(_CANNOT_OPEN) from error
        return _decrypt(key.tokens, sealed, bound_to, _CANNOT_OPEN).decode()

    def seal_payload(self, data: bytes, *, bound_to: str) -> tuple[str, bytes]:
        """Seal a payload; return the id of the key, and the bytes that open with that key and the same `bound_to`.

        Raises:
            ConfigurationError: The ring is empty.
        """
        key = self._newest_key()
        return key.id, _encrypt(key.payloads, data, bound_to)

    def open_payload(self, key_id: str, sealed: bytes, *, bound_to: str) -> bytes:
        """Return the payload that was sealed.

        Raises:
            ConfigurationError: The key that sealed it is not in the ring.
            SealError: It was changed, or was sealed for another owner.
        """
        if (key := self._find_key(key_id)) is not None:
            return _decrypt(key.payloads, sealed, bound_to, _CANNOT_OPEN_PAYLOAD)
        # What Temporal's server says it was sealed with may be anything.
        shown = key_id if _KEY_ID.fullmatch(key_id) else "with an unknown name"
        raise ConfigurationError(
            f"A payload in Temporal was encrypted with key {shown}, which is not in CALLBOARD_SECRET_KEY. "
            "Add that key to the end of the list until the last Run that was made with it is over and forgotten."
        )

    def fingerprints(self, data: bytes, *, bound_to: str) -> list[str]:
        """Return the keyed hashes of `data` by each key, newest first: each 43 characters of `A-Za-z0-9_-`.

        Equal data has an equal fingerprint by the same key, so one from before a rotation is among them. Without the
        key nobody can tell data from a fingerprint by guessing.
        """
        # The owner is hashed to a fixed length first, so that no pair of owner and data can be read as another pair.
        owner = hashlib.sha256(bound_to.encode()).digest()
        return [_to_base64url(hmac.digest(key.hash_key, owner + data, "sha256")) for key in self._keys]

    def lasting_fingerprint(self, data: bytes, *, bound_to: str) -> str:
        """Return the keyed hash of `data` by the oldest key, so that processes agree while a newer key is added.

        Raises:
            ConfigurationError: The ring is empty.
        """
        self._newest_key()
        return self.fingerprints(data, bound_to=bound_to)[-1]

    def _find_key(self, key_id: str) -> _Key | None:
        return next((key for key in self._keys if key.id == key_id), None)

    def _newest_key(self) -> _Key:
        if not self._keys:
            raise ConfigurationError(
                "CALLBOARD_SECRET_KEY is not set, and this needs it: secrets are sealed with it. "
                f"Set it to {MIN_KEY_LENGTH} or more random characters, the same for every api and worker."
            )
        return self._keys[0]


class _Key:
    """One secret, and what is derived from it: an id that may be shown, two ciphers, a hash key."""

    def __init__(self, secret: str) -> None:
        material = secret.encode()
        self.id = _to_base64url(derive_key(material, b"callboard key id", 8))
        self.tokens = AESGCM(derive_key(material, b"callboard seal", 32))
        self.payloads = AESGCM(derive_key(material, b"callboard payload", 32))
        self.hash_key = derive_key(material, b"callboard fingerprint", 32)


def _encrypt(cipher: AESGCM, data: bytes, bound_to: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, bound_to.encode())


def _decrypt(cipher: AESGCM, sealed: bytes, bound_to: str, refusal: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise SealError(refusal) from error


def derive_key(material: bytes, purpose: bytes, length: int) -> bytes:
    """Return a key of so many bytes for one purpose, derived from a secret that is random."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(material)


def _to_base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
