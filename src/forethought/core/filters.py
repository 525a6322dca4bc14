"""Filters as text: one grammar for the web UI, the command line and the API.

    has:reasoning rating>=4 tag:finance -tag:draft (origin:human OR verified:yes) created>2026-01-01 "free text"

Terms side by side must all hold; ``OR`` binds weaker; ``-`` or ``NOT`` negates; parentheses group; quotes keep words
together (``\\"`` and ``\\\\`` inside them). A word without a field is looked for in the input, the reasoning and the
answer. Text is compared without regard to case. ``FIELDS`` lists the fields; ``split:train`` beside ``dataset:name``
means that dataset's split. For people, ``docs/filters.md`` tells all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast, get_args

from forethought.core.facts import utc
from forethought.core.filter_spec import (
    DECIMALS,
    EVERYTHING,
    FIELDS,
    TAKES,
    AllOf,
    AnyOf,
    FilterSpec,
    Not,
    Op,
    Outcome,
    SplitOf,
    Term,
    Value,
    VerdictOf,
    all_of,
    any_of,
    fields_of,
    matches,
    negate,
    problem_predicate,
    term,
    terms_of,
)
from forethought.errors import UsageError, did_you_mean

__all__ = [
    "EVERYTHING",
    "FIELDS",
    "AllOf",
    "AnyOf",
    "FilterSpec",
    "Not",
    "SplitOf",
    "Term",
    "VerdictOf",
    "all_of",
    "any_of",
    "fields_of",
    "matches",
    "negate",
    "parse",
    "problem_predicate",
    "term",
    "terms_of",
    "to_text",
]

MAX_CHARACTERS = 10_000
MAX_DEPTH = 30
"""Parentheses within parentheses."""
MAX_TERMS = 200

_BLANK = re.compile(r"\s*")
_WORD = re.compile(r'[^\s()"]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_FIELD = re.compile(r"([A-Za-z_]+)(>=|<=|:|=|>|<)")
_NUMBER = re.compile(rf"-?[0-9]{{1,10}}(\.[0-9]{{1,{DECIMALS}}})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BARE = re.compile(r"\w[\w.+-]*")
"""Values that need no quotes."""


def parse(text: str) -> FilterSpec:
    """The filter a text stands for; blank text is everything. UsageError names the place and the nearest field."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"The filter has {len(text)} characters; at most {MAX_CHARACTERS} are read.")
    return _Parser(text).everything()


def to_text(spec: FilterSpec) -> str:
    """The filter as text that ``parse`` reads back to the same tree."""
    match spec:
        case AllOf():
            return " ".join(f"({to_text(part)})" if isinstance(part, AnyOf) else to_text(part) for part in spec.parts)
        case AnyOf():
            return " OR ".join(to_text(part) for part in spec.parts)
        case Not():
            return f"-{to_text(spec.part)}" if isinstance(spec.part, Term) else f"-({to_text(spec.part)})"
        case Term():
            return _term_text(spec)


def _term_text(spec: Term) -> str:
    if spec.field == "text":
        return _quoted(str(spec.value))
    op = ":" if spec.op == "=" else spec.op
    return f"{spec.field}{op}{_value_text(spec.value)}"


def _value_text(value: Value) -> str:
    match value:
        case VerdictOf():
            return _word(value.verifier) + (f"={value.outcome}" if value.outcome else "")
        case SplitOf():
            parts = [value.split] if value.dataset is None else [value.dataset, value.split]
            joined = "/".join(parts)
            return joined if all(_BARE.fullmatch(part) for part in parts) else _quoted(joined)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case float():
            return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
        case int():
            return str(value)
        case _:
            return _word(value)


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class _Parser:
    """Recursive descent: ``any`` over ``all`` over negated ``atom``. ``at`` is the next character."""

    text: str
    at: int = 0
    depth: int = 0
    terms: int = 0

    def everything(self) -> FilterSpec:
        self._skip()
        if self.at == len(self.text):
            return EVERYTHING
        spec = self._any()
        if self.at < len(self.text):
            raise self._fault("a ')' without its '('")
        return spec

    def _any(self) -> FilterSpec:
        parts = [self._all()]
        while self._keyword("OR"):
            parts.append(self._all())
        return any_of(*parts)

    def _all(self) -> FilterSpec:
        parts = [self._negated()]
        while self._keyword("AND") or not self._ended():
            parts.append(self._negated())
        return all_of(*parts)

    def _negated(self) -> FilterSpec:
        negative = False
        while True:
            if self._keyword("NOT"):
                negative = not negative
            elif self.text[self.at : self.at + 1] == "-":
                negative = not negative
                self.at += 1
            else:
                break
        atom = self._atom()
        return negate(atom) if negative else atom

    def _atom(self) -> FilterSpec:
        rest = self.text[self.at : self.at + 1]
        if rest == "(":
            return self._group()
        if self._ended():
            raise self._fault("a condition is missing here")
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self._fault(f"more than {MAX_TERMS} conditions")
        start = self.at
        try:
            spec = term("text", "=", self._quote()) if rest == '"' else self._word_term()
        except UsageError as error:
            self.at = start
            raise error if error.message.startswith("The filter") else self._fault(error.message, error.hint) from None
        if self.at < len(self.text) and self.text[self.at] not in "()" and not self.text[self.at].isspace():
            raise self._fault("a blank is missing here")
        self._skip()
        return spec

    def _group(self) -> FilterSpec:
        opened = self.at
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fault(f"more than {MAX_DEPTH} parentheses within each other")
        self.at += 1
        self._skip()
        spec = self._any()
        if self.at == len(self.text):
            self.at = opened
            raise self._fault("this '(' is never closed")
        self.at += 1
        self.depth -= 1
        self._skip()
        return spec

    def _word_term(self) -> Term:
        found = _FIELD.match(self.text, self.at)
        if found is None:
            return term("text", "=", self._plain())
        name, sign = found.group(1).lower(), found.group(2)
        if name not in FIELDS:
            raise self._fault(
                f"there is no field '{name}'", f"{did_you_mean(name, FIELDS)} Quote it to look for it as text."
            )
        op = cast(Op, "=" if sign == ":" else sign)
        self.at = found.end()
        quoted = self.text[self.at : self.at + 1] == '"'
        if not quoted and not _WORD.match(self.text, self.at):
            raise self._fault(f"'{name}' needs {TAKES[FIELDS[name].kind]}")
        if FIELDS[name].kind == "verdict":
            return term(name, op, self._verdict(quoted))
        return term(name, op, _value(name, self._quote() if quoted else self._plain()))

    def _verdict(self, quoted: bool) -> VerdictOf:
        if quoted:
            name = self._quote()
            behind = self._plain() if self.text[self.at : self.at + 1] == "=" else ""
        else:
            name, sign, behind = self._plain().partition("=")
            behind = sign + behind
        outcome = behind[1:]
        if behind and outcome not in get_args(Outcome):
            raise UsageError(f"a verdict is not '{outcome[:80]}'", hint=did_you_mean(outcome, get_args(Outcome)))
        return VerdictOf(name, cast(Outcome, outcome) if behind else None)

    # --- characters ---------------------------------------------------------------------------------------------------

    def _skip(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def _ended(self) -> bool:
        """No further condition can begin here: the end, a ``)`` or ``OR``."""
        if self.at >= len(self.text) or self.text[self.at] == ")" or self.text[self.at].isspace():
            return True
        word = _WORD.match(self.text, self.at)
        return word is not None and word.group() == "OR"

    def _keyword(self, keyword: str) -> bool:
        word = _WORD.match(self.text, self.at)
        if word is None or word.group() != keyword:
            return False
        self.at = word.end()
        self._skip()
        return True

    def _plain(self) -> str:
        word = _WORD.match(self.text, self.at)
        if word is None:
            raise self._fault("a value is missing here")
        self.at = word.end()
        return word.group()

    def _quote(self) -> str:
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            raise self._fault("this quote is never closed")
        self.at = found.end()
        return re.sub(r"\\(.)", r"\1", found.group(1), flags=re.DOTALL)

    def _fault(self, what: str, hint: str = "") -> UsageError:
        return UsageError(f"The filter fails at character {self.at + 1}: {what.rstrip('.')}.", hint=hint)


def _value(name: str, word: str) -> Value:
    """A word as a value of the field's kind; left as it is where it cannot be one, for ``term`` to refuse."""
    kind = FIELDS[name].kind
    if kind == "choice":
        return word.lower()
    if kind == "split" and word.count("/") <= 1:
        dataset, slash, split = word.rpartition("/")
        return SplitOf(split, dataset if slash else None)
    if kind in ("whole", "number") and (number := _NUMBER.fullmatch(word)):
        return float(word) if number.group(1) or kind == "number" else int(word)
    if kind == "date":
        return _date(word)
    return word


def _date(word: str) -> date | str:
    try:
        return date.fromisoformat(word) if _DAY.fullmatch(word) else utc(datetime.fromisoformat(word))
    except (ValueError, OverflowError):
        return word
