"""Datasets: frozen by filter, split by seed, hashed by content."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

from pydantic import ValidationError

from forethought.core.filters import problem_predicate
from forethought.core.judging import refuse_unsound
from forethought.core.records import Dataset, DatasetKind, Json, Problem, Shot, SplitSpec, Task, Trace
from forethought.core.seams import Example
from forethought.core.splits import SplitItem
from forethought.core.splits import split as draw_split
from forethought.errors import DataError, UsageError, did_you_mean
from forethought.services.data import filter_for, group_of, trace_pages, why_none
from forethought.services.tasks import Parts, first_fault, must_be_name
from forethought.services.workbench import Workbench

CHUNK = 2000
KINDS = ("sft", "problems")
SHOTS = 4
"""Worked examples in a few-shot prompt."""
_STRATA = ("", "reference", "topic", "level")


def create(
    bench: Workbench,
    name: str,
    *,
    task: str,
    where: str = "",
    kind: str = "sft",
    split: str = "train=0.8,val=0.1,test=0.1",
    seed: int = 0,
    stratify: str = "",
) -> Dataset:
    """Freezes what matches ``where``: traces for kind ``sft``, problems for kind ``problems``.

    Failed traces never enter. Every problem's reference must pass its verifiers. The same call on the same store
    gives the same content hash. DataError when nothing matches or a split would stay empty.
    """
    spec = parse_split(split, seed=seed, stratify=stratify)
    chosen_kind = _kind(kind)
    stored_task = bench.store.task(task)
    gather = _problems if chosen_kind == "problems" else _traces
    asked, items = gather(bench, stored_task, where)
    if not items:
        what: Literal["traces", "problems"] = "problems" if chosen_kind == "problems" else "traces"
        raise DataError(
            f"No usable {what} of task '{task}' match '{where or 'everything'}': "
            f"{why_none(bench, task, where, of=what)}."
        )
    refuse_unsound(Parts(stored_task).verifiers, stored_task, asked.values())
    parts = _draw(items, spec)
    dataset = Dataset(
        name=must_be_name(name),
        task_id=stored_task.id,
        task_revision=stored_task.revision,
        kind=chosen_kind,
        filter=where,
        split=spec,
        counts={part: len(ids) for part, ids in parts.items()},
        content_hash=_content_hash(parts, items),
        health=_health(items.values()),
    )
    bench.store.add_dataset(dataset, parts)
    return dataset


def sentence(dataset: Dataset) -> str:
    """What was frozen, in words."""
    counts = ", ".join(f"{count} {part}" for part, count in dataset.counts.items())
    return f"'{dataset.name}': {counts}, hash {dataset.content_hash[:12]}…"


def list_all(bench: Workbench) -> list[Dataset]:
    """All datasets, newest first."""
    return list(bench.store.datasets())


def show(bench: Workbench, name: str) -> Dataset:
    """One dataset by name or id."""
    return bench.store.dataset(name)


def examples(bench: Workbench, dataset: Dataset, part: str) -> list[Example]:
    """What a split of an ``sft`` dataset teaches, in its frozen order."""
    if dataset.kind != "sft":
        raise UsageError(f"Dataset '{dataset.name}' holds {dataset.kind}, not traces to learn from.")
    traces = bench.store.traces_by_id(_ids(bench, dataset, part))
    problems = bench.store.problems_by_id([trace.problem_id for trace in traces.values()])
    return [Example(id=key, input=problems[t.problem_id].input, attempt=t.attempt) for key, t in traces.items()]


def problems(bench: Workbench, dataset: Dataset, part: str) -> list[Problem]:
    """The problems of a split, each once, in the frozen order."""
    ids = _ids(bench, dataset, part)
    if dataset.kind != "problems":
        ids = list(dict.fromkeys(trace.problem_id for trace in bench.store.traces_by_id(ids).values()))
    return list(bench.store.problems_by_id(ids).values())


def shots(bench: Workbench, dataset: Dataset, count: int = SHOTS, part: str = "train") -> list[Shot]:
    """Worked examples for a few-shot prompt: answers alternate, short reasoning first."""
    by_answer: dict[str, list[Example]] = {}
    for example in sorted(examples(bench, dataset, part), key=lambda e: len(e.attempt.reasoning or "")):
        by_answer.setdefault(example.attempt.answer, []).append(example)
    kinds = list(by_answer.values())
    picked: list[Example] = []
    for turn in range(count):
        group = kinds[turn % len(kinds)]
        if turn // len(kinds) < len(group):
            picked.append(group[turn // len(kinds)])
    return [Shot(input=example.input, attempt=example.attempt) for example in picked]


def parse_split(text: str, *, seed: int = 0, stratify: str = "") -> SplitSpec:
    """``train=0.8,test=0.2`` as a SplitSpec; UsageError says what is wrong with it."""
    if stratify not in _STRATA:
        raise UsageError(f"Cannot stratify by '{stratify}'.", hint=did_you_mean(stratify, [s for s in _STRATA if s]))
    shares: dict[str, float] = {}
    for piece in text.split(","):
        part, _, share = piece.partition("=")
        if part.strip() in shares:
            raise UsageError(f"The split '{text}' names '{part.strip()}' twice.", hint="Name each part once.")
        try:
            shares[part.strip()] = float(share)
        except ValueError:
            raise UsageError(
                f"'{piece}' is not a share of a split.", hint="Write it like train=0.8,val=0.1,test=0.1."
            ) from None
    try:
        return SplitSpec.model_validate({"shares": shares, "seed": seed, "stratify": stratify})
    except ValidationError as error:
        raise UsageError(f"The split '{text}' cannot be drawn: {first_fault(error)}.") from None


@dataclass(frozen=True)
class _Item:
    """A problem, and the attempt at it where the dataset is of traces."""

    problem: Problem
    trace: Trace | None = None

    @cached_property
    def content(self) -> str:
        """SHA-256 of what the item says; ids are no part of it."""
        trace = self.trace
        said = [self.problem.input, self.problem.reference, trace and trace.reasoning, trace and trace.answer]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


_Items = Mapping[str, _Item]
"""By item id: a trace's or a problem's."""


def _traces(bench: Workbench, task: Task, where: str) -> tuple[dict[str, Problem], _Items]:
    """The problems that were attempted, by id, and the usable attempts."""
    asked: dict[str, Problem] = {}
    items: dict[str, _Item] = {}
    for page in trace_pages(bench, task, filter_for(where)):
        usable = [trace for trace in page if trace.failure is None]
        asked |= bench.store.problems_by_id([key for trace in usable if (key := trace.problem_id) not in asked])
        items |= {trace.id: _Item(asked[trace.problem_id], trace) for trace in usable}
    return asked, items


def _problems(bench: Workbench, task: Task, where: str) -> tuple[dict[str, Problem], _Items]:
    accepts = problem_predicate(filter_for(where))
    asked = {problem.id: problem for problem in bench.store.problems(task.id) if accepts(problem)}
    return asked, {key: _Item(problem) for key, problem in asked.items()}


def _ids(bench: Workbench, dataset: Dataset, part: str) -> Sequence[str]:
    if part not in dataset.counts:
        raise UsageError(f"Dataset '{dataset.name}' has no split '{part}'.", hint=did_you_mean(part, dataset.counts))
    return bench.store.dataset_items(dataset.id, part)


def _kind(kind: str) -> DatasetKind:
    if kind not in KINDS:
        raise UsageError(f"A dataset of kind '{kind}' cannot be frozen.", hint=did_you_mean(kind, KINDS))
    return cast(DatasetKind, kind)


def _draw(items: _Items, spec: SplitSpec) -> dict[str, list[str]]:
    """The split, drawn from what the items say and not from their ids: the same content is dealt out alike anywhere."""
    named = {f"{item.content}:{key}": key for key, item in items.items()}
    drawn = draw_split([_split_item(name, items[key].problem, spec) for name, key in named.items()], spec)
    return {part: [named[name] for name in names] for part, names in drawn.items()}


def _split_item(key: str, problem: Problem, spec: SplitSpec) -> SplitItem:
    strata: dict[str, object] = {
        "": "",
        "reference": problem.reference,
        "topic": "/".join(problem.topic),
        "level": problem.level,
    }
    return SplitItem(id=key, group=group_of(problem), stratum=str(strata[spec.stratify]))


def _content_hash(parts: Mapping[str, Sequence[str]], items: _Items) -> str:
    digest = hashlib.sha256()
    for part in sorted(parts):
        for key in parts[part]:
            digest.update(f"{part}:{items[key].content}\n".encode())
    return digest.hexdigest()


def _health(items: Collection[_Item]) -> dict[str, Json]:
    """Balance of answers and levels, and how long the reasoning is."""
    problems = [item.problem for item in items]
    traces = [item.trace for item in items if item.trace is not None]
    answers = Counter((problem.reference or "")[:80] for problem in problems)
    levels = Counter(str(problem.level) for problem in problems if problem.level is not None)
    lengths = [len(trace.reasoning) for trace in traces if trace.reasoning]
    return {
        "answers": dict(answers.most_common(20)),
        "levels": dict(sorted(levels.items())),
        "without_reasoning": sum(1 for trace in traces if not trace.reasoning),
        "reasoning_characters": {
            "shortest": min(lengths, default=0),
            "median": statistics.median(lengths) if lengths else 0,
            "longest": max(lengths, default=0),
        },
    }
