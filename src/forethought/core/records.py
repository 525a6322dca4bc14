"""The records: everything Forethought stores, as frozen pydantic models. Read this file first.

The way of the data: ``Task -> Problem -> Trace -> Score -> Review/Ranking -> Dataset -> Run -> Model -> Evaluation``.
Records are append-only. Editing a task makes a new revision; repairing a trace makes a new trace whose ``parent_id``
names the old one. Only ``Run`` changes while it lives (its status, progress and metrics).
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator

from forethought.core.ids import new_id, utc_now

Json = JsonValue
SLUG = r"[a-z0-9][a-z0-9._-]{0,63}"
Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG}$")]
"""A name that is safe in a URL, a filter and a message. Paths are made of ids, never of names."""

Origin = Literal["human", "model", "solver", "import", "rollout", "traffic"]
Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled", "error"]
Judges = Literal["answer", "steps"]
Subject = Literal["answer", "steps", "nothing"]
RunStatus = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
DatasetKind = Literal["sft", "pairs", "problems"]


class Frozen(BaseModel):
    """Base of every value: immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(Frozen):
    """Base of every stored record."""

    version: int = 1
    """Layout of the stored record; raised when a field changes its meaning."""
    id: str = Field(default_factory=new_id)
    created_at: datetime = Field(default_factory=utc_now)


class PartSpec(Frozen):
    """A named part (verifier, solver, generator) with the options it is built with: ``cls(**options)``."""

    name: str
    options: dict[str, Json] = {}


class Message(Frozen):
    """One chat message as the model saw or wrote it."""

    role: Role
    content: str


class Attempt(Frozen):
    """Reasoning and an answer, whoever produced them. What a verifier judges and a style renders."""

    reasoning: str | None = None
    answer: str


class Prompt(Frozen):
    """What a model is told besides the input. A style turns a Prompt and an input into messages.

    ``examples`` are shown as earlier turns (few-shot), rendered by the same style.
    """

    instructions: str = ""
    thinking_instructions: str = ""
    """How to think. Reaches the model in every flow when not empty."""
    answer_cue: str = ""
    """The user turn that asks for the final answer in the two-turn flow; empty takes the style's own."""
    examples: tuple[Shot, ...] = ()


class Shot(Frozen):
    """One worked example inside a prompt."""

    input: Json
    attempt: Attempt


class Sampling(Frozen):
    """How tokens are drawn. Temperature 0 is greedy."""

    max_tokens: int = Field(default=512, ge=1, le=32_768)
    """Upper bound of new tokens in one turn, thinking included."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=0)
    """0 keeps all tokens."""
    seed: int | None = None
    min_thinking_tokens: int = Field(default=0, ge=0)
    max_thinking_tokens: int | None = Field(default=None, ge=1)
    """After so many thinking tokens the closing tag is forced and the answer begins."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer. They mean nothing inside thinking."""


class Usage(Frozen):
    """Tokens and money of one or several calls."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    """None is unknown, not free."""


class Requirement(Frozen):
    """Something a good attempt satisfies, rated apart by reviewers."""

    name: Slug
    description: str


class Task(Record):
    """What the model is to do. ``(id, revision)`` is the key: an edit keeps the id and raises the revision."""

    revision: int = 1
    name: Slug
    instructions: str
    thinking_instructions: str = ""
    input_schema: dict[str, Json] | None = None
    """JSON Schema of the input; None is plain text."""
    output_schema: dict[str, Json] | None = None
    """JSON Schema of the answer; None is plain text."""
    requirements: tuple[Requirement, ...] = ()
    style: str = "reasoning"
    verifiers: tuple[PartSpec, ...] = ()
    solver: PartSpec | None = None
    generator: PartSpec | None = None
    licence: str = ""


class Problem(Record):
    """One input of a task. Problems that share ``group`` are near-identical and never parted by a split."""

    task_id: str
    input: Json
    reference: str | None = None
    """The right answer as text (JSON text where the task has an output schema)."""
    topic: tuple[str, ...] = ()
    level: int | None = None
    """Difficulty, larger is harder."""
    source: str = ""
    tags: tuple[str, ...] = ()
    group: str = ""
    """Empty: the problem is a group of its own."""


class Trace(Record):
    """One attempt at one problem. Immutable; ``failure`` set means stored but never trainable."""

    task_id: str
    problem_id: str
    reasoning: str | None = None
    answer: str = ""
    origin: Origin
    style: str = "reasoning"
    messages: tuple[Message, ...] = ()
    """The exact conversation, the model's own turns included."""
    raw: str = ""
    """What the model wrote, unparsed; empty when nothing was parsed."""
    failure: str | None = None
    model: str = ""
    sampling: Sampling | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    parent_id: str | None = None
    """The trace this one repairs."""
    tags: tuple[str, ...] = ()

    @property
    def attempt(self) -> Attempt:
        """What a verifier judges."""
        return Attempt(reasoning=self.reasoning, answer=self.answer)


class Finding(Frozen):
    """What a verifier says of one step. ``start``/``end`` are character offsets into the reasoning."""

    start: int
    end: int
    ok: bool | None
    """None: not a checkable claim."""
    message: str = ""


class Verdict(Frozen):
    """What a verifier says of an attempt. ``value`` None means *could not judge*, which is never 0."""

    value: float | None = Field(default=None, ge=0.0, le=1.0)
    passed: bool | None = None
    reason: str = ""
    findings: tuple[Finding, ...] = ()


class Score(Record):
    """A verdict, stored: what one verifier said of one trace."""

    trace_id: str
    verifier: str
    judges: Subject
    """``nothing``: the task no longer names the verifier, and what it said earlier counts no more."""
    verdict: Verdict


class StepMark(Frozen):
    """A reviewer's mark on one step of the reasoning (character offsets into it)."""

    start: int
    end: int
    mark: Literal["right", "wrong", "unneeded"]


class Review(Record):
    """What one person said of one trace. Ratings run 1 to 5."""

    trace_id: str
    reviewer: str
    rating: int | None = Field(default=None, ge=1, le=5)
    reasoning_rating: int | None = Field(default=None, ge=1, le=5)
    requirement_ratings: dict[str, int] = {}
    steps: tuple[StepMark, ...] = ()
    comment: str = ""


class Ranking(Record):
    """One person's order of several traces of one problem: best first, ties share a tier."""

    problem_id: str
    reviewer: str
    tiers: tuple[tuple[str, ...], ...]


class SplitSpec(Frozen):
    """Named shares that sum to 1, drawn by seed, whole groups at a time, each ``stratify`` value spread evenly."""

    shares: dict[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
    seed: int = 0
    stratify: Literal["", "reference", "topic", "level"] = ""

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: dict[str, float]) -> dict[str, float]:
        positive = shares and all(math.isfinite(share) and share > 0 for share in shares.values())
        if not positive or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"split shares must be positive and sum to 1, found {shares}")
        return shares


class Dataset(Record):
    """A frozen snapshot. Its items live in the store, by split and position; this is the label on the box."""

    name: Slug
    task_id: str
    task_revision: int
    kind: DatasetKind = "sft"
    filter: str = ""
    split: SplitSpec = SplitSpec()
    counts: dict[str, int] = {}
    """Items in each split."""
    content_hash: str = ""
    """SHA-256 over every item's content in order: same content, same hash."""
    health: dict[str, Json] = {}


class Progress(Frozen):
    """How far a run is. ``total`` 0 is unknown."""

    done: float = 0
    total: float = 0
    unit: str = "steps"
    message: str = ""
    eta_seconds: float | None = None


class Run(Record):
    """One job that produces something. The one record that changes while it lives."""

    kind: str
    """Name of the job in the registry, such as ``sft`` or ``eval``."""
    task_id: str | None = None
    task_revision: int | None = None
    config: dict[str, Json] = {}
    dataset_id: str | None = None
    parent_model_id: str | None = None
    executor: str = "local"
    uses_torch: bool = False
    parallel: bool = False
    """Does not wait for its turn among the machine's torch runs, now and whenever it is resumed."""
    status: RunStatus = "queued"
    progress: Progress = Progress()
    metrics: dict[str, Json] = {}
    artefacts: dict[str, str] = {}
    """Name -> path relative to the run's folder in the workspace."""
    seed: int = 0
    versions: dict[str, str] = {}
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Model(Record):
    """A base model, or a base and an adapter, with the style and prompt it was trained on."""

    name: Slug
    base: str
    """``embedded`` or a folder or a hub name."""
    path: str = ""
    """Folder of the weights or adapter, relative to the workspace; empty: the base as it is."""
    adapter: str = ""
    """PEFT kind, empty for full weights."""
    style: str = "reasoning"
    prompt: Prompt = Prompt()
    task_id: str | None = None
    task_revision: int | None = None
    run_id: str | None = None
    parent_id: str | None = None
    licence: str = ""
    metrics: dict[str, Json] = {}


class Outcome(Frozen):
    """How one arm did on one problem."""

    problem_id: str
    attempt: Attempt
    raw: str = ""
    failure: str | None = None
    correct: bool | None
    """None: no verifier could judge; counted as not judged, never as wrong."""
    steps_valid: bool | None = None
    """Every checkable step checks; None without reasoning or a step verifier."""
    truncated: bool = False
    completion_tokens: int = 0
    prompt_tokens: int = 0
    verdicts: dict[str, Verdict] = {}


class Evaluation(Record):
    """One arm (model x prompt x style) on one set of problems."""

    task_id: str
    task_revision: int = 1
    arm: str
    model: str
    model_id: str | None = None
    style: str
    prompt: Prompt = Prompt()
    sampling: Sampling = Sampling()
    dataset_id: str | None = None
    split: str = ""
    run_id: str | None = None
    metrics: dict[str, Json] = {}
    outcomes: tuple[Outcome, ...] = ()


def dump(record: BaseModel) -> dict[str, Any]:
    """A record as plain JSON-ready data."""
    return record.model_dump(mode="json")


Prompt.model_rebuild()
