"""Keeps secrets out of what a run writes: log lines, errors, tracebacks."""

from __future__ import annotations

import os
import re
from functools import cache
from urllib.parse import unquote, urlsplit

HIDDEN = "[hidden]"
MIN_SECRET = 8
"""Shorter values would blank ordinary words."""

_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)
_SHAPES = (
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"([?&](?:api[_-]?)?(?:key|token|secret)=)[^&\s'\"]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b((?:sk|hf|ghp|gsk)[-_])[\w-]{12,}"), rf"\1{HIDDEN}"),
)


def redact(text: str) -> str:
    """The text without the secrets of this process's environment and without what looks like a key."""
    text = text.encode("utf-8", "replace").decode()  # half characters cannot be stored
    for value in _known_secrets():
        text = text.replace(value, HIDDEN)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def holds_secret(text: str) -> bool:
    """Whether a secret of this process's environment is in the text."""
    return any(value in text for value in _known_secrets())


@cache
def _known_secrets() -> tuple[str, ...]:
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    password = urlsplit(os.environ.get("FORETHOUGHT_DATABASE_URL", "")).password
    if password:
        found |= {password, unquote(password)}
    return tuple(sorted((value for value in found if len(value) >= MIN_SECRET), key=len, reverse=True))
