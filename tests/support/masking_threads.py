"""In which threads texts are masked."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import pytest

from callboard.security.masking import Masker


@contextmanager
def masking_threads() -> Generator[set[threading.Thread]]:
    """Collect the threads that make a masker, or mask a text, while the block lasts."""
    found: set[threading.Thread] = set()
    make, mask_text = Masker.__init__, Masker.mask_text

    def watched_make(masker: Masker, secrets: Iterable[str]) -> None:
        found.add(threading.current_thread())
        make(masker, secrets)

    def watched_mask_text(masker: Masker, text: str) -> str:
        found.add(threading.current_thread())
        return mask_text(masker, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Masker, "__init__", watched_make)
        patch.setattr(Masker, "mask_text", watched_mask_text)
        yield found
