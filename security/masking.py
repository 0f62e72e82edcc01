"""Mask secrets in texts and URLs that people may read."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, cast
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

from schemas.mask import MASK

_RAW_MASK = MASK.encode()
MIN_MASKED_LENGTH = 6
"""Fewest characters of a value that is masked: a shorter one would be found in texts that do not contain the secret."""

_MAX_BASE64_SECRET = 64
"""Most characters of a secret that is also masked in base64: one this short may be a password, and base64 is how it
stands in an `Authorization` header."""

_FEW_FORMS = 100
"""Most forms that are looked for one after the other. Python's own search is fast, so that this is the fastest way."""

_UNESCAPED_BY_BROWSERS = "!'()*"
"""Characters that `encodeURIComponent` leaves as they are and Python's `quote` does not."""


_URLSAFE = str.maketrans("+/", "-_")


def mask_url(url: str) -> str:
    """Return `url` with its user part and query masked, and without its fragment; mask all of it if it is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and user else host
    return urlunsplit((parts.scheme, netloc, parts.path, MASK if parts.query else "", ""))


class Masker:
    """Masks known secrets, also percent-encoded, in base64, or escaped as in JSON, HTML and Python.

    Each line of a secret of several lines is a secret, too: output may show the secret line by line.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_MASKED_LENGTH}
        whole_and_lines = known | {
            line.strip("\r") for secret in known if "\n" in secret for line in secret.split("\n")
        }
        forms = {form for part in whole_and_lines for form in _forms(part) if len(form) >= MIN_MASKED_LENGTH}
        # A secret that contains another one is replaced first, or the rest of it would stay.
        self._encoded_forms = _FormIndex(sorted(forms, key=lambda form: (-len(form), form)))
        self._known = known

    @cached_property
    def _raw_forms(self) -> _FormIndex[bytes]:
        # Encoded, a lone surrogate is longer, and a form may contain another one that was as long as it was.
        forms = {form.encode(errors="backslashreplace") for form in self._encoded_forms.forms}
        return _FormIndex(sorted(forms, key=lambda form: (-len(form), form)))

    @cached_property
    def _reversed_forms(self) -> _FormIndex[str]:
        return _FormIndex([form[::-1] for form in self._encoded_forms.forms])

    def __bool__(self) -> bool:
        """Tell whether there is any secret to mask."""
        return bool(self._encoded_forms.forms)

    @property
    def secrets(self) -> frozenset[str]:
        """The known secrets."""
        return frozenset(self._known)

    @property
    def has_few(self) -> bool:
        """Whether the secrets are few, so that masking a short text takes next to no time whatever they are."""
        return self._encoded_forms.has_few

    def with_secrets(self, secrets: Iterable[str]) -> Masker:
        """Return a masker that masks these secrets as well."""
        return Masker({*self._known, *secrets})

    def mask_text(self, text: str) -> str:
        """Return `text` with every secret in it replaced by `***`."""
        for form in self._encoded_forms.look_up(text):
            text = text.replace(form, MASK)
        return text

    def mask_bytes(self, data: bytes) -> bytes:
        """Return the bytes of a file that may be text with every secret in it replaced by `***`."""
        for form in self._raw_forms.look_up(data):
            data = data.replace(form, _RAW_MASK)
        return data

    def mask_bytes_in_place(self, data: bytes) -> bytes:
        """Return `data` with each secret replaced by as many asterisks as it has bytes: all else stays where it was."""
        for form in self._raw_forms.look_up(data):
            data = data.replace(form, b"*" * len(form))
        return data

    @property
    def longest_form(self) -> int:
        """Length in bytes of the longest form of a secret that `mask_bytes` looks for."""
        return self._raw_forms.longest

    def mask_clipped_text(self, text: str) -> str:
        """Mask a text that may have been clipped: a piece of a secret at an end of a line is masked, too."""
        return "\n".join(self._mask_line_ends(line) for line in self.mask_text(text).split("\n"))

    def _mask_line_ends(self, line: str) -> str:
        head = self._reversed_forms.piece_at_end(line[::-1])
        tail = self._encoded_forms.piece_at_end(line)
        if head + tail > len(line):  # the pieces overlap
            return MASK
        return (MASK if head else "") + line[head : len(line) - tail] + (MASK if tail else "")

    def mask_json(self, value: Any) -> Any:
        """Return a JSON value with its texts masked, including keys, and with numbers masked that are a secret."""
        match value:
            case str():
                return self.mask_text(value)
            case dict():
                items = cast("dict[str, Any]", value).items()
                return {self.mask_text(key): self.mask_json(item) for key, item in items}
            case list() | tuple():
                return [self.mask_json(item) for item in cast("list[Any]", value)]
            case int() | float() if str(value) in self._known:
                return MASK
            case _:
                return value


class _FormIndex[Text: (str, bytes)]:
    """The forms of all secrets, found in a text in a time that hardly depends on how many they are."""

    def __init__(self, forms: list[Text]) -> None:
        """Take the forms in the order of their replacement. None is shorter than `MIN_MASKED_LENGTH`."""
        self.forms = list(dict.fromkeys(forms))
        self.has_few = len(self.forms) <= _FEW_FORMS
        self.longest = max(map(len, forms), default=0)
        self._sorted = sorted(self.forms)
        self._beginnings: set[Text] = {form[:MIN_MASKED_LENGTH] for form in forms}

    def look_up(self, text: Text) -> list[Text]:
        """Return the forms that may occur in `text`, in their order: all if they are few, else those that do."""
        if self.has_few:
            return self.forms
        found: set[Text] = set()
        for at in range(len(text) - MIN_MASKED_LENGTH + 1):
            if text[at : at + MIN_MASKED_LENGTH] not in self._beginnings:
                continue
            # Of all forms, sorted, the last one up to the text from here on: it begins with each form that stands here.
            form = self._sorted[bisect_right(self._sorted, text[at : at + self.longest]) - 1]
            while form and not text.startswith(form, at):
                form = self._shorter[form]
            while form and form not in found:
                found.add(form)
                form = self._shorter[form]
        return sorted(found, key=self._order.__getitem__)

    def piece_at_end(self, text: Text) -> int:
        """Return the length of the longest end of `text` that a form begins with, or 0.

        Fewer than `MIN_MASKED_LENGTH` count as 0.
        """
        for at in range(max(len(text) - self.longest, 0), len(text) - MIN_MASKED_LENGTH + 1):
            if text[at : at + MIN_MASKED_LENGTH] in self._beginnings:
                piece = text[at:]
                following = bisect_left(self._sorted, piece)
                if following < len(self._sorted) and self._sorted[following][: len(piece)] == piece:
                    return len(piece)
        return 0

    @cached_property
    def _order(self) -> dict[Text, int]:
        return {form: at for at, form in enumerate(self.forms)}

    @cached_property
    def _shorter(self) -> dict[Text, Text]:
        """For each form, the longest other form that it begins with, or an empty one."""
        shorter: dict[Text, Text] = {}
        form = previous = self._sorted[0][:0]
        for form in self._sorted:
            while not form.startswith(previous):
                previous = shorter[previous]
            shorter[form] = previous
            previous = form
        return shorter


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret can occur in a text."""
    yield secret
    yield repr(secret)[1:-1]
    for ensure_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        yield escaped
        yield json.dumps(escaped, ensure_ascii=ensure_ascii)[1:-1]  # a JSON text inside of JSON
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield html.escape(secret).replace("&#x27;", "'")  # as browsers write attributes
    if "%" in secret:
        yield unquote(secret)
    try:
        secret.encode()
    except UnicodeEncodeError:  # a lone surrogate has no percent-encoded form
        return
    for encoded in (
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe=_UNESCAPED_BY_BROWSERS),
        quote_plus(secret),
    ):
        yield encoded
        yield _lower_hex(encoded)
    if len(secret) <= _MAX_BASE64_SECRET:
        yield from _base64_forms(secret.encode())


def _base64_forms(secret: bytes) -> Iterator[str]:
    """Yield the base64 of a secret at each possible offset, without the characters that also encode its neighbors."""
    for before in range(3):
        encoded = b64encode(bytes(before) + secret).decode()
        begins = -(-before * 8 // 6)
        ends = (before + len(secret)) * 8 // 6
        core = encoded[begins:ends]
        if len(core) > MIN_MASKED_LENGTH:
            yield core
            yield core.translate(_URLSAFE)


def _lower_hex(encoded: str) -> str:
    head, *rest = encoded.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])
