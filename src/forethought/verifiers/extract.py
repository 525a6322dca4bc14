"""Finding the one final value or label an answer states, or saying why there is none.

Reads the answer part only. An answer that names several values has not answered: it is refused, not searched for the
value that happens to be right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARS = 2_000

_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+(?:\.\d+)?)?(?![\d])%?")
_MARK = re.compile(r"\b(?:final answer|answer|result)\s*(?:is|:|=)\s*(?:therefore|thus)?\s*:?\s*", re.IGNORECASE)
_PROSE = re.compile(r"(?<!\\)\b[^\W\d_]{2,}\b")
_PERCENT = re.compile(r"%|\bper ?cent\b", re.IGNORECASE)
_ALTERS = re.compile(
    r"[√^×÷±=<>~≈²³\\]|\d\s*[*+!](?!$)|\b(?:not|no|never|isn't|about|around|almost|nearly|roughly|approximately|under|over"
    r"|below|above|between|or|(?:less|more|fewer) than|at (?:least|most)|minus|plus|times|negative|squared|cubed|twice"
    r"|half|thirds?|quarters?|dozens?|hundreds?|thousands?|[mb]illions?)\b",
    re.IGNORECASE,
)
"""What makes the number in a sentence another number than it seems, or none."""
_LEAD = re.compile(
    r"(?:so|thus|therefore|hence|then|well|overall|finally|clearly|definitely|certainly|surely|absolutely)\b[,:]?\s*"
    r"|(?:based on|according to|given(?! that\b)|from|judging by)(?: [\w'’-]+){1,8}, "
    r"|(?:i|we) (?:would )?(?:think|believe|conclude|say)\b(?: that\b)?[,:]?\s*"
    r"|(?:the |my |our |your )?(?:(?:final|right|correct|best) )*answer(?: (?:to|for)(?: [\w'’-]+){1,8}?)?"
    r"(?: (?:is|must be|would be)\b|:|$)[\s:]*(?:that )?"
)
"""What may stand before a label: "so", "based on the facts,", "I think", "the correct answer to your question is"."""
_EXPLAINS = re.compile(
    r"\s*(?:[,.;:!()–—-]|because\b|since\b)"
    r"(?![\W_]*(?:and|or|but|if|unless|only|except|although|though|however|maybe|perhaps|probably|possibly)\b)"
)
"""How what follows a label may begin: as an explanation of it, not as something that takes it back."""
_OPPOSITES = (("yes", "no"), ("true", "false"))
_DENIES = r"(?:not|never|none|neither|nor|cannot|\w+n['’]t)"
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{[^{}]*\}")


@dataclass(frozen=True)
class Stated:
    """``value`` is the expression as text; None when there is no single one, and ``reason`` says why."""

    value: str | None
    reason: str = ""
    source: str = ""
    """The part of the answer that states it, without markup."""


def final_value(answer: str) -> Stated:
    """The value behind ``\\boxed{…}``, ``####`` or "the answer is", or the only one in the text."""
    if len(answer) > MAX_CHARS:
        return Stated(None, f"the answer is over {MAX_CHARS} characters")
    if "<think>" in answer or "</think>" in answer:
        return Stated(None, "the answer holds thinking")
    text = answer.strip()
    for marked, what in ((_boxed(text), "boxes"), (text.split("####")[1:], "'####' lines"), (_after_mark(text), "")):
        if len(marked) > 1 and (what or len({_tidy(part) for part in marked}) > 1):
            return Stated(None, f"the answer gives {len(marked)} {what or 'different answers'}")
        if marked:
            return _single(marked[-1])
    return _single(text)


def final_number(answer: str) -> Stated:
    """The final value where it is one plainly written number, unit or not; no expression, no "about 72"."""
    stated = final_value(answer)
    if stated.value is None:
        return stated
    if as_number(stated.value) is None or _ALTERS.search(stated.source):
        return Stated(None, "the answer does not state one plain number")
    if _PERCENT.search(stated.source):
        return Stated(stated.value.rstrip("%") + "%", source=stated.source)
    return stated


def stated_label(answer: str, labels: Sequence[str]) -> str | None:
    """The one label an answer gives, as it is spelt in ``labels``; None when it gives none, or more than one.

    The label comes first, or behind a lead such as "based on the facts, the answer is". Behind it may stand an
    explanation ("refer, because ...") that names no other label. What denies counts as naming "no" beside a "yes".
    """
    spelt = {plain(label): label for label in labels}
    said = without_lead(answer, list(spelt))
    for label in sorted(spelt, key=len, reverse=True):
        if said == label:
            return spelt[label]
        if _begins_with(said, label):
            rest = said[len(label) :]
            others = [other for other in spelt if other != label]
            return spelt[label] if _EXPLAINS.match(rest) and not _names(rest, others, label) else None
    return None


def known_opposites(label: str) -> tuple[str, ...]:
    """Both of yes and no, or of true and false, where the label is one of them; else it alone."""
    return next((pair for pair in _OPPOSITES if plain(label) in pair), (label,))


def without_lead(answer: str, labels: Sequence[str] = ()) -> str:
    """What a short answer says, in ``plain`` form; empty when already the lead names a label."""
    text, labels = plain(answer), [plain(label) for label in labels]
    while not any(_begins_with(text, label) for label in labels) and (lead := _LEAD.match(text)):
        if _names(lead[0], labels):
            return ""
        text = plain(text[lead.end() :])
    return text


def _begins_with(text: str, label: str) -> bool:
    return re.match(rf"{re.escape(label)}(?![\w'’-])", text) is not None


def _names(text: str, labels: Sequence[str], beside: str = "") -> bool:
    words = [re.escape(label) for label in labels if label]
    words += [_DENIES] if beside in ("yes", "true") else []
    return bool(words) and re.search(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", text) is not None


def plain(text: str) -> str:
    """In one Unicode form, without case, emphasis, spare spaces and enclosing punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("**", "")
    return " ".join(folded.split()).strip(" \"'`*.,;:!?()[]{}“”‘’")


def as_number(text: str) -> Fraction | None:
    """A plainly written number, exactly: ``1,234``, ``-0.5``, ``3/4``, ``50%``. None for anything else."""
    if not _NUMBER.fullmatch(text) or len(text) > 100:
        return None
    plain = text.replace(",", "").replace("−", "-")
    top, _, bottom = plain.rstrip("%").partition("/")
    if bottom and Fraction(bottom) == 0:
        return None
    return Fraction(top) / (Fraction(bottom) if bottom else 1) / (100 if plain.endswith("%") else 1)


def _single(text: str) -> Stated:
    """A bare expression as it is; inside prose, the only number."""
    expression = _tidy(text)
    if not expression:
        return Stated(None, "the answer is empty")
    if not _PROSE.search(expression):
        return Stated(expression, source=expression)
    numbers = dict.fromkeys(match[0].lstrip("+") for match in _NUMBER.finditer(expression))
    if len(numbers) != 1:
        return Stated(None, "the answer names several numbers" if numbers else "the answer names no number")
    return Stated(next(iter(numbers)), source=expression)


def _tidy(text: str) -> str:
    """Without dollar signs, ``\\text{…}``, emphasis and a closing full stop."""
    plain = _LATEX_TEXT.sub(" ", text).replace("\\$", "").replace("$", "").replace("**", "")
    return plain.replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "").strip().rstrip(".").strip()


def _boxed(text: str) -> list[str]:
    """The contents of every box, braces balanced; a box that never closes ends with the text."""
    boxes: list[str] = []
    for opening in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        depth, end = 1, opening.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        boxes.append(text[opening.end() : end - 1 if not depth else end])
    return boxes


def _after_mark(text: str) -> list[str]:
    """What follows each "the answer is", up to the end of its sentence."""
    return [re.split(r"\.(?:\s|$)|[\n;]", text[mark.end() :], maxsplit=1)[0] for mark in _MARK.finditer(text)]
