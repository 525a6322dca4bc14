"""The seams: what others implement. Each contract fits one screen; implementations live in their own packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from forethought.core.records import (
    Attempt,
    FinishReason,
    Json,
    Judges,
    Message,
    Problem,
    Prompt,
    Sampling,
    Task,
    Usage,
    Verdict,
)

# --- styles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parsed:
    """What a style read out of a model's turns. ``failure`` set: the attempt is unusable and says why."""

    attempt: Attempt
    raw: str
    failure: str | None = None


@dataclass(frozen=True)
class Delta:
    """A piece of a stream, told apart: thinking or answer."""

    kind: Literal["reasoning", "answer"]
    text: str


class StreamParser(Protocol):
    """Reads one rollout as it arrives. Any chunking gives the same deltas joined, and the same ``Parsed``."""

    def feed(self, chunk: str) -> list[Delta]: ...
    def end_turn(self, finish_reason: FinishReason) -> list[Delta]:
        """One assistant turn is over; what was held back comes out."""
        ...

    def result(self) -> Parsed:
        """After the last turn: the same as ``Style.parse`` on the whole text."""
        ...


class Style(Protocol):
    """How "reasoning + answer" is written into a conversation and read back: the only writer of either."""

    name: str
    turns: int
    """Assistant turns in one rollout."""
    think_tags: tuple[str, str] | None
    """Opening and closing tag when thinking and answer share a turn."""
    writes_reasoning: bool
    """Whether ``render`` writes the attempt's reasoning; what was trained on is then read back with it."""

    def messages(self, prompt: Prompt, problem_input: Json, said: Sequence[str] = ()) -> list[Message]:
        """The conversation that asks for turn ``len(said)``, after the turns already said."""
        ...

    def render(self, attempt: Attempt) -> tuple[str, ...]:
        """The assistant turns that express the attempt: the training target. RecordError if it cannot."""
        ...

    def parse(self, said: Sequence[str], finish_reason: FinishReason = "stop") -> Parsed:
        """Reads the assistant turns back; ``finish_reason`` is the last turn's."""
        ...

    def stream(self) -> StreamParser: ...


# --- models that chat -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChatRequest:
    """One assistant turn to be written."""

    messages: Sequence[Message]
    sampling: Sampling = Sampling()
    json_schema: dict[str, Any] | None = None
    """The answer must satisfy this JSON Schema; thinking stays free."""
    think_tags: tuple[str, str] | None = None
    """Set when thinking comes first in this turn: constraint and thinking limits apply around the closing tag."""
    logprobs: bool = False


@dataclass(frozen=True)
class Completion:
    """One assistant turn as written."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    reasoning: str | None = None
    """Set only by providers that return reasoning apart from the text."""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Natural log-probability of each token under the sampling distribution; empty unless asked for."""
    error: str | None = None
    refused: bool = False
    """With ``error``: the request can never be met as it is, such as a prompt longer than the context."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a turn while it is written; the last one carries the completion."""

    text: str
    completion: Completion | None = None


class ChatModel(Protocol):
    """Anything that writes assistant turns: an embedded model, an adapter on it, a remote provider.

    What goes wrong with one request is told in its completion; the others are unaffected. Closing a stream's iterator
    stops that generation. The texts of a stream's chunks, joined, are the completion's.
    """

    name: str

    def complete(
        self,
        requests: Sequence[ChatRequest],
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """All turns, in the order asked. ``on_done(index, completion)`` is called as each one finishes."""
        ...

    def stream(self, request: ChatRequest) -> Iterator[Chunk]: ...


# --- judging, solving, making problems --------------------------------------------------------------------------------


@runtime_checkable
class Verifier(Protocol):
    """Decides whether an answer, or every step, is right. Built from its options: ``cls(**options)``.

    Returns a verdict with ``value`` None when it cannot judge; raises VerifierError when it breaks.
    Judges the answer part only (``judges = "answer"``) or the reasoning only (``judges = "steps"``).
    """

    name: str
    judges: Judges

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict: ...


@runtime_checkable
class Solver(Protocol):
    """Answers a task's problems and writes the steps: reasoning that is right by construction."""

    name: str

    def solve(self, task: Task, problem_input: Json) -> Attempt:
        """The attempt, its last step entailing the answer. UnsolvableError outside what it can solve."""
        ...


@dataclass(frozen=True)
class ProblemDraft:
    """A problem before it belongs to a task's store."""

    input: Json
    reference: str
    topic: tuple[str, ...] = ()
    level: int | None = None
    group: str = ""
    tags: tuple[str, ...] = ()


class Generator(Protocol):
    """Makes problems by seed. The same seed, level and vocabulary give the same problems in the same order."""

    name: str
    levels: Sequence[int]

    def generate(self, *, seed: int, level: int | None = None, vocabulary: str = "train") -> Iterator[ProblemDraft]:
        """Endless stream. ``level`` None mixes the default levels. ``vocabulary`` names a disjoint word stock:
        problems of ``"heldout"`` share no invented word or name with those of ``"train"``."""
        ...


# --- training and running ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """One conversation to learn from: the prompt's messages per turn are rebuilt by the style."""

    id: str
    input: Json
    attempt: Attempt


class Reporter(Protocol):
    """How long work tells how far it is, and learns that it should stop."""

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None: ...
    def log(self, line: str) -> None: ...
    def metrics(self, step: int, values: dict[str, float]) -> None:
        """One point of the live curves."""
        ...

    def sample(self, step: int, text: dict[str, Json]) -> None:
        """One sample completion during training."""
        ...

    def check(self) -> None:
        """Raises JobCancelled when the work should stop."""
        ...


@dataclass
class SilentReporter:
    """A Reporter that keeps what it is told; for library use and tests."""

    lines: list[str] = field(default_factory=list)
    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    samples: list[tuple[int, dict[str, Json]]] = field(default_factory=list)

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None: ...

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.points.append((step, values))

    def sample(self, step: int, text: dict[str, Json]) -> None:
        self.samples.append((step, text))

    def check(self) -> None: ...
