"""Problems and traces: generated, solved, verified, listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forethought.core.filters import FilterSpec
from forethought.core.filters import parse as parse_filter
from forethought.core.judging import Judgement, judge, refuse_unsound
from forethought.core.records import Frozen, Json, Problem, Score, Task, Trace, dump
from forethought.core.seams import ProblemDraft, Reporter, SilentReporter, Verifier
from forethought.errors import DataError
from forethought.services.tasks import Parts, must_fit
from forethought.services.workbench import Workbench

CHUNK = 256
"""Problems stored together: an interrupted generation loses at most so many."""
TRIES_PER_PROBLEM = 50
"""So many repeated problems in a row mean that the generator has run out of new ones."""


class Generated(Frozen):
    """What a generation made."""

    problems: int = 0
    traces: int = 0
    verified: int = 0
    already_there: int = 0

    def sentence(self) -> str:
        """The counts in words."""
        solved = f", {self.traces} solved, {self.verified} verified" if self.traces else ""
        known = f" ({self.already_there} were there already)" if self.already_there else ""
        return f"{self.problems} problems{known}{solved}"


@dataclass(frozen=True)
class TracePage:
    """Some traces and how many there are in all."""

    traces: Sequence[Trace]
    total: int


def generate(
    bench: Workbench,
    task_name: str,
    *,
    count: int,
    seed: int = 0,
    level: int | None = None,
    vocabulary: str = "train",
    tags: tuple[str, ...] = (),
    solve: bool = True,
    reporter: Reporter | None = None,
) -> Generated:
    """Makes the generator's first ``count`` problems of this seed, level and vocabulary, and solves them.

    Calling it again makes nothing twice: problems that are there already are only solved, where nobody has yet. A
    generator whose references its own verifiers refuse is a DataError, and nothing of that chunk is stored.
    """
    reporter = reporter or SilentReporter()
    parts = Parts(bench.store.task(task_name))
    task = parts.task
    known = {input_key(problem.input): problem for problem in bench.store.problems(task.id)}
    unsolved = bench.store.problems_without_traces(task.id) if solve else set()
    drafts = parts.generator.generate(seed=seed, level=level, vocabulary=vocabulary)
    made = Generated()
    source = f"generator:{task.generator.name if task.generator else ''}:{vocabulary}"
    for chunk in _chunks(_distinct(drafts, task, _closed_groups(known.values(), source, vocabulary)), count):
        reporter.check()
        new = [_problem(draft, task, source, tags) for draft in chunk if input_key(draft.input) not in known]
        add_problems(bench, parts, new)
        old = [known[key] for draft in chunk if (key := input_key(draft.input)) in known]
        open_problems = [*(problem for problem in old if problem.id in unsolved), *new] if solve else []
        verified = _solve(bench, parts, open_problems)
        made = Generated(
            problems=made.problems + len(new),
            traces=made.traces + len(open_problems),
            verified=made.verified + verified,
            already_there=made.already_there + len(old),
        )
        reporter.progress(made.problems + made.already_there, count, unit="problems")
    return made


def add_problems(bench: Workbench, parts: Parts, new: Sequence[Problem]) -> None:
    """The one door for a task's problems, wherever they come from: all enter, or none.

    DataError when an input breaks the task's input schema or the verifiers refuse a reference.
    """
    for problem in new:
        must_fit(parts.task, problem.input)
    refuse_unsound(parts.verifiers, parts.task, new)
    bench.store.add_problems(new)


def verify(bench: Workbench, task_name: str, where: str = "", *, reporter: Reporter | None = None) -> dict[str, int]:
    """Asks the task's verifiers about every matching trace; their newest word counts from then on."""
    reporter = reporter or SilentReporter()
    task = bench.store.task(task_name)
    verifiers = Parts(task).verifiers
    spec = filter_for(where)
    total = bench.store.count(spec, task_id=task.id)
    counts = {"verified": 0, "refused": 0, "not judged": 0}
    done = 0
    for page in trace_pages(bench, task, spec):
        reporter.check()
        problems = bench.store.problems_by_id([trace.problem_id for trace in page])
        scores: list[Score] = []
        for trace in page:
            judgement = judge(verifiers, task, problems[trace.problem_id], trace.attempt)
            scores += _scores(trace, verifiers, judgement)
            counts[_word(judgement)] += 1
        bench.store.add_scores(scores)
        done += len(page)
        reporter.progress(done, total, unit="traces")
    return counts


def list_traces(
    bench: Workbench, task_name: str, where: str = "", *, limit: int = 20, after: str | None = None
) -> TracePage:
    """One page of the traces that match a filter, in the order they were made."""
    task = bench.store.task(task_name)
    spec = filter_for(where)
    traces = bench.store.traces(spec, task_id=task.id, limit=limit, after=after)
    return TracePage(traces=list(traces), total=bench.store.count(spec, task_id=task.id))


def show(bench: Workbench, trace_id: str) -> dict[str, Any]:
    """One trace with its problem and its scores, as plain data."""
    trace = bench.store.trace(trace_id)
    problem = bench.store.problem(trace.problem_id)
    scores = bench.store.scores(trace.id)
    return dump(trace) | {"problem": dump(problem), "scores": [dump(score) for score in scores]}


def filter_for(text: str) -> FilterSpec:
    """The filter a text stands for; the empty text matches everything."""
    return parse_filter(text)


def trace_pages(bench: Workbench, task: Task, spec: FilterSpec, size: int = 1000) -> Iterator[Sequence[Trace]]:
    """All matching traces, a page at a time, so that memory stays flat."""
    after: str | None = None
    while page := list(bench.store.traces(spec, task_id=task.id, limit=size, after=after)):
        yield page
        after = page[-1].id


def input_key(value: Json) -> str:
    """A hash that is equal for equal inputs, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _problem(draft: ProblemDraft, task: Task, source: str, tags: tuple[str, ...]) -> Problem:
    return Problem(
        task_id=task.id,
        input=draft.input,
        reference=draft.reference,
        topic=draft.topic,
        level=draft.level,
        group=draft.group,
        source=source,
        tags=tuple(dict.fromkeys((*draft.tags, *tags))),
    )


def _solve(bench: Workbench, parts: Parts, problems: Sequence[Problem]) -> int:
    """Solves and judges the problems; returns how many traces are verified."""
    if not problems:
        return 0
    traces: list[Trace] = []
    scores: list[Score] = []
    verified = 0
    for problem in problems:
        attempt = parts.solver.solve(parts.task, problem.input)
        trace = Trace(
            task_id=parts.task.id,
            problem_id=problem.id,
            reasoning=attempt.reasoning,
            answer=attempt.answer,
            origin="solver",
            model=f"solver:{parts.solver.name}",
        )
        judgement = judge(parts.verifiers, parts.task, problem, attempt)
        verified += _word(judgement) == "verified"
        traces.append(trace)
        scores += _scores(trace, parts.verifiers, judgement)
    bench.store.add_traces(traces)
    bench.store.add_scores(scores)
    return verified


def _scores(trace: Trace, verifiers: Sequence[Verifier], judgement: Judgement) -> list[Score]:
    return [
        Score(
            trace_id=trace.id, verifier=verifier.name, judges=verifier.judges, verdict=judgement.verdicts[verifier.name]
        )
        for verifier in verifiers
    ]


def _word(judgement: Judgement) -> str:
    return {True: "verified", False: "refused", None: "not judged"}[judgement.verified]


def _closed_groups(known: Iterable[Problem], source: str, vocabulary: str) -> set[str] | None:
    """Groups that problems to be judged on must not come from: all from elsewhere. None: any group may repeat."""
    if vocabulary == "train":
        return None
    return {problem.group for problem in known if problem.source != source}


def _distinct(drafts: Iterator[ProblemDraft], task: Task, closed: set[str] | None) -> Iterator[ProblemDraft]:
    """The drafts without repetitions; DataError when the generator only repeats itself.

    Where groups are closed, one problem of each other group is taken: near-identical ones would count as evidence
    several times.
    """
    seen: set[str] = set()
    taken = set(closed or ())
    repeated = 0
    for draft in drafts:
        key = input_key(draft.input)
        if key in seen or (closed is not None and draft.group and draft.group in taken):
            repeated += 1
            if repeated > TRIES_PER_PROBLEM:
                raise DataError(
                    f"The generator of task '{task.name}' has only {len(seen)} different problems of this kind.",
                    hint="Ask for fewer, another level or another seed.",
                )
            continue
        repeated = 0
        seen.add(key)
        taken.add(draft.group)
        yield draft


def _chunks(drafts: Iterator[ProblemDraft], count: int) -> Iterator[list[ProblemDraft]]:
    left = count
    while left > 0:
        chunk = [draft for _, draft in zip(range(min(CHUNK, left)), drafts, strict=False)]
        if not chunk:
            return
        yield chunk
        left -= len(chunk)
