"""Reading a syllogism from its text: facts ``all X are Y`` and one question ``are all X Y?``.

Works on people's own problems, not only on generated ones. Text it does not fully understand is refused, because a
fact that is skipped silently would make the judgement wrong.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from forethought.core.records import Json
from forethought.errors import UnsolvableError
from forethought.examples.syllogism.words import plural

MAX_CHARS = 20_000

_WORD = r"(?!(?:are|is)\b)[^\W\d_][\w'-]*"
NOUN = rf"{_WORD}(?: {_WORD}){{0,2}}"
FACT = re.compile(rf"(?:all|every|each|any) (?P<subject>{NOUN}) (?P<verb>are|is) (?:also )?(?P<objects>.+)")
_QUESTION = re.compile(r"(?:are|is|must) (?:then )?(?:all|every|each|any) (?P<rest>.+)")
_FOLLOWS = re.compile(
    rf"(?:does it follow|is it (?:certain|true|certainly true)) that all (?P<subject>{NOUN}) are (?P<object>{NOUN})"
)
_ADVERB = re.compile(r"\b(?:definitely|certainly|necessarily|surely|always|also|be)\b")
_OPENING = re.compile(
    r"^(?:(?:if|and|then|given that|given|suppose that|suppose|so|now|that|also|but|question|facts) )+"
)
_LABEL = re.compile(r"(?:facts?|question|puzzle|problem|given|answer(?: (?:with|only|just))? yes or no)?")
_CLAUSE = re.compile(r"[^.!?;:,\n]+[.!?;:,\n]?")
_JOIN = re.compile(r"\s(?:and|but|then)\s(?=(?:all|every|each|any|are|is|must)\s)", re.IGNORECASE)

Pair = tuple[str, str]


@dataclass(frozen=True)
class Puzzle:
    """Facts as directed edges ``subject -> object``, in the order given, and the pair asked about."""

    facts: tuple[Pair, ...]
    start: str
    target: str

    @cached_property
    def graph(self) -> Mapping[str, tuple[str, ...]]:
        """Word -> the words it is said to be."""
        return adjacency(self.facts)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for fact in self.facts for word in fact) | {self.start, self.target}

    @property
    def follows(self) -> bool:
        """Whether the facts entail that all ``start`` are ``target``."""
        return self.start == self.target or self.target in reachable(self.graph, self.start)


def read(problem_input: Json) -> Puzzle:
    """The puzzle a text states. UnsolvableError names the clause that is not understood."""
    if not isinstance(problem_input, str):
        raise UnsolvableError(f"A syllogism is text, found {type(problem_input).__name__}.")
    if len(problem_input) > MAX_CHARS:
        raise UnsolvableError(f"The text has {len(problem_input)} characters; at most {MAX_CHARS} are read.")
    facts: list[Pair] = []
    questions: list[str] = []
    for clause in _clauses(problem_input):
        if match := FACT.fullmatch(clause):
            facts += fact_pairs(match)
        elif _QUESTION.fullmatch(clause) or _FOLLOWS.fullmatch(clause):
            questions.append(clause)
        elif not _LABEL.fullmatch(clause):
            raise UnsolvableError(f"The clause '{clause[:80]}' is neither 'all X are Y' nor 'are all X Y'.")
    if len(questions) != 1:
        raise UnsolvableError(f"The text asks {len(questions)} questions of the form 'are all X Y?'; one is needed.")
    start, target = _asked(questions[0], {word for fact in facts for word in fact})
    informative = dict.fromkeys((subject, what) for subject, what in facts if subject != what)
    return Puzzle(facts=tuple(informative), start=start, target=target)


def fact_pairs(match: re.Match[str]) -> list[Pair]:
    """``all X are Y and Z`` as pairs of plurals. UnsolvableError for what is no plain noun."""
    singular = match["verb"] == "is"
    pairs: list[Pair] = []
    for part in re.split(r" and | as well as ", match["objects"]):
        noun = re.sub(r"^(?:both|also|an?|all) ", "", part)
        if not re.fullmatch(NOUN, noun) or re.search(r"\b(?:not|no|or|some|only|are|is|neither|nor)\b", noun):
            raise UnsolvableError(f"'{part[:80]}' is no plain noun.")
        pairs.append((plural(match["subject"]) if singular else match["subject"], plural(noun) if singular else noun))
    return pairs


def adjacency(pairs: Iterable[Pair]) -> dict[str, tuple[str, ...]]:
    """Edges as word -> next words, in the order given."""
    graph: dict[str, tuple[str, ...]] = {}
    for subject, what in pairs:
        graph[subject] = (*graph.get(subject, ()), what)
    return graph


def reachable(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Every word reached from ``start`` over one edge or more, breadth first."""
    seen: set[str] = set()
    queue = deque([start])
    while queue:
        for word in graph.get(queue.popleft(), ()):
            if word not in seen:
                seen.add(word)
                queue.append(word)
    return seen


def _clauses(text: str) -> Iterable[str]:
    for sentence in _CLAUSE.findall(text):
        for clause in _JOIN.split(sentence):
            plain = " ".join(clause.strip(" \t\r\n.!?;:,\"'*-").lower().split())
            plain = _OPENING.sub("", plain + " ").strip()
            if plain:
                yield plain


def _asked(question: str, known: set[str]) -> Pair:
    """The two nouns of a question; what parts them is an adverb, an article or knowing one of them."""
    if match := _FOLLOWS.fullmatch(question):
        return match["subject"], match["object"]
    match = _QUESTION.fullmatch(question)
    assert match is not None
    singular = question.startswith("is ")
    parts = [" ".join(part.split()) for part in _ADVERB.split(match["rest"])]
    if singular and len(parts) == 1:
        parts = re.split(r" an? ", parts[0])
    if len(parts) >= 2 and parts[0] and parts[-1]:
        start, target = parts[0], re.sub(r"^an? ", "", parts[-1])
    else:
        start, target = _parted(parts[0].split(), known)
    if not re.fullmatch(NOUN, start) or not re.fullmatch(NOUN, target):
        raise UnsolvableError(f"The question '{question[:80]}' does not name two things.")
    return (plural(start), plural(target)) if singular else (start, target)


def _parted(words: list[str], known: set[str]) -> Pair:
    cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    best = [pair for pair in cuts if set(pair) <= known] or [pair for pair in cuts if set(pair) & known] or cuts
    if len(best) != 1:
        raise UnsolvableError(f"The question '{' '.join(words)[:80]}' does not show where one noun ends.")
    return best[0]
