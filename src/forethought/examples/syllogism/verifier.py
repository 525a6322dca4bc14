"""Judges syllogisms: the answer against the facts, and every step of the reasoning.

A step is a claim that must follow from the facts and the steps before it (closure of a directed graph; see
docs/decisions/0020). Reasoning passes when every claim holds and the conclusion it reaches about the asked words is
supported by the steps written down, not by the facts alone: a guess is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from forethought.core.records import Attempt, Finding, Judges, Problem, Task, Verdict
from forethought.errors import UnsolvableError
from forethought.examples.syllogism.puzzle import FACT, NOUN, Pair, Puzzle, fact_pairs, reachable, read
from forethought.examples.syllogism.words import plural
from forethought.verifiers.extract import without_lead

MAX_CHARS = 50_000
MAX_ANSWER = 2_000
_ANSWER = re.compile(r"(?P<said>yes|no)\b(?![-'’])")
_BARE = {
    "yes": re.compile(
        r"(?:yes|definitely|certainly|they (?:definitely |certainly )?are|(?:it|that|this) (?:does|follows|holds))"
    ),
    "no": re.compile(
        r"(?:no|not (?:necessarily|definitely|certainly|all|all of them)|definitely not|they are not|they aren't"
        r"|(?:it|that|this) (?:does not|doesn't)(?: follow| hold)?)"
    ),
}
"""What may follow a yes or a no besides a clause about the facts."""
_SENTENCE = re.compile(r"[^.!?;:,\n]+[.!?;:,\n]?")
_JOIN = re.compile(
    r"(?<=[\w)])\s+(?:and|but|then|because|since|so|which means)\s+(?=(?:all|every|each|any|so|it|therefore|no|not)\s)",
    re.I,
)
_OPENING = re.compile(
    r"^(?:(?:so|therefore|thus|hence|then|and|but|since|because|as|also|finally|first|next|now|we know|it follows"
    r"|this means|that means|which means|that) )+"
)
_DEAD_END = re.compile(
    rf"(?:no fact says what (?P<a>{NOUN}) are|(?:no facts?|nothing)(?: is| are)?(?: given| said)?(?: about| of)"
    rf" (?P<b>{NOUN})|(?:all|every|each) (?P<c>{NOUN}) (?:are|is) nothing(?: more| else))"
)
_DOES_NOT = re.compile(
    r"(?:it does not follow that(?: all)?|it is not certain that all|nothing shows that all|not all|not every)"
    rf" (?P<subject>{NOUN}) (?:are|is)(?: definitely| certainly| necessarily| also)*(?: an?)? (?P<what>{NOUN})"
)
_ANSWER_IS = re.compile(r"(?:the |my )?(?:final |right |correct )?answer (?:is|must be|would be) (?P<said>yes|no)\b.*")
Kind = Literal["all", "dead-end", "does-not-follow", "answer", "unread"]


class SyllogismVerifier:
    """Is the answer, yes or no, what the facts entail? Judges the problem's text, not the stored reference."""

    name = "syllogism"
    judges: Judges = "answer"

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        try:
            puzzle = read(problem.input)
        except UnsolvableError as error:
            return Verdict(reason=str(error))
        said = answer_of(attempt.answer, puzzle)
        right = "yes" if puzzle.follows else "no"
        if said is None:
            return Verdict(value=0.0, passed=False, reason="the answer is neither a plain 'yes' nor a plain 'no'")
        return Verdict(value=float(said == right), passed=said == right, reason=f"the facts entail '{right}'")


class SyllogismStepsVerifier:
    """Does every step follow, and do the steps written down carry the conclusion?"""

    name = "syllogism-steps"
    judges: Judges = "steps"

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        try:
            puzzle = read(problem.input)
        except UnsolvableError as error:
            return Verdict(reason=str(error))
        reasoning = attempt.reasoning or ""
        if len(reasoning) > MAX_CHARS:
            return Verdict(value=0.0, passed=False, reason=f"the reasoning is over {MAX_CHARS} characters")
        return _Search(puzzle).judge(reasoning)


def answer_of(text: str, puzzle: Puzzle) -> str | None:
    """``yes`` or ``no`` when that is all a text says, or all it adds are clauses that agree and are true of the puzzle.

    "The answer is yes." and "No, not all bloops are dorps." say so; "No idea" and "yes, all dorps are bloops" do not.
    """
    if len(text) > MAX_ANSWER:
        return None
    label = without_lead(text, ("yes", "no"))
    match = _ANSWER.match(label)
    if match is None:
        return None
    said, rest = match["said"], label[match.end() :]
    if rest.strip() and not re.match(r"\s*(?:[,.;:!*()–—-]|because\b|since\b|as\b)", rest):
        return None
    agrees = all(_agrees(said, rest[start:end], claims, puzzle) for start, end, claims in _claims(rest, puzzle.words))
    return said if agrees else None


def _agrees(said: str, clause: str, claims: list[_Claim], puzzle: Puzzle) -> bool:
    if not claims:
        return _BARE[said].fullmatch(_plain_clause(clause)) is not None or not re.search(r"\w", clause)
    return all(_true_beside(said, claim, puzzle) for claim in claims)


def _true_beside(said: str, claim: _Claim, puzzle: Puzzle) -> bool:
    """A claim that is true of the facts and no claim of the other answer; whether the answer is right is not asked."""
    if claim.kind in ("unread", "answer"):
        return False
    if (claim.subject, claim.what) == (puzzle.start, puzzle.target):
        return (claim.kind == "all") == (said == "yes")
    if claim.kind == "dead-end":
        return claim.subject not in puzzle.graph
    return (claim.what in reachable(puzzle.graph, claim.subject)) == (claim.kind == "all")


@dataclass(frozen=True)
class _Claim:
    kind: Kind
    subject: str
    what: str = ""


class _Search:
    """What the reasoning has shown so far. ``shown`` holds only steps on a search that begins at the asked word."""

    def __init__(self, puzzle: Puzzle) -> None:
        self.puzzle = puzzle
        self.shown: dict[str, set[str]] = {}
        self.reached = {puzzle.start}
        self.dead_ends: set[str] = set()
        self.aside = 0
        self.concluded = False
        self.said: set[_Claim] = set()

    def judge(self, reasoning: str) -> Verdict:
        findings = [
            Finding(start=start, end=end, ok=ok, message=message)
            for start, end, claims in _claims(reasoning, self.puzzle.words)
            for ok, message in [self._weigh(claims)]
        ]
        checked = [finding for finding in findings if finding.ok is not None]
        good = sum(bool(finding.ok) for finding in checked)
        lacking = not self.concluded or self.aside > good
        value = good / (len(checked) + lacking) if checked else 0.0
        if not checked:
            reason = "no step can be checked"
        elif good < len(checked):
            reason = next(finding.message for finding in checked if not finding.ok)
        elif not self.concluded:
            reason = "the steps do not reach a conclusion about the words asked about"
        elif self.aside > good:
            reason = "most of what is said are facts that the search has not reached"
        else:
            return Verdict(value=1.0, passed=True, reason="every step follows", findings=tuple(findings))
        return Verdict(value=value, passed=False, reason=reason, findings=tuple(findings))

    def _weigh(self, claims: list[_Claim]) -> tuple[bool | None, str]:
        """One sentence: wrong when any of its claims is, a step when any of them is."""
        verdicts = [self._weigh_one(claim) for claim in claims]
        wrong = [message for ok, message in verdicts if ok is False]
        if wrong:
            return False, wrong[0]
        return (True, "") if any(ok for ok, _ in verdicts) else (None, verdicts[0][1] if verdicts else "no claim")

    def _weigh_one(self, claim: _Claim) -> tuple[bool | None, str]:
        if claim.kind == "unread":
            return False, f"this could not be read as a step: '{claim.subject[:80]}'"
        if claim.kind == "answer":
            right = (claim.subject == "yes") == self.puzzle.follows
            return None if right else False, "names the answer" if right else f"the answer is not {claim.subject}"
        for word in filter(None, (claim.subject, claim.what)):
            if word not in self.puzzle.words:
                return False, f"the facts do not speak of '{word}'"
        if claim in self.said:
            return None, "already said"
        if claim.kind == "dead-end":
            verdict = self._dead_end(claim)
        elif claim.kind == "all":
            verdict = self._all(claim)
        else:
            verdict = self._does_not_follow(claim)
        if verdict[0]:
            self.said.add(claim)
        return verdict

    def _dead_end(self, claim: _Claim) -> tuple[bool | None, str]:
        if claim.subject in self.puzzle.graph:
            return False, f"a fact does say what {claim.subject} are"
        self.dead_ends.add(claim.subject)
        return True, ""

    def _all(self, claim: _Claim) -> tuple[bool | None, str]:
        subject, what = claim.subject, claim.what
        if subject == what:
            return None, "says nothing"
        if what not in reachable(self.puzzle.graph, subject):
            return False, f"it does not follow that all {subject} are {what}"
        if subject not in self.reached:
            return self._beside(claim)
        if not self._one_fact_away(subject, what):
            return False, f"all {subject} are {what}, but the steps between are missing"
        self.shown.setdefault(subject, set()).add(what)
        self.reached.add(what)
        if (subject, what) == (self.puzzle.start, self.puzzle.target):
            self.concluded = True
        return True, ""

    def _beside(self, claim: _Claim) -> tuple[bool | None, str]:
        """True, but nothing the search has reached: neither right nor wrong as a step."""
        self.aside += 1
        return None, f"{claim.subject} are not reached from {self.puzzle.start} yet"

    def _one_fact_away(self, subject: str, what: str) -> bool:
        """The claim follows from the steps shown and at most one more given fact."""
        if what in reachable(self.shown, subject):
            return True
        near = reachable(self.shown, subject) | {subject}
        return any(
            given == what or what in reachable(self.shown, given)
            for word in near
            for given in self.puzzle.graph.get(word, ())
        )

    def _does_not_follow(self, claim: _Claim) -> tuple[bool | None, str]:
        """A no is proved by an exhausted search: every word that can be reached has been, and this one is not there."""
        subject, what = claim.subject, claim.what
        all_reachable = reachable(self.puzzle.graph, subject)
        if what in all_reachable:
            return False, f"it does follow that all {subject} are {what}"
        if (subject, what) != (self.puzzle.start, self.puzzle.target):
            return None, "not the question"
        missing = sorted(all_reachable - reachable(self.shown, subject) - {subject})
        if missing:
            return False, f"the search is not finished: all {subject} are {missing[0]} too"
        if not all_reachable and subject not in self.dead_ends:
            return False, f"nothing was said of what {subject} are"
        self.concluded = True
        return True, ""


def _claims(reasoning: str, words: frozenset[str]) -> Iterator[tuple[int, int, list[_Claim]]]:
    """Each clause with its character span and the claims it makes; a question claims nothing.

    A clause that names the puzzle's words, or speaks of all or none of something, and cannot be read claims something
    unknown. Only text without such words is harmless.
    """
    for sentence in _SENTENCE.finditer(reasoning):
        start = sentence.start()
        cuts = [start, *(start + join.start() for join in _JOIN.finditer(sentence[0])), sentence.end()]
        for begin, end in pairwise(cuts):
            clause = reasoning[begin:end]
            plain = _plain_clause(clause)
            if plain:
                lead = len(clause) - len(clause.lstrip())
                asks = clause.rstrip().endswith("?")
                yield begin + lead, begin + len(clause.rstrip()), [] if asks else _read(plain, words)


def _plain_clause(clause: str) -> str:
    return _OPENING.sub("", " ".join(clause.strip(" \t\r\n.!?;:,\"'*-()–—").lower().split()) + " ").strip()


def _read(clause: str, words: frozenset[str]) -> list[_Claim]:
    if match := _ANSWER_IS.fullmatch(clause):
        return [_Claim("answer", match["said"])]
    if match := _DEAD_END.fullmatch(clause):
        return [_Claim("dead-end", match["a"] or match["b"] or match["c"])]
    if match := _DOES_NOT.fullmatch(clause):
        return [_Claim("does-not-follow", match["subject"], match["what"])]
    if match := FACT.fullmatch(clause):
        try:
            return [_Claim("all", *_plain(pair)) for pair in fact_pairs(match)]
        except UnsolvableError:
            return [_Claim("unread", clause)]
    return [_Claim("unread", clause)] if _speaks_of(clause, words) else []


def _speaks_of(clause: str, words: frozenset[str]) -> bool:
    """Whether a clause names one of the words, in the plural or the singular, or has the form of a fact."""
    if re.match(r"(?:all|every|each|any|no|some|not|most|few) .*\b(?:are|is|aren't|isn't|be)\b", clause):
        return True
    said = re.findall(r"[^\W_][\w'-]*", clause)
    forms = {*said, *(plural(word) for word in said)}
    return any(word in forms or (" " in word and word in f" {clause} ") for word in words)


def _plain(pair: Pair) -> Pair:
    adverb = re.compile(r"^(?:definitely|certainly|necessarily|also) ")
    return pair[0], adverb.sub("", pair[1])
