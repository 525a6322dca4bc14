"""The tags thinking is written between when it shares a turn with the answer."""

from __future__ import annotations

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
THINK_TAGS = (THINK_OPEN, THINK_CLOSE)


def thinking_then(reasoning: str, answer: str) -> str:
    """One turn that thinks first: the form DeepSeek-R1 made common."""
    return f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{answer}"
