"""Whatever the filter and whatever is stored, the database selects exactly what the predicate accepts."""

from datetime import UTC, datetime

from fixtures.filter_strategies import DATASETS, NASTY, SPLITS, instants, specs, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.core.facts import TraceFacts, facts_of, fold
from forethought.core.filter_spec import FIELDS, FilterSpec, matches
from forethought.core.filters import parse, to_text
from forethought.core.records import Dataset, Problem, Review, Score, Task, Trace, Verdict
from forethought.store.filter_sql import CONDITIONS
from forethought.store.store import Store

some_words = st.lists(words, max_size=3).map(tuple)
verifiers = st.sampled_from(["exact", "Exact", "a", "a/b", "100%", "a\0b", "a" * 400])
passed = st.sampled_from([True, False, None])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Problem], list[Trace], list[Score], list[Review], dict[str, dict]]:
    """Problems of task "k" with traces, verdicts, ratings, and two datasets."""
    problems = [
        Problem(
            task_id="k",
            input=draw(st.one_of(words, st.dictionaries(words, words, max_size=2))),
            reference=draw(st.one_of(st.none(), words)),
            topic=draw(some_words),
            tags=draw(some_words),
            level=draw(st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**70, -(2**70), 10**9]))),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    traces: list[Trace] = []
    for _ in range(draw(st.integers(1, 8))):
        problem = draw(st.sampled_from(problems))
        earlier = [trace.id for trace in traces if trace.problem_id == problem.id]
        traces.append(
            Trace(
                task_id="k",
                problem_id=problem.id,
                created_at=draw(instants),
                reasoning=draw(st.one_of(st.none(), words)),
                answer=draw(words),
                origin=draw(st.sampled_from(FIELDS["origin"].choices)),
                style=draw(words),
                model=draw(words),
                failure=draw(st.sampled_from([None, "cut"])),
                parent_id=draw(st.sampled_from([None, *earlier])),
                tags=draw(some_words),
            )
        )
    ids = st.sampled_from([trace.id for trace in traces])
    scores = st.builds(
        Score,
        trace_id=ids,
        verifier=verifiers,
        judges=st.sampled_from(["answer", "steps", "nothing"]),
        verdict=st.builds(Verdict, passed=passed),
        created_at=instants,
    )
    reviews = st.builds(
        Review,
        trace_id=ids,
        reviewer=words,
        rating=st.sampled_from([None, 1, 2, 4, 5]),
        created_at=instants,
    )
    items = st.lists(ids, unique=True, max_size=3)
    datasets = {name: {split: draw(items) for split in SPLITS} for name in DATASETS}
    return problems, traces, draw(st.lists(scores, max_size=6)), draw(st.lists(reviews, max_size=6)), datasets


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), filters=st.lists(specs, min_size=6, max_size=6))
def test_sql_selects_what_the_predicate_accepts(store: Store, world: tuple, filters: list[FilterSpec]) -> None:
    facts = fill(store, world)
    for spec in [*filters, *(parse(text) for text in COMMON)]:
        expected = [one.id for one in facts if matches(spec, one)]
        mine = [id_ for id_ in store.trace_ids(spec) if id_ in {one.id for one in facts}]
        assert mine == expected, to_text(spec)


COMMON = [f'"{text}"' for text in ("a", "%", "_", "a_b", "ss", "é", "100%", "aaaaa")] + [
    "has:reasoning",
    "verified:yes OR rating>=4",
    "verified:unknown",
    "verified:no",
    "-verifier:exact=pass -has:rating",
    "dataset:first split:train",
    "-(dataset:first -split:test)",
    "level>1000000 OR level<0",
    "created:2026-01-01",
    "topic:a",
    "repaired:yes OR repair:yes",
]


def fill(store: Store, world: tuple) -> list[TraceFacts]:
    """Stores the world beside those of earlier examples; the facts as Python derives them from the records."""
    problems, traces, scores, reviews, datasets = world
    if not store.tasks():
        store.add_task(Task(id="k", name="k", instructions=""))
    store.add_problems(problems)
    store.add_traces(traces)
    store.add_scores(scores)
    for review in reviews:
        store.add_review(review)
    number = len(store.datasets())
    memberships: dict[str, set[tuple[str, str]]] = {trace.id: set() for trace in traces}
    for name, parts in datasets.items() if number == 0 else ():
        store.add_dataset(Dataset(name=name, task_id="k", task_revision=1), parts)
        for split, ids in parts.items():
            for id_ in ids:
                memberships[id_].add((name, split))
    by_id = {problem.id: problem for problem in problems}
    parents = {trace.parent_id for trace in traces}
    return [
        facts_of(
            trace,
            by_id[trace.problem_id],
            scores=[score for score in scores if score.trace_id == trace.id],
            reviews=[review for review in reviews if review.trace_id == trace.id],
            repaired=trace.id in parents,
            splits=memberships[trace.id],
        )
        for trace in traces
    ]


def test_every_nasty_text_is_found_where_it_is_and_nowhere_else(store: Store) -> None:
    task = store.add_task(Task(name="k", instructions=""))
    problem = Problem(task_id=task.id, input="?")
    store.add_problems([problem])
    texts = [text for text in NASTY if text.strip()]
    traces = [
        Trace(task_id=task.id, problem_id=problem.id, answer=f"before {text} behind", origin="human", tags=(text,))
        for text in texts
    ]
    store.add_traces(traces)
    assert list(store.traces_by_id([trace.id for trace in traces]).values()) == traces
    for text in texts:
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        assert store.trace_ids(quoted) == [one.id for one in traces if fold(text) in fold(one.answer)]
        assert store.trace_ids(f"tag:{quoted}") == [one.id for one in traces if fold(text) == fold(one.tags[0])]


def test_every_field_has_a_condition() -> None:
    assert {*CONDITIONS, "text"} == set(FIELDS)


def test_datasets_of_problems_hold_the_traces_of_those_problems(store: Store) -> None:
    task = store.add_task(Task(name="k", instructions=""))
    problems = [Problem(task_id=task.id, input=str(number)) for number in range(3)]
    store.add_problems(problems)
    traces = [Trace(task_id=task.id, problem_id=problem.id, origin="human") for problem in problems]
    store.add_traces(traces)
    parts = {"train": [problems[0].id], "test": [problems[1].id]}
    store.add_dataset(Dataset(name="held", task_id=task.id, task_revision=1, kind="problems"), parts)
    assert store.trace_ids("dataset:held split:train") == [traces[0].id]
    assert store.trace_ids("-dataset:held") == [traces[2].id]


def test_pairs_hold_both_their_traces(store: Store) -> None:
    task = store.add_task(Task(name="k", instructions=""))
    problem = Problem(task_id=task.id, input="?")
    store.add_problems([problem])
    traces = [Trace(task_id=task.id, problem_id=problem.id, origin="human") for _ in range(3)]
    store.add_traces(traces)
    pair = (traces[0].id, traces[1].id)
    store.add_dataset(Dataset(name="pairs", task_id=task.id, task_revision=1, kind="pairs"), {"train": [pair]})
    assert store.dataset_pairs("pairs", "train") == [pair]
    assert store.trace_ids("split:train") == list(pair)


def test_moments_are_kept_to_the_microsecond(store: Store) -> None:
    task = store.add_task(Task(name="k", instructions=""))
    problem = Problem(task_id=task.id, input="?")
    store.add_problems([problem])
    made = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    trace = Trace(task_id=task.id, problem_id=problem.id, origin="human", created_at=made)
    store.add_traces([trace])
    assert store.count("created:2026-01-01T12:00:00.000001Z") == 1
    assert store.count("created>2026-01-01T12:00:00.000001Z") == 0
    assert store.trace(trace.id).created_at == made
