"""Reads the equations of a text: which stretches claim that two things are equal, and what the sides are worth.

Nothing that claims equality is passed over: an equals sign whose sides cannot be
read is reported as unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from forethought.verifiers.expressions import Exact, Side, Token, rational, read_expression

MAX_TOKENS = 80

_LEXER = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)|(?P<arrow>=>|->|[→⇒])"
    r"|(?P<relation>!=|[<>~]=?|=[<~]|[≠≈≤≥≃≅])|(?P<equal>==?\s*)|(?P<power>\*\*|\^)"
    r"|(?P<op>[-+−–*×·/÷]|\bx\b|\\(?:times|cdot|div)\b)|(?P<space>[ \t$€£]+|\n\s*(?==[^>])|\\[()\[\]])"
    r"|(?P<open>\()|(?P<close>\))|(?P<percent>%)|(?P<word>[^\W\d_]+(?:['’/_-][^\W\d_]+)*)"
    r"|(?P<line>\n)|(?P<stop>[.?](?!\d)|!(?=\s*(?:[^\W_]|$))|[,;:\"“”`])|(?P<other>.)",
    re.DOTALL,
)
_OPERATOR_WORDS = frozenset({"plus", "minus", "times", "over", "x"})
_COPULAS = frozenset(["is", "are", "equals", "makes", "gives", "leaves"])
_SCALES = frozenset({"half", "third", "thirds", "quarter", "quarters", "twice", "double", "thrice", "triple"})
_SCALES |= {"dozen", "dozens", "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion"}
_SCALES |= {"percent", "squared", "cubed", "divided", "multiplied"}
_SIGN_MAY_FOLLOW = frozenset(["is", "are", "was", "then", "so", "and", "now", "be", "gives", "makes"])
_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_WORDS = {word: number for number, word in enumerate(_COUNTING.split())}
_WORDS |= {"twice": 2, "double": 2, "doubles": 2, "half": 2, "pair": 2, "thrice": 3, "triple": 3, "triples": 3}
_WORDS |= {"third": 3, "quarter": 4, "dozen": 12, "hundred": 100}


@dataclass(frozen=True)
class Equation:
    """``left = right``."""

    left: Side
    right: Side

    @property
    def start(self) -> int:
        """Character offset of the left side."""
        return self.left.start

    @property
    def end(self) -> int:
        """Character offset behind the right side."""
        return self.right.end

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left, right."""
        return self.left, self.right

    @property
    def worked(self) -> bool:
        """Something is worked out; ``72 = 72`` is no step."""
        return self.left.worked or self.right.worked

    @property
    def holds(self) -> bool | None:
        """None when a side is too large to evaluate."""
        if self.left.value is None or self.right.value is None:
            return None
        return bool(self.left.value == self.right.value)


@dataclass(frozen=True)
class Named:
    """``Total = 25``: a number stated for something named in words."""

    side: Side
    start: int
    end: int


@dataclass(frozen=True)
class Unread:
    """An equality that cannot be read, and why."""

    why: str
    start: int
    end: int


def read_equations(text: str) -> Iterator[Equation | Named | Unread]:
    """Everything in the text that claims equality, in order; ``a = b = c`` is two equations."""
    for clause in _clauses(text):
        yield from _chain(_tidied(clause))


def numbers_in(text: str) -> set[Exact]:
    """All numbers a text names, in digits or simple words (``twice`` is 2, ``half`` is 2, ``a dozen`` is 12)."""
    found = {rational(match[0]) for match in _LEXER.finditer(text) if match.lastgroup == "number"}
    words = (match[0].lower() for match in _LEXER.finditer(text) if match.lastgroup == "word")
    return {number for number in found if number is not None} | {
        rational(str(_WORDS[word])) for word in words if word in _WORDS
    }


# --- clauses and chains -----------------------------------------------------------------------------------------------


_ENDS_VALUE = ("number", "close", "percent")


def _clauses(text: str) -> Iterator[list[Token]]:
    """Stretches between punctuation or line ends; a bullet that opens a line is left out."""
    clause: list[Token] = []
    fresh = True
    for match in _LEXER.finditer(text):
        kind = match.lastgroup or ""
        if kind in ("line", "stop", "arrow"):
            yield clause
            clause, fresh = [], kind == "line"
        elif kind == "space":
            continue
        elif fresh and kind == "op" and text[match.end() : match.end() + 1].isspace():
            fresh = False
        else:
            clause.append(Token(kind, match[0], match.start(), match.end()))
            fresh = False
    yield clause


def _tidied(clause: list[Token]) -> list[Token]:
    """Words joined to phrases, operators in words as signs, emphasis and units (``12 red pens + 7``) left out."""
    tokens = [token for index, token in enumerate(clause) if not _is_emphasis(clause, index)]
    tidy: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.kind != "word" and not _is_letter_x(tokens, index):
            tidy.append(token)
            index += 1
            continue
        first = index
        while index < len(tokens) and (tokens[index].kind == "word" or _is_letter_x(tokens, index)):
            index += 1
        tidy += _phrase(tokens[first:index], tidy, tokens[index] if index < len(tokens) else None)
    return tidy


def _is_emphasis(tokens: list[Token], index: int) -> bool:
    """``**`` of Markdown, which touches text on one side only, and is no power."""
    token = tokens[index]
    if token.text != "**":
        return False
    before = tokens[index - 1] if index else None
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    opens = before is None or (before.end < token.start and after is not None and after.start == token.end)
    closes = after is None or (after.start > token.end and before is not None and before.end == token.start)
    return opens or closes


def _is_letter_x(tokens: list[Token], index: int) -> bool:
    """An ``x`` that multiplies nothing is a name."""
    if tokens[index].text != "x" or tokens[index].kind != "op":
        return False
    before = tokens[index - 1].kind if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    multiplies = before in (*_ENDS_VALUE, "word") and after is not None and (after.kind in ("number", "open"))
    return not multiplies


def _phrase(words: list[Token], before: list[Token], after: Token | None) -> list[Token]:
    """What a run of words is: a unit (nothing), an operator or an equals sign in words, or prose."""
    said = [word.text.lower() for word in words]
    start, end = words[0].start, words[-1].end
    value_before = bool(before) and before[-1].kind in _ENDS_VALUE
    value_after = after is not None and after.kind in ("number", "open")
    prose = Token("words", " ".join(said), start, end)
    if value_after and (said[-1] == "equals" or (value_before and said[-1] in _COPULAS and _worked(before, said))):
        unit = _phrase(words[:-1], before, words[-1]) if said[:-1] and not value_before else []
        return [*unit, Token("equal", said[-1], words[-1].start, end)]
    if not value_before:
        return [prose]
    if value_after and said[-1] in _OPERATOR_WORDS:
        return [Token("op", said[-1], words[-1].start, end)]
    if after is not None and after.kind in ("number", "open", "other"):
        return [prose]
    return [replace(prose, kind="other")] if _scales(said) else []


def _worked(before: list[Token], said: list[str]) -> bool:
    """``10 + 62 is``: what stands before has just been worked with, so the verb stands for an equals sign."""
    return len(said) <= 3 and len(before) >= 2 and (before[-2].kind == "op" or before[-1].kind == "close")


def _scales(said: list[str]) -> bool:
    """The words change the number before them, as in ``72 thousand`` or ``72 and a half``."""
    head = said[:3] if said[0] == "and" else said[:2]
    return bool(_SCALES & set(head)) or said[0] in _OPERATOR_WORDS


_NAME = "name"


def _chain(tokens: list[Token]) -> Iterator[Equation | Named | Unread]:
    """The equations of one clause."""
    cuts = [index for index, token in enumerate(tokens) if token.kind in ("equal", "relation")]
    edges = [-1, *cuts, len(tokens)]
    parts = [tokens[first + 1 : last] for first, last in pairwise(edges)]
    left = _touching(parts[0], from_end=True)
    for cut, part in zip(cuts, parts[1:], strict=True):
        sign = tokens[cut]
        right = _touching(part, from_end=False)
        start = tokens[max(0, cut - 1)].start
        end = tokens[min(len(tokens) - 1, cut + 1)].end
        if sign.kind == "relation" and (_holds_number(part) or isinstance(left, Side)):
            yield Unread(f"'{sign.text}' is not checked", start, end)
        elif isinstance(left, _Fault) or isinstance(right, _Fault):
            yield Unread(next(side.why for side in (left, right) if isinstance(side, _Fault)), start, end)
        elif isinstance(left, Side) and isinstance(right, Side):
            yield Equation(left, right)
        elif isinstance(right, Side) and not right.worked:
            yield Named(right, start, right.end)
        if not (right == _NAME and isinstance(left, Side)):
            left = _touching(part, from_end=True)


@dataclass(frozen=True)
class _Fault:
    why: str


def _holds_number(part: list[Token]) -> bool:
    return any(token.kind == "number" for token in part)


def _touching(part: list[Token], *, from_end: bool) -> Side | _Fault | str:
    """The expression next to the equals sign, ``_NAME`` when only words stand there, or why it cannot be read."""
    if part and all(token.kind == "words" for token in part):
        said = part[-1 if from_end else 0].text.split()
        return _Fault("an operation in words") if (_SCALES | _OPERATOR_WORDS) & set(said) else _NAME
    run = _arithmetic(part, from_end=from_end)
    if not run:
        return _Fault("there is nothing to compare")
    if len(run) > MAX_TOKENS:
        return Side("an expression too long to check", None, (), True, run[0].start, run[-1].end)
    for cut in range(len(run)):
        tried = run[cut:] if from_end else run[: len(run) - cut]
        try:
            side = read_expression(tried)
        except ZeroDivisionError:
            return _Fault("it divides by zero")
        if side is not None:
            rest = part[: len(part) - len(tried)] if from_end else part[len(tried) :]
            good = _may_precede(rest, tried[0]) if from_end else _may_follow(rest)
            return side if good else _Fault("what stands beside it is not understood")
    return _Fault("it is no expression")


def _arithmetic(part: list[Token], *, from_end: bool) -> list[Token]:
    kinds = ("number", "op", "power", "open", "close", "percent")
    length = 0
    for token in reversed(part) if from_end else part:
        if token.kind not in kinds:
            break
        length += 1
    return part[len(part) - length :] if from_end else part[:length]


def _may_precede(rest: list[Token], first: Token) -> bool:
    """Whether an expression can begin after this: prose, a list number (``1)``) or a parenthesis that holds prose."""
    while rest and rest[-1].kind == "open" and (len(rest) == 1 or rest[-2].kind == "words"):
        rest = rest[:-1]
    if not rest:
        return True
    if rest[-1].kind == "close":
        return [token.kind for token in rest if token.kind != "words"] in (["number", "close"], ["close"])
    if rest[-1].kind != "words":
        return False
    said = rest[-1].text.split()
    if first.kind == "op":
        return said[-1] in _SIGN_MAY_FOLLOW
    return not (_SCALES & set(said[-2:])) and said[-1] not in _OPERATOR_WORDS


def _may_follow(rest: list[Token]) -> bool:
    """Whether an expression can end before this: prose, or a parenthesis closed or opened by prose."""
    while rest and rest[0].kind == "close":
        rest = rest[1:]
    if not rest or (rest[0].kind == "open" and len(rest) > 1 and rest[1].kind == "words"):
        return True
    return rest[0].kind == "words" and not _scales(rest[0].text.split())
