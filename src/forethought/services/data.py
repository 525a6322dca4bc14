"""Problems and traces: generated, solved, verified, listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from forethought.core.facts import fold
from forethought.core.filters import FIELDS, FilterSpec, fields_of, problem_predicate, terms_of
from forethought.core.filters import parse as parse_filter
from forethought.core.judging import Judgement, judge, refuse_unsound
from forethought.core.records import Frozen, Json, Problem, Score, Task, Trace, Verdict, dump
from forethought.core.seams import ProblemDraft, Reporter, SilentReporter, Verifier
from forethought.errors import DataError, ForethoughtError, NotFoundError, UsageError, did_you_mean
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
    untagged: int = 0
    """Of those that were there already, how many lack a tag that was asked for: a problem is never changed."""

    def sentence(self) -> str:
        """The counts in words."""
        solved = f", {self.traces} solved, {self.verified} verified" if self.traces else ""
        kept = f", {self.untagged} of them without the tags asked for" if self.untagged else ""
        known = f" ({self.already_there} were there already{kept})" if self.already_there else ""
        advice = ". Stored problems keep the tags they have: another --seed makes new ones" if self.untagged else ""
        return f"{self.problems} problems{known}{solved}{advice}"


@dataclass(frozen=True)
class TracePage:
    """Some traces, what they were asked, and how many there are in all."""

    traces: Sequence[Trace]
    problems: Mapping[str, Problem]
    """By id."""
    total: int


@dataclass(frozen=True)
class ProblemPage:
    """Some problems and how many there are in all."""

    problems: Sequence[Problem]
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

    Calling it again makes nothing twice: problems that are there already are only solved, where nobody has yet, and
    keep the tags they have. Groups of held-out problems are never learnt from, nor the other way round, whichever are
    made first. A generator whose references its own verifiers refuse is a DataError, and nothing of that chunk is
    stored.
    """
    if not all(tag.strip() for tag in tags):
        raise UsageError("A tag is empty.", hint="Leave it out, or name it.")
    reporter = reporter or SilentReporter()
    parts = Parts(bench.store.task(task_name))
    task = parts.task
    known = {input_key(problem.input): problem for problem in bench.store.problems(task.id)}
    unsolved = bench.store.problems_without_traces(task.id) if solve else set()
    drafts = _drafts(parts, seed=seed, level=level, vocabulary=vocabulary)
    made = Generated()
    source = f"generator:{task.generator.name if task.generator else ''}:{vocabulary}"
    closed = _closed_groups(known.values(), source, vocabulary)
    for chunk in _chunks(_distinct(drafts, task, closed, one_of_each=vocabulary != "train"), count):
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
            untagged=made.untagged + sum(not _has_tags(problem, tags) for problem in old),
        )
        reporter.progress(made.problems + made.already_there, count, unit="problems")
    return made


def add_problems(bench: Workbench, parts: Parts, new: Sequence[Problem]) -> None:
    """The one door for a task's problems, wherever they come from: all enter, or none.

    DataError when an input breaks the task's input schema or the verifiers refuse a reference.
    """
    must_fit(parts.task, [problem.input for problem in new])
    refuse_unsound(parts.verifiers, parts.task, new)
    bench.store.add_problems(new)


def verify(bench: Workbench, task_name: str, where: str = "", *, reporter: Reporter | None = None) -> dict[str, int]:
    """Asks the task's verifiers about every matching trace; their newest word counts from then on.

    What verifiers said that the task names no more is kept, but counts no more.
    """
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
        said = bench.store.scores_of([trace.id for trace in page])
        scores: list[Score] = []
        for trace in page:
            judgement = judge(verifiers, task, problems[trace.problem_id], trace.attempt)
            scores += [*_scores(trace, verifiers, judgement), *_retired(said[trace.id], verifiers)]
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
    problems = bench.store.problems_by_id([trace.problem_id for trace in traces])
    return TracePage(traces=traces, problems=problems, total=bench.store.count(spec, task_id=task.id))


def list_problems(
    bench: Workbench, task_name: str, where: str = "", *, limit: int = 20, after: str | None = None
) -> ProblemPage:
    """One page of the problems that match a filter, attempted or not, in the order they were made.

    UsageError for a filter that asks for what only traces have.
    """
    task = bench.store.task(task_name)
    accepts = problem_predicate(filter_for(where))
    matching = [problem for problem in bench.store.problems(task.id) if accepts(problem)]
    if after is None:
        return ProblemPage(problems=matching[:limit], total=len(matching))
    later = [problem for problem in bench.store.problems(task.id, after=after) if accepts(problem)]
    return ProblemPage(problems=later[:limit], total=len(matching))


def why_none(bench: Workbench, task_name: str, where: str, *, of: Literal["traces", "problems"] = "traces") -> str:
    """Why a filter finds nothing, in words: nothing is there, or what in the filter may be meant otherwise."""
    task = bench.store.task(task_name)
    total = bench.store.count(task_id=task.id) if of == "traces" else bench.store.count_problems(task.id)
    if not total:
        asked = bench.store.count_problems(task.id)
        return f"no traces yet, but {asked} problems: see 'forethought data problems'" if asked else "nothing yet"
    spec = filter_for(where)
    hints = [hint for hint in (_known_problems(bench, task, spec, of), _near_tag(bench, task, spec)) if hint]
    if texts := [str(one.value) for one in terms_of(spec) if one.field == "text"]:
        searched = ", ".join(json.dumps(text[:80], ensure_ascii=False) for text in texts)
        hints.append(f"searched as text: {searched}; fields: {', '.join(FIELDS)}; see docs/filters.md")
    return f"none of {total} match" + (f" ({'; '.join(hints)})" if hints else "")


def show(bench: Workbench, given: str) -> dict[str, Any]:
    """One trace with its problem and its scores, or else one problem, as plain data."""
    try:
        trace = bench.store.trace(given)
    except NotFoundError as no_trace:
        try:
            return dump(bench.store.problem(given))
        except NotFoundError:
            raise no_trace from None
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


def example_input(bench: Workbench, task: Task) -> Json:
    """An input of the task as it is stored, else as its generator makes it; None where there is neither."""
    stored = bench.store.problems(task.id, limit=1)
    if stored or task.generator is None:
        return stored[0].input if stored else None
    return next((draft.input for draft in _drafts(Parts(task), seed=0)), None)


def _known_problems(bench: Workbench, task: Task, spec: FilterSpec, of: str) -> str:
    """That problems match where no trace does."""
    if of == "problems" or any(not FIELDS[name].of_problem for name in fields_of(spec)):
        return ""
    accepts = problem_predicate(spec)
    found = sum(map(accepts, bench.store.problems(task.id)))
    return f"but {found} problems nobody attempted do: see 'forethought data problems'" if found else ""


def _near_tag(bench: Workbench, task: Task, spec: FilterSpec) -> str:
    """The nearest tag that exists, for one that does not."""
    asked = [str(one.value) for one in terms_of(spec) if one.field == "tag"]
    known = {fold(tag): tag for problem in bench.store.problems(task.id) for tag in problem.tags} if asked else {}
    missing = [tag for tag in asked if fold(tag) not in known]
    return f"no problem is tagged '{missing[0][:80]}': {did_you_mean(missing[0], known.values())}" if missing else ""


def _drafts(parts: Parts, **asked: Any) -> Iterator[ProblemDraft]:
    with _broken_parts_told(f"generator of task '{parts.task.name}'"):
        yield from parts.generator.generate(**asked)


@contextmanager
def _broken_parts_told(what: str) -> Iterator[None]:
    """Parts come from anywhere and take options from a file: what they raise, whatever it is, is one line."""
    try:
        yield
    except ForethoughtError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(f"The {what} failed: {said}.", hint="Look at its options in the task.") from error


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
        with _broken_parts_told(f"solver '{parts.solver.name}'"):
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
    bench.store.add_traces(traces, scores)
    return verified


def _scores(trace: Trace, verifiers: Sequence[Verifier], judgement: Judgement) -> list[Score]:
    return [
        Score(
            trace_id=trace.id, verifier=verifier.name, judges=verifier.judges, verdict=judgement.verdicts[verifier.name]
        )
        for verifier in verifiers
    ]


def _retired(said: Sequence[Score], verifiers: Sequence[Verifier]) -> list[Score]:
    """The last words of verifiers that are asked no more. ``said`` is oldest first."""
    asked = {fold(verifier.name) for verifier in verifiers}
    latest = {fold(score.verifier): score for score in said}
    return [
        Score(
            trace_id=score.trace_id,
            verifier=score.verifier,
            judges="nothing",
            verdict=Verdict(reason="the task names this verifier no more"),
        )
        for name, score in latest.items()
        if name not in asked and score.judges != "nothing"
    ]


def _word(judgement: Judgement) -> str:
    return {True: "verified", False: "refused", None: "not judged"}[judgement.verified]


def group_of(problem: Problem | ProblemDraft) -> str:
    """What a problem must not be parted from: its group, or itself alone."""
    return problem.group or input_key(problem.input)


def _has_tags(problem: Problem, tags: Iterable[str]) -> bool:
    return {fold(tag) for tag in tags} <= {fold(tag) for tag in problem.tags}


def _closed_groups(known: Iterable[Problem], source: str, vocabulary: str) -> set[str]:
    """Groups that new problems must not come from.

    For problems to be judged on: all from elsewhere. For those to learn from: all that a generator made to judge on.
    """
    if vocabulary != "train":
        return {group_of(problem) for problem in known if problem.source != source}
    made = [problem for problem in known if problem.source.startswith("generator:")]
    return {group_of(problem) for problem in made if not problem.source.endswith(f":{vocabulary}")}


def _distinct(
    drafts: Iterator[ProblemDraft], task: Task, closed: Set[str], *, one_of_each: bool
) -> Iterator[ProblemDraft]:
    """The drafts of open groups without repetitions; DataError when the generator only repeats itself.

    ``one_of_each`` takes one problem of each group: near-identical ones would count as evidence several times.
    """
    seen: set[str] = set()
    taken = set(closed)
    repeated = 0
    for draft in drafts:
        key = input_key(draft.input)
        if key in seen or group_of(draft) in taken:
            repeated += 1
            if repeated > TRIES_PER_PROBLEM:
                raise DataError(
                    f"The generator of task '{task.name}' has only {len(seen)} different problems of this kind.",
                    hint="Ask for fewer, another level or another seed.",
                )
            continue
        repeated = 0
        seen.add(key)
        if one_of_each:
            taken.add(group_of(draft))
        yield draft


def _chunks(drafts: Iterator[ProblemDraft], count: int) -> Iterator[list[ProblemDraft]]:
    left = count
    while left > 0:
        chunk = [draft for _, draft in zip(range(min(CHUNK, left)), drafts, strict=False)]
        if not chunk:
            return
        yield chunk
        left -= len(chunk)
