"""Mask secrets in texts and URLs that people may read."""

from __future__ import annotations

import html
import itertools
import json
import re
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from html.entities import codepoint2name
from typing import Any, cast
from urllib.parse import quote, quote_plus, unquote, unquote_to_bytes, urlsplit, urlunsplit

from callboard.schemas.mask import MASK

_RAW_MASK = MASK.encode()
MIN_MASKED_LENGTH = 6
"""Fewest characters of a value that is masked: a shorter one would be found in texts that do not contain the secret."""

_MAX_BASE64_SECRET = 64
"""Most characters of a secret that is also masked in base64 and hex: one this short may be a password, and base64 is
how it stands in an `Authorization` header."""

_FEW_FORMS = 400
"""Most forms that are looked for one after the other. Python's own search is fast, so that this is the fastest way. A
secret of letters and digits has six forms, one with characters beyond ASCII some forty."""

_UNESCAPED_BY_BROWSERS = "!'()*"
"""Characters that `encodeURIComponent` leaves as they are and Python's `quote` does not."""


_URLSAFE = str.maketrans("+/", "-_")
_PERCENT_ENCODED = re.compile(r"%(u....|..)")


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
    """Masks known secrets, also in the other spellings of docs/contract.md, section 12.6.

    Each line of a secret of several lines is a secret, too: output may show the secret line by line.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_MASKED_LENGTH}
        whole_and_lines = known | {
            line.strip("\r") for secret in known if "\n" in secret for line in secret.split("\n")
        }
        self._parts = {part for part in whole_and_lines if len(part) >= MIN_MASKED_LENGTH}
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
    def _partly_encoded(self) -> _PartlyEncoded:
        return _PartlyEncoded(self._parts)

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
        if "%" in text:
            data = text.encode(errors="surrogatepass")
            text = self._partly_encoded.mask(data, lambda _: _RAW_MASK).decode(errors="surrogatepass")
        for form in self._encoded_forms.look_up(text):
            text = text.replace(form, MASK)
        return text

    def mask_bytes(self, data: bytes) -> bytes:
        """Return the bytes of a file that may be text with every secret in it replaced by `***`."""
        if b"%" in data:
            data = self._partly_encoded.mask(data, lambda _: _RAW_MASK)
        for form in self._raw_forms.look_up(data):
            data = data.replace(form, _RAW_MASK)
        return data

    def mask_bytes_in_place(self, data: bytes) -> bytes:
        """Return `data` with each secret replaced by as many asterisks as it has bytes: all else stays where it was."""
        if b"%" in data:
            data = self._partly_encoded.mask(data, lambda spelling: b"*" * len(spelling))
        for form in self._raw_forms.look_up(data):
            data = data.replace(form, b"*" * len(form))
        return data

    @property
    def longest_form(self) -> int:
        """Length in bytes of the longest form of a secret that `mask_bytes` looks for."""
        return max(self._raw_forms.longest, self._partly_encoded.longest)

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

    def __init__(self, forms: list[Text], shortest: int = MIN_MASKED_LENGTH) -> None:
        """Take the forms in the order of their replacement. None is shorter than `shortest`."""
        self._shortest = shortest
        self.forms = list(dict.fromkeys(forms))
        self.has_few = len(self.forms) <= _FEW_FORMS
        self.longest = max(map(len, forms), default=0)
        self._sorted = sorted(self.forms)
        self._beginnings: set[Text] = {form[:shortest] for form in forms}

    def look_up(self, text: Text) -> list[Text]:
        """Return the forms that may occur in `text`, in their order: all if they are few, else those that do."""
        if self.has_few:
            return self.forms
        found: set[Text] = set()
        for at in range(len(text) - self._shortest + 1):
            if text[at : at + self._shortest] not in self._beginnings:
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

        Fewer characters than the shortest form may have count as 0.
        """
        for at in range(max(len(text) - self.longest, 0), len(text) - self._shortest + 1):
            if text[at : at + self._shortest] in self._beginnings:
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


class _PartlyEncoded:
    """Secrets of which some characters are percent-encoded, whichever they are: too many spellings to list.

    They are looked for in the text as it reads decoded. Only a secret that may be there is looked for in the text as it
    is, by an expression that never goes back.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        raw = {each for secret in secrets for each in (secret, _in_json(secret), _in_json(secret, ensure_ascii=False))}
        self._secrets: dict[bytes, set[str]] = {}
        for secret in sorted(raw):
            for charset in ("utf-8", *_charsets(secret)):
                self._secrets.setdefault(_decoded(secret[_MISREAD:].encode(charset, "surrogatepass")), set()).add(
                    secret
                )
        self._index = _FormIndex(sorted(self._secrets), MIN_MASKED_LENGTH - _MISREAD)
        self._spellings: dict[str, re.Pattern[bytes]] = {}
        """An expression for each secret that was ever found, as it costs more to make than to use."""
        self.longest = max((len("%XX") * len(_raw(secret)) for secret in raw), default=0)
        """Length in bytes of the longest spelling."""

    def mask(self, data: bytes, mask: Callable[[bytes], bytes]) -> bytes:
        """Replace each secret in `data` that is partly or wholly encoded; `mask` makes a mask of its spelling."""
        decoded = _decoded(unquote_to_bytes(data))
        found = {each for end in self._index.look_up(decoded) if end in decoded for each in self._secrets[end]}
        for secret in sorted(found, key=lambda secret: (-len(secret), secret)):
            if secret not in self._spellings:
                self._spellings[secret] = re.compile(b"".join(map(_in_any_spelling, secret)))
            # Where nothing is encoded, a longer secret may stand that is spelled in another way.
            data = self._spellings[secret].sub(
                lambda spelling: mask(spelling[0]) if b"%" in spelling[0] else spelling[0], data
            )
        return data


_MISREAD = 2
"""Most characters of a secret that are read as part of an escape if a `%` stands before the secret."""


def _decoded(data: bytes) -> bytes:
    """Return bytes with `+` for blanks, so that it does not matter which of the two a `+` stands for."""
    return data.replace(b" ", b"+")


def _raw(secret: str) -> bytes:
    return secret.encode(errors="surrogatepass")


def _in_any_spelling(char: str) -> bytes:
    """Return an expression for a character of a secret, as it is or percent-encoded.

    A `%` before two hex digits is always that of an escape, so what has matched need not be tried in another way.
    """
    encoded = [re.sub("(..)", "%\\1", char.encode(charset).hex()) for charset in _charsets(char)]
    spellings = [
        *(f"(?i:{each})".encode() for each in encoded),
        *([rb"\+"] if char == " " else []),
        re.escape(_raw(char)),
    ]
    return b"(?>" + b"|".join(spellings) + b")"


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret can occur in a text: each spelling, and each as JSON has it in a text."""
    for spelling in {secret, *_in_code(secret), *_in_html(secret), *_in_urls(secret), *_in_bytes(secret)}:
        yield spelling
        yield _in_json(spelling)
        yield _in_json(spelling, ensure_ascii=False)


def _in_json(text: str, *, ensure_ascii: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]


def _in_code(secret: str) -> Iterator[str]:
    """Yield the spellings of Python, JavaScript and JSON."""
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield secret.encode("unicode_escape").decode()
    if not secret.isascii():
        yield _respelled(secret, lambda char: _in_json(char) if char.isascii() else f"\\u{{{ord(char):x}}}")
        yield re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda digits: digits[0].upper(), _in_json(secret))
    for escaped in (_in_json(secret), _in_json(secret, ensure_ascii=False)):
        yield escaped
        yield escaped.replace("/", "\\/")
        yield _respelled(escaped, lambda char: f"\\u00{ord(char):02x}" if char in "<>&" else char)


def _in_html(secret: str) -> Iterator[str]:
    """Yield the spellings of HTML: quotes and characters beyond ASCII are written in several ways, or left alone."""
    double_quotes = ('"', "&quot;", "&#34;") if '"' in secret else ('"',)
    single_quotes = ("'", "&#x27;", "&#39;", "&#039;", "&apos;") if "'" in secret else ("'",)
    references = ("{0}",) if secret.isascii() else ("{0}", "&#{1};", "&#x{1:x};", "&#x{1:X};", "&{2};")
    for double, single, reference in itertools.product(double_quotes, single_quotes, references):

        def spell(char: str, double: str = double, single: str = single, reference: str = reference) -> str:
            if char.isascii():
                return {'"': double, "'": single}.get(char, html.escape(char))
            return reference.format(char, ord(char), codepoint2name.get(ord(char), f"#{ord(char)}"))

        yield _respelled(secret, spell)


def _in_urls(secret: str) -> Iterator[str]:
    """Yield the percent-encoded spellings, and those that are encoded twice."""
    if "%" in secret:
        yield unquote(secret)
    for charset in _charsets(secret):
        for encoded in (
            quote(secret, "/", charset),
            quote(secret, "", charset),
            quote(secret, _UNESCAPED_BY_BROWSERS, charset),
            quote_plus(secret, "", charset),
            quote_plus(secret, "*", charset).replace("~", "%7E"),  # as forms are sent
        ):
            for each in _in_both_cases(encoded):
                yield each
                yield quote(each, _UNESCAPED_BY_BROWSERS)
    # The characters of JavaScript are units of UTF-16.
    units = "".join(map(chr, memoryview(secret.encode("utf-16", "surrogatepass")).cast("H")[1:]))
    for first in ("\u0100", "\u0080"):  # from where on `%u` is written: by `escape` of JavaScript, and by others

        def escape(char: str, first: str = first) -> str:
            return f"%u{ord(char):04X}" if char >= first else quote(char, "@*+/", "latin-1").replace("~", "%7E")

        yield from _in_both_cases(_respelled(units, escape))


def _in_bytes(secret: str) -> Iterator[str]:
    """Yield the spellings of the secret's bytes, in UTF-8 and as old protocols have them: Python's, hex and base64."""
    for charset in _charsets(secret):
        data = secret.encode(charset)
        yield repr(data)[2:-1]
        if len(secret) <= _MAX_BASE64_SECRET:
            yield data.hex()
            yield data.hex().upper()
            for core in _base64_cores(data):
                yield core
                yield core.translate(_URLSAFE)
                yield core.replace("+", " ")  # as a query is read in which it was not encoded
                yield core.replace("/", "\\/")
                yield from _in_both_cases(quote(core, safe=""))


def _base64_cores(secret: bytes) -> Iterator[str]:
    """Yield the base64 of a secret at each possible offset, without the characters that also encode its neighbors."""
    for before in range(3):
        encoded = b64encode(bytes(before) + secret).decode()
        begins = -(-before * 8 // 6)
        ends = (before + len(secret)) * 8 // 6
        if ends - begins > MIN_MASKED_LENGTH:
            yield encoded[begins:ends]


def _charsets(secret: str) -> Iterator[str]:
    """Yield the encodings in which a secret may be sent: a lone surrogate has none."""
    for charset in ("utf-8",) if secret.isascii() else ("utf-8", "latin-1"):
        with suppress(UnicodeEncodeError):
            secret.encode(charset)
            yield charset


def _in_both_cases(encoded: str) -> tuple[str, str]:
    """Return a percent-encoded text with capital hex digits, as it is, and with small ones."""
    return encoded, _PERCENT_ENCODED.sub(lambda found: found[0].lower(), encoded)


def _respelled(text: str, spell: Callable[[str], str]) -> str:
    return text.translate({ord(char): spell(char) for char in set(text)})
