"""Masking of addresses, and of known secrets wherever they are told."""

import contextlib
import html
import json
import random
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from markupsafe import Markup

from callboard.schemas.mask import MASK
from callboard.security.masking import Masker, mask_url

SECRETS = st.text(st.characters(), min_size=6, max_size=40)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:word@proxy.example:3128/a", "http://***@proxy.example:3128/a"),
        ("http://us@er:w@rd@proxy.example", "http://***@proxy.example"),
        ("https://hook.example/a?token=secret#frag", "https://hook.example/a?***"),
        ("/var/lib/callboard", "/var/lib/callboard"),
        ("http://[broken", "***"),
    ],
)
def test_user_part_query_and_fragment_are_not_shown(url: str, shown: str):
    assert mask_url(url) == shown


def spellings(secret: str) -> Iterator[str]:
    """Yield the spellings of the contract, as those who write them do."""
    yield from (secret, repr(secret)[1:-1], ascii(secret)[1:-1], secret.encode("unicode_escape").decode())
    for ensure_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"))
        yield escaped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    for escaped in (html.escape(secret), html.escape(secret, quote=False), str(Markup.escape(secret))):
        yield from (escaped, escaped.encode("ascii", "xmlcharrefreplace").decode())
    with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate has no bytes
        encoded = secret.encode()
        yield from (repr(encoded)[2:-1], encoded.hex(), encoded.hex().upper())
        for quoted in (quote(secret, safe=""), quote_plus(secret)):
            yield from (quote(secret), quoted, quote(quoted, safe=""))
    with contextlib.suppress(UnicodeEncodeError):
        yield from (quote(secret, safe="@*+/", encoding="latin-1"), quote_plus(secret, encoding="latin-1"))
        yield secret.encode("latin-1").hex()


@given(secret=SECRETS, before=st.text(), after=st.text())
@example(secret="a\"b<c&d'e/ä", before="", after="")
@example(secret="000:+~", before="", after="")
def test_a_secret_is_masked_in_every_spelling(secret: str, before: str, after: str):
    masker = Masker([secret])
    for told in spellings(secret):
        assert masker.mask_text(told) == MASK
        assert MASK in masker.mask_text(f"{before}{told}{after}")
        assert MASK in masker.mask_text(json.dumps(f"{before} {told} {after}"))


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=6, max_size=40),
    before=st.text(),
    after=st.text(),
    encode=st.lists(st.sampled_from(["raw", "upper", "lower"]), min_size=40, max_size=40),
)
@example(secret="000:+~", before="%", after="", encode=["raw"] * 3 + ["upper"] + ["raw"] * 36)
@example(secret="%25%25", before="", after="25", encode=["upper", "raw", "raw"] * 13 + ["raw"])
def test_a_secret_is_masked_whichever_of_its_characters_are_percent_encoded(
    secret: str, before: str, after: str, encode: list[str]
):
    def spelled(char: str, how: str) -> str:
        # A "%" that is not encoded is read with what follows, and whoever encodes any encodes what JSON escapes.
        if how == "raw" and char not in '%"\\' and char >= " ":
            return char
        escapes = "".join(f"%{byte:02x}" for byte in char.encode())
        return escapes.upper() if how == "upper" else escapes

    told = "".join(map(spelled, secret, encode))
    raw = json.dumps(f"{before}{told}{after}", ensure_ascii=False)
    masker = Masker([secret])
    assert masker.mask_text(told) == MASK
    assert MASK in masker.mask_text(f"{before}{told}{after}")
    assert MASK in masker.mask_text(raw)
    data = raw.encode()
    assert b"***" in masker.mask_bytes(data)
    assert len(masker.mask_bytes_in_place(data)) == len(data)
    assert len(told.encode()) <= masker.longest_form


def test_a_secret_that_contains_another_one_is_masked_whole_if_it_is_partly_encoded():
    masker = Masker(["secret", "secret:word~", "secret&word"])
    assert masker.mask_text("secret%3Aword~ 100%25 secret&amp;word") == "*** 100%25 ***"


@pytest.mark.parametrize(
    "told",
    [
        *("pä'ss/€+😀", "p\\xe4'ss/\\u20ac+\\U0001f600", "p\\u{e4}'ss/\\u{20ac}+\\u{1f600}"),
        *("p\\u00E4'ss/\\u20AC+\\uD83D\\uDE00", "p\\u00e4'ss\\/\\u20ac+\\ud83d\\ude00"),
        *("p&auml;&apos;ss/&euro;+&#128512;", "p&#xe4;&#39;ss/&#x20ac;+&#x1f600;", "p&#xE4;'ss/&#x20AC;+&#x1F600;"),
        *("p%E4%27ss/%u20AC+%uD83D%uDE00", "p%u00e4%27ss/%u20ac+%ud83d%ude00"),
        *("p%C3%A4'ss%2F%E2%82%AC%2B%F0%9F%98%80", "p%25c3%25a4%2527ss%252f%25e2%2582%25ac%252b%25f0%259f%2598%2580"),
    ],
)
def test_characters_beyond_ascii_are_written_in_many_ways(told: str):
    assert Masker(["pä'ss/€+😀"]).mask_text(f"<{told}>") == "<***>"


@given(user=st.text(st.characters(codec="utf-8"), max_size=9), secret=st.text(st.characters(codec="utf-8"), min_size=9))
def test_a_password_is_masked_in_basic_credentials(user: str, secret: str):
    assume(len(secret) <= 64)
    credentials = f"{user}:{secret}".encode()
    for encode in (b64encode, urlsafe_b64encode):
        told = encode(credentials).decode()
        masked = Masker([secret]).mask_text(f"Authorization: Basic {told}")
        assert MASK in masked
        assert len(masked) - len("Authorization: Basic ***") <= 4 + len(told) - len(
            b64encode(secret.encode()).rstrip(b"=")
        )


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])  # the one of new clients, and that of old ones
def test_base64_is_found_as_it_is_encoded_once_more(charset: str):
    secret = "~~>>??ÿÿ~~>>??"
    masker = Masker([secret])
    for user in ("", "a", "ab"):
        told = b64encode(f"{user}:{secret}".encode(charset)).decode()
        assert "+" in told
        assert "/" in told
        for spelling in (told, told.replace("+", " "), told.replace("/", "\\/"), quote(told, safe="")):
            assert MASK in masker.mask_text(spelling)


def test_each_line_of_a_secret_is_one_too():
    masker = Masker(["-----BEGIN KEY-----\r\nMIIEvQ\r\nx\r\n"])
    assert masker.mask_text("MIIEvQ") == masker.mask_text("-----BEGIN KEY-----") == MASK
    assert masker.mask_text("x") == "x"


@example("0\x7f0\n0\ud800", b"", b"")  # its second line is longer than it seems
@given(secret=SECRETS, before=st.binary(), after=st.binary())
def test_bytes_are_masked_as_texts_are(secret: str, before: bytes, after: bytes):
    masker = Masker([secret])
    told = json.dumps(secret, ensure_ascii=False)[1:-1].encode(errors="backslashreplace")
    assert b"***" in masker.mask_bytes(before + told + after)
    assert len(told) <= masker.longest_form
    blotted = masker.mask_bytes_in_place(before + told + after)
    assert len(blotted) == len(before + told + after)
    assert blotted[len(before) :].startswith(b"***")


@pytest.mark.parametrize(
    "told", ["it's ü/+(1)", "it's%20%c3%bc%2f%2b(1)", "it%27s+%C3%BC%2F%2B%281%29", "it's \\u00fc/+(1)"]
)
def test_browsers_spell_it_in_ways_of_their_own(told: str):
    assert Masker(["it's ü/+(1)"]).mask_text(f"<{told}>") == "<***>"
    assert Masker(["it%27s%20%C3%BC%2F%2B%281%29"]).mask_text("<it's ü/+(1)>") == "<***>"
    for sent_or_escaped in ("a%7E*%21+b", "a%7E*%21%20b"):
        assert Masker(["a~*! b"]).mask_text(sent_or_escaped) == "***"


@given(text=st.text(), secret=st.text(max_size=5))
def test_what_is_shorter_than_six_characters_is_left_alone(text: str, secret: str):
    masker = Masker([secret])
    assert not masker
    assert masker.mask_text(text) == masker.mask_clipped_text(text) == text


@given(secrets=st.sets(st.text("ab", min_size=6, max_size=12), max_size=9), text=st.text("ab\n", max_size=60))
@example(secrets={"aabbab", "aabbabbb"}, text="aabbabbb")
@example(secrets={"aaabbb", "aaabbbab", "abbbbbbbb"}, text="aaabbbabbbbbbbb")
def test_among_very_many_secrets_the_same_is_masked_as_among_few(secrets: set[str], text: str):
    few = Masker(secrets)
    many = few.with_secrets(f"another-{number}" for number in range(200))
    assert few.has_few
    assert not many.has_few
    for mask in ("mask_text", "mask_clipped_text"):
        assert getattr(many, mask)(text) == getattr(few, mask)(text)
    for mask in ("mask_bytes", "mask_bytes_in_place"):
        assert getattr(many, mask)(text.encode()) == getattr(few, mask)(text.encode())


def test_the_time_to_mask_hardly_depends_on_the_number_of_secrets():
    rng = random.Random(1)
    tokens = [f"token-{rng.randbytes(12).hex()}" for _ in range(20_000)]
    told = "\n".join(f"{tokens[line]} is line {line} of {tokens[-line][:20]}" for line in range(1000))
    masked = "\n".join(f"*** is line {line} of ***" for line in range(1000))

    def masked_with(secrets: list[str]) -> tuple[str, float]:
        masker = Masker(secrets)
        masker.mask_clipped_text(told)  # what is prepared once does not count
        began = time.thread_time()
        return masker.mask_clipped_text(told), time.thread_time() - began

    by_all, time_with_all = masked_with(tokens)
    _, time_with_few = masked_with(tokens[:400])
    assert by_all == masked
    assert time_with_all < 10 * time_with_few


def test_the_longest_is_masked_first():
    assert Masker(["secret", "secret-word", "word-of"]).mask_text("my secret-word of secret") == "my *** of ***"


def test_json_is_masked_in_keys_values_and_numbers():
    masker = Masker(["secret", "123456", "1.2345"])
    value = {"secret": ["a secret", {"x": 123456, "y": 1234567, "z": 1.2345}], "n": [None, True, 5, "12345"]}
    assert masker.mask_json(value) == {
        "***": ["a ***", {"x": "***", "y": 1234567, "z": "***"}],
        "n": [None, True, 5, "12345"],
    }


@given(secret=st.text(st.characters(exclude_characters="\n"), min_size=7, max_size=40), cut=st.integers(6, 39))
def test_a_piece_of_a_secret_at_an_end_of_a_clipped_line_is_masked(secret: str, cut: int):
    cut = min(cut, len(secret) - 1)
    masker = Masker([secret])
    assert masker.mask_clipped_text(f"line\n### {secret[:cut]}") == "line\n### ***"
    assert masker.mask_clipped_text(f"{secret[-cut:]} ###\nline") == "*** ###\nline"


def test_of_several_pieces_at_an_end_of_a_line_the_longest_is_masked():
    masker = Masker(["abcdef-and-more-than-that", "ghi-abcdef-now", "is-abcdef-too"])
    assert masker.mask_clipped_text("its ghi-abcdef") == "its ***"
    assert masker.mask_clipped_text("abcdef-too is") == "*** is"
    assert masker.mask_clipped_text("-abcdef-n") == "-abcdef-n"


def test_a_masker_is_not_printed_with_what_it_masks():
    assert "hunter2" not in repr(Masker(["hunter2"]))
