"""Every noun, over SQLite and PostgreSQL."""

import threading
from collections.abc import Callable

import pytest

from forethought.core.ids import short_id
from forethought.core.records import (
    Attempt,
    Dataset,
    Evaluation,
    Finding,
    Message,
    Model,
    Outcome,
    Problem,
    Ranking,
    Review,
    Run,
    Sampling,
    Score,
    Task,
    Trace,
    Usage,
    Verdict,
)
from forethought.errors import ConflictError, DataError, NotFoundError, RecordError, UsageError
from forethought.store.store import Store


@pytest.fixture
def task(store: Store) -> Task:
    return store.add_task(Task(name="loans", instructions="Decide."))


@pytest.fixture
def problem(store: Store, task: Task) -> Problem:
    made = Problem(task_id=task.id, input={"amount": 3, "who": "a\0b ü"}, reference="yes", topic=("law",), level=2)
    store.add_problems([made])
    return made


@pytest.fixture
def traces(store: Store, problem: Problem) -> list[Trace]:
    made = [
        Trace(task_id=problem.task_id, problem_id=problem.id, reasoning="r" * n, answer=str(n), origin="human")
        for n in (3, 1, 2, 2, 5)
    ]
    store.add_traces(made)
    return made


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_an_edit_is_a_new_revision_and_the_old_one_stays(store: Store, task: Task) -> None:
    edited = store.edit_task(task.model_copy(update={"instructions": "Think, then decide."}))
    assert edited.revision == 2
    assert store.task("loans") == edited
    assert store.task(task.id, 1) == task
    assert store.task_revisions("loans") == [task, edited]
    assert store.tasks() == [edited]
    with pytest.raises(NotFoundError, match="no revision 3"):
        store.task("loans", 3)


def test_of_two_edits_of_one_revision_the_second_is_a_conflict(store: Store, task: Task) -> None:
    store.edit_task(task.model_copy(update={"instructions": "mine"}))
    with pytest.raises(ConflictError, match="revision 2 now"):
        store.edit_task(task.model_copy(update={"instructions": "yours"}))
    assert store.task("loans").instructions == "mine"


def test_names_of_tasks_are_unique_and_the_nearest_is_suggested(store: Store, task: Task) -> None:
    with pytest.raises(ConflictError, match="'loans' already"):
        store.add_task(Task(name="loans", instructions=""))
    other = store.add_task(Task(name="riddles", instructions=""))
    with pytest.raises(ConflictError):
        store.edit_task(other.model_copy(update={"name": "loans"}))
    assert store.task("riddles") == other
    with pytest.raises(NotFoundError, match="Did you mean 'loans'"):
        store.task("loan")
    with pytest.raises(NotFoundError, match=r"no task 'a\\x00\\n'"):
        store.task("a\0\n")


def test_the_start_of_an_id_is_enough_when_it_is_unique(store: Store) -> None:
    first = store.add_task(Task(id="aaaa-1111", name="one", instructions=""))
    store.add_task(Task(id="aaaa-2222", name="two", instructions=""))
    assert store.task("aaaa-1") == first
    with pytest.raises(NotFoundError, match="Several ids"):
        store.task("aaaa-")
    with pytest.raises(NotFoundError, match="no task 'aaa'"):
        store.task("aaa")
    with pytest.raises(NotFoundError, match="no task '1111'"):  # where a typing error in a name could fit
        store.task("1111")


def test_the_end_of_an_id_is_enough_when_it_is_unique(store: Store) -> None:
    runs = [Run(id=id_, kind="sft") for id_ in ("aaaa-1111-cafe", "aaaa-2222-cafe", "cafe-3333-beef")]
    for run in runs:
        store.add_run(run)
    assert store.run("2222-cafe") == runs[1]
    assert store.run("beef") == runs[2]
    with pytest.raises(NotFoundError, match="fit 'cafe': cafe-3333-beef, aaaa-2222-cafe, aaaa-1111-cafe"):
        store.run("cafe")
    with pytest.raises(NotFoundError, match="no run 'eef'"):
        store.run("eef")
    with pytest.raises(NotFoundError, match="no run 'BEEF'"):
        store.run("BEEF")
    with pytest.raises(NotFoundError, match="no run"):
        store.run("x" * 40 + "beef")


def test_every_record_without_a_name_is_found_by_the_end_of_its_id(
    store: Store, problem: Problem, traces: list[Trace]
) -> None:
    evaluation = Evaluation(task_id=problem.task_id, task_revision=1, arm="a", model="m", style="s")
    store.add_evaluation(evaluation)
    assert store.problem(short_id(problem.id)) == problem
    assert store.trace(short_id(traces[2].id)) == traces[2]
    assert store.evaluation(short_id(evaluation.id)).id == evaluation.id


@pytest.mark.parametrize("id_", ["../x", "a/b", "", "a" * 65, "a\0", "ü", "-a"])
def test_ids_that_could_not_be_paths_are_refused(store: Store, id_: str) -> None:
    with pytest.raises(RecordError):
        store.add_task(Task(id=id_, name="x", instructions=""))


# --- problems and traces ----------------------------------------------------------------------------------------------


def test_problems_are_read_as_they_were_stored(store: Store, task: Task, problem: Problem) -> None:
    more = [Problem(task_id=task.id, input=str(n)) for n in range(5)]
    store.add_problems(more)
    assert store.problem(problem.id) == problem
    assert store.problems(task.id) == [problem, *more]
    assert store.problems(task.id, limit=2, after=more[0].id) == more[1:3]
    assert store.count_problems(task.id) == 6
    wanted = [more[3].id, problem.id]
    assert list(store.problems_by_id(wanted)) == wanted
    with pytest.raises(NotFoundError, match="no task 'nowhere'"):
        store.add_problems([Problem(task_id="nowhere", input="")])
    with pytest.raises(NotFoundError):
        store.problems_by_id([problem.id, "nope"])


def test_a_trace_is_read_as_it_was_stored(store: Store, problem: Problem) -> None:
    trace = Trace(
        task_id=problem.task_id,
        problem_id=problem.id,
        reasoning="a\0b \ud7ff \U0001f600",
        answer='{"x": 1}',
        origin="model",
        messages=(Message(role="user", content="\0"), Message(role="assistant", content="ü")),
        raw="<think>",
        failure="unclosed",
        model="m" * 5000,
        sampling=Sampling(temperature=0.7, seed=3),
        usage=Usage(prompt_tokens=3, cost_usd=0.1),
        finish_reason="length",
        tags=("a\0", "t" * 5000),
    )
    store.add_traces([trace])
    assert store.trace(trace.id) == trace
    assert store.trace(trace.id[:-1]) == trace
    assert store.count(f"model:{'M' * 5000}") == 1
    assert store.count(f"model:{'m' * 4999}") == 0


def test_traces_are_stored_all_or_none(store: Store, problem: Problem, traces: list[Trace]) -> None:
    new = Trace(task_id=problem.task_id, problem_id=problem.id, origin="human")
    for bad, error in [
        (traces[0], ConflictError),
        (new.model_copy(update={"id": "other", "problem_id": "nope"}), NotFoundError),
        (new.model_copy(update={"id": "other", "parent_id": "nope"}), NotFoundError),
        (new.model_copy(update={"id": "other", "task_id": "nope"}), RecordError),
        (new.model_copy(update={"id": "other", "answer": "\ud800"}), RecordError),
    ]:
        with pytest.raises(error):
            store.add_traces([new, bad])
    assert store.trace_ids() == [trace.id for trace in traces]
    store.add_traces([new])


def test_pages_follow_each_other_in_every_order(store: Store, task: Task, traces: list[Trace]) -> None:
    for trace, rating in zip(traces, (2, None, 5, 5, 1), strict=True):
        if rating:
            store.add_review(Review(trace_id=trace.id, reviewer="r", rating=rating))
    a, b, c, d, e = traces
    orders = {"oldest": [a, b, c, d, e], "newest": [e, d, c, b, a], "best": [d, c, a, e, b], "longest": [e, a, d, c, b]}
    for order, expected in orders.items():
        read: list[Trace] = []
        while page := store.traces(task_id=task.id, limit=2, after=read[-1].id if read else None, order=order):
            read += page
        assert read == expected, order


def test_only_the_tasks_own_traces_are_listed(store: Store, traces: list[Trace]) -> None:
    other = store.add_task(Task(name="other", instructions=""))
    assert store.traces(task_id=other.id) == []
    assert store.count(task_id=other.id) == 0
    assert store.count() == 5


def test_a_repair_marks_what_it_repairs(store: Store, problem: Problem, traces: list[Trace]) -> None:
    repair = traces[0].model_copy(update={"id": "repair-1", "parent_id": traces[0].id})
    again = traces[0].model_copy(update={"id": "repair-2", "parent_id": "repair-1"})
    store.add_traces([again, repair])  # children may come before their parents
    assert store.trace_ids("repaired:yes") == [traces[0].id, "repair-1"]
    assert store.trace_ids("repair:yes") == ["repair-2", "repair-1"]
    assert store.trace_ids("repaired:no") == [trace.id for trace in traces[1:]] + ["repair-2"]


# --- judgements -------------------------------------------------------------------------------------------------------


def verdict(trace: Trace, verifier: str, passed: bool | None, judges: str = "answer") -> Score:
    found = (Finding(start=0, end=1, ok=passed, message="step"),)
    return Score(
        trace_id=trace.id, verifier=verifier, judges=judges, verdict=Verdict(value=0.5, passed=passed, findings=found)
    )


def test_the_newest_verdict_of_each_verifier_counts(store: Store, traces: list[Trace]) -> None:
    first = [verdict(traces[0], "exact", False), verdict(traces[0], "steps", True, "steps")]
    store.add_scores(first)
    assert store.trace_ids("verified:no") == [traces[0].id]
    second = [verdict(traces[0], "exact", True), verdict(traces[1], "exact", None)]
    store.add_scores(second)
    assert store.scores(traces[0].id) == [*first, second[0]]
    assert store.scores_of([traces[1].id, traces[2].id]) == {traces[1].id: [second[1]], traces[2].id: []}
    assert store.trace_ids("verified:yes") == [traces[0].id]
    assert store.trace_ids("verifier:exact=unknown") == [traces[1].id]
    with pytest.raises(NotFoundError, match="no trace"):
        store.add_scores([verdict(traces[0].model_copy(update={"id": "nope"}), "exact", True)])


def test_writers_at_once_lose_no_summary(open_store: Callable[[], Store]) -> None:
    store = open_store()
    task = store.add_task(Task(name="k", instructions=""))
    problem = Problem(task_id=task.id, input="?")
    store.add_problems([problem])
    trace = Trace(task_id=task.id, problem_id=problem.id, origin="human")
    store.add_traces([trace])
    failures: list[Exception] = []

    def judge(number: int) -> None:
        try:
            with open_store() as own:
                own.add_scores([verdict(trace, f"v{number}", True)])
                own.add_review(Review(trace_id=trace.id, reviewer=f"r{number}", rating=1 + number % 2))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(store.count(f"verifier:v{number}=pass") == 1 for number in range(8))
    assert store.count("rating:1.5") == 1


def test_reviews_and_rankings_are_kept_and_summed_up(store: Store, problem: Problem, traces: list[Trace]) -> None:
    reviews = [Review(trace_id=traces[0].id, reviewer=who, rating=n) for who, n in [("a", 1), ("b", 5), ("a", 4)]]
    for review in reviews:
        store.add_review(review)
    assert store.reviews(traces[0].id) == reviews
    assert store.trace_ids("has:rating") == store.trace_ids("rating:4.5") == [traces[0].id]
    ranking = Ranking(problem_id=problem.id, reviewer="a", tiers=((traces[1].id,), (traces[0].id, traces[2].id)))
    assert store.rankings(store.add_ranking(ranking).problem_id) == [ranking]
    with pytest.raises(NotFoundError, match="no trace 'nope'"):
        store.add_ranking(Ranking(problem_id=problem.id, reviewer="a", tiers=(("nope",),)))


# --- datasets ---------------------------------------------------------------------------------------------------------


def test_a_dataset_keeps_its_items_in_order(store: Store, task: Task, traces: list[Trace]) -> None:
    ids = [trace.id for trace in traces]
    parts = {"train": [ids[3], ids[0], ids[1]], "test": [ids[2]]}
    frozen = store.add_dataset(Dataset(name="first", task_id=task.id, task_revision=1), parts)
    assert frozen.counts == {"train": 3, "test": 1}
    assert store.dataset("first") == store.dataset(frozen.id) == frozen
    assert store.dataset_items("first", "train") == parts["train"]
    with pytest.raises(NotFoundError, match="Did you mean 'train'"):
        store.dataset_items("first", "trian")
    with pytest.raises(UsageError, match="does not hold pairs"):
        store.dataset_pairs("first", "train")
    with pytest.raises(ConflictError, match="'first' already"):
        store.add_dataset(Dataset(name="first", task_id=task.id, task_revision=1), parts)
    newer = store.add_dataset(Dataset(name="newer", task_id=task.id, task_revision=1), {"all": ids})
    assert store.datasets() == store.datasets(task.id) == [newer, frozen]


def test_items_that_do_not_belong_are_refused(store: Store, task: Task, traces: list[Trace]) -> None:
    dataset = Dataset(name="bad", task_id=task.id, task_revision=1)
    for parts, error in [
        ({"train": ["nope"]}, NotFoundError),
        ({"train": [(traces[0].id, traces[1].id)]}, DataError),
        ({"Train/../": [traces[0].id]}, DataError),
    ]:
        with pytest.raises(error):
            store.add_dataset(dataset, parts)
    assert store.datasets() == []


def test_attempts_made_later_belong_to_their_problems_split(store: Store, task: Task, problem: Problem) -> None:
    store.add_dataset(Dataset(name="held", task_id=task.id, task_revision=1, kind="problems"), {"test": [problem.id]})
    late = Trace(task_id=task.id, problem_id=problem.id, origin="rollout")
    store.add_traces([late])
    assert store.trace_ids("dataset:held split:test") == [late.id]


# --- runs, models, evaluations ----------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_by_kind_status_and_task(store: Store, task: Task) -> None:
    runs = [Run(kind=kind, task_id=task.id, status=status) for kind, status in [("sft", "done"), ("eval", "queued")]]
    for run in runs:
        store.add_run(run)
    assert store.run(runs[0].id[:-2]) == runs[0]
    assert store.runs() == runs[::-1]
    assert store.runs(kind="sft", status="done", task_id=task.id) == runs[:1]
    assert store.runs(status="failed") == []
    assert store.runs(limit=1) == runs[1:]


def test_models_are_found_by_name_alias_and_id(store: Store) -> None:
    one, two = (store.add_model(Model(name=name, base="embedded")) for name in ("one", "two"))
    store.promote("best", "one")
    assert store.model("one") == store.model("best") == store.model(one.id) == store.model(one.id[:-1]) == one
    assert store.models() == [two, one]
    assert store.aliases() == {"best": one.id}
    with pytest.raises(NotFoundError, match="Did you mean 'best'"):
        store.model("besst")
    with pytest.raises(ConflictError, match="is an alias already"):
        store.add_model(Model(name="best", base="embedded"))
    with pytest.raises(ConflictError, match="is a model's name already"):
        store.promote("one", "two")
    with pytest.raises(UsageError):
        store.promote("../best", "two")


def test_an_alias_rolls_back_step_by_step(store: Store) -> None:
    for name in ("a", "b", "c", "d"):
        store.add_model(Model(name=name, base="embedded"))
    for name in ("a", "b", "b", "c"):
        store.promote("live", name)
    assert store.rollback("live").name == "b"
    assert store.promote("live", "d").name == "d"
    assert store.rollback("live").name == "b"
    assert store.rollback("live").name == "a"
    assert store.model("live").name == "a"
    with pytest.raises(UsageError, match="never pointed at another"):
        store.rollback("live")
    with pytest.raises(NotFoundError, match="Did you mean 'live'"):
        store.rollback("liv")


def test_a_removed_model_frees_its_name_but_not_while_an_alias_points_at_it(store: Store) -> None:
    old = store.add_model(Model(name="one", base="embedded"))
    store.promote("live", "one")
    with pytest.raises(ConflictError, match="alias 'live'"):
        store.remove_model("one")
    new = store.add_model(Model(name="two", base="embedded"))
    store.promote("live", "two")
    store.remove_model(old.id)
    assert store.models() == [new]
    with pytest.raises(NotFoundError):
        store.model("one")
    with pytest.raises(NotFoundError, match="removed"):
        store.rollback("live")
    store.add_model(Model(name="one", base="embedded"))


def test_a_listing_of_evaluations_leaves_their_outcomes_out(store: Store, task: Task, problem: Problem) -> None:
    outcomes = tuple(
        Outcome(problem_id=problem.id, attempt=Attempt(answer=str(n)), correct=bool(n % 2)) for n in range(30)
    )
    evaluation = Evaluation(
        task_id=task.id, arm="base", model="embedded", style="answer", run_id="r1", metrics={"a": 1}, outcomes=outcomes
    )
    store.add_evaluation(evaluation)
    assert store.evaluation(evaluation.id) == evaluation
    light = evaluation.model_copy(update={"outcomes": ()})
    assert store.evaluations() == store.evaluations(task_id=task.id, run_id="r1") == [light]
    assert store.evaluations(run_id="other") == []
