"""What may enter a task's data."""

import ast
from pathlib import Path

import pytest

import forethought
import forethought.store.judgements as judgements
from forethought.core.records import Problem, Task, Trace
from forethought.errors import DataError
from forethought.services import data, tasks
from forethought.services.tasks import Parts
from forethought.services.workbench import Workbench


@pytest.fixture
def bench(tmp_path):
    bench = Workbench.open(tmp_path)
    tasks.create_example(bench, "loan")
    return bench


def test_an_input_that_breaks_the_tasks_schema_does_not_enter(bench):
    data.generate(bench, "loan", count=1)
    task = bench.store.task("loan")
    (known,) = bench.store.problems(task.id)
    fitting = Problem(task_id=task.id, input=known.input)
    for wrong in ("not an object", {**known.input, "amount": "a lot"}):
        with pytest.raises(DataError, match="input schema of task 'loan'"):
            data.add_problems(bench, Parts(task), [fitting, Problem(task_id=task.id, input=wrong)])
    assert bench.store.count_problems(task.id) == 1
    data.add_problems(bench, Parts(task), [fitting])
    assert bench.store.count_problems(task.id) == 2


def test_a_reference_that_the_verifiers_refuse_does_not_enter(bench):
    data.generate(bench, "loan", count=1)
    task = bench.store.task("loan")
    (known,) = bench.store.problems(task.id)
    wrong = Problem(task_id=task.id, input=known.input, reference="perhaps")
    with pytest.raises(DataError, match="refuse 1 of its own references"):
        data.add_problems(bench, Parts(task), [wrong])
    assert bench.store.count_problems(task.id) == 1


def test_a_generator_that_breaks_its_tasks_schema_is_refused(bench):
    tasks.edit(bench, "loan", {"input_schema": {"type": "string"}})
    with pytest.raises(DataError, match="input schema of task 'loan'"):
        data.generate(bench, "loan", count=3)
    assert bench.store.count_problems(bench.store.task("loan").id) == 0


def test_problems_enter_the_store_by_one_door():
    callers = [
        f"{path.stem}.{function.name}"
        for path in sorted(Path(forethought.__file__).parent.rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef) and "store.add_problems(" in ast.unparse(function)
    ]
    assert callers == ["data.add_problems"]


def add_sums(bench, *, verifiers, answers):
    """A task with problems "1", "2" … and one trace each."""
    task = tasks.create(bench, Task(name="sums", instructions="Count.", verifiers=verifiers, style="answer"))
    problems = [Problem(task_id=task.id, input=str(n), reference=str(n)) for n, _ in enumerate(answers, 1)]
    bench.store.add_problems(problems)
    bench.store.add_traces(
        [
            Trace(task_id=task.id, problem_id=problem.id, answer=answer, origin="import")
            for problem, answer in zip(problems, answers, strict=True)
        ]
    )


def counted(bench):
    return {word: bench.store.count(f"verified:{word}") for word in ("yes", "no", "unknown")}


def test_a_filter_finds_what_verifying_counted(bench):
    # without a reference there is nothing exact can say, though the form is right
    add_sums(bench, verifiers=[{"name": "exact"}, {"name": "json-schema"}], answers=["1", "3"])
    task = bench.store.task("sums")
    tasks.edit(bench, "sums", {"output_schema": {"type": "integer"}})
    unknown = Problem(task_id=task.id, input="3")
    bench.store.add_problems([unknown])
    bench.store.add_traces([Trace(task_id=task.id, problem_id=unknown.id, answer="3", origin="import")])
    assert data.verify(bench, "sums") == {"verified": 1, "refused": 1, "not judged": 1}
    assert counted(bench) == {"yes": 1, "no": 1, "unknown": 1}


def test_a_verifier_that_the_task_names_no_more_refuses_no_more(bench):
    add_sums(bench, verifiers=[{"name": "math"}], answers=["one"])
    assert data.verify(bench, "sums") == {"verified": 0, "refused": 1, "not judged": 0}
    task = bench.store.task("sums")
    (trace,) = bench.store.traces()
    same_words = Problem(task_id=task.id, input="?", reference="one")
    bench.store.add_problems([same_words])
    bench.store.add_traces([trace.model_copy(update={"id": "again", "problem_id": same_words.id})])
    data.verify(bench, "sums")
    before = bench.store.scores("again")
    tasks.edit(bench, "sums", {"verifiers": [{"name": "exact"}]})
    assert data.verify(bench, "sums") == {"verified": 1, "refused": 1, "not judged": 0}
    assert bench.store.trace_ids("verified:yes") == ["again"]
    assert bench.store.count("verifier:math") == 0
    assert bench.store.scores("again")[: len(before)] == before
    data.verify(bench, "sums")
    assert [score.judges for score in bench.store.scores("again")].count("nothing") == 1
    tasks.edit(bench, "sums", {"verifiers": [{"name": "math"}]})
    data.verify(bench, "sums")
    assert bench.store.count("verifier:math") == 2


def test_a_trace_is_stored_with_what_was_said_of_it_or_not_at_all(bench, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(judgements, "_renew_verdicts", killed)
        with pytest.raises(KeyboardInterrupt):
            data.generate(bench, "loan", count=3)
    made = data.generate(bench, "loan", count=3)
    assert (made.already_there, made.traces, made.verified) == (3, 3, 3)
    assert counted(bench) == {"yes": 3, "no": 0, "unknown": 0}


def test_problems_that_keep_their_old_tags_are_told(bench):
    assert data.generate(bench, "loan", count=3, tags=("first",)).untagged == 0
    again = data.generate(bench, "loan", count=4, tags=("First", "learn"))
    assert (again.problems, again.already_there, again.untagged) == (1, 3, 3)
    assert "3 of them without the tags asked for" in again.sentence()
    assert "tags" not in data.generate(bench, "loan", count=3).sentence()


def test_no_group_is_both_to_learn_from_and_to_be_judged_on_whichever_is_made_first(bench):
    tasks.create_example(bench, "arithmetic")
    task = bench.store.task("arithmetic")
    for number, order in enumerate((("train", "heldout"), ("heldout", "train"))):
        for part in order:
            data.generate(
                bench, "arithmetic", count=150, seed=number, vocabulary=part, level=1, tags=(part,), solve=False
            )
            groups = {
                part: {problem.group for problem in bench.store.problems(task.id) if part in problem.tags}
                for part in order
            }
            assert not groups["train"] & groups["heldout"]


def test_a_task_has_each_verifier_once(bench):
    twice = [{"name": "exact", "options": {"match": "text"}}, {"name": "exact", "options": {"match": "number"}}]
    with pytest.raises(DataError, match="verifier 'exact' twice"):
        tasks.create(bench, Task(name="sums", instructions="Count.", verifiers=twice))
    with pytest.raises(DataError, match="verifier 'exact' twice"):
        tasks.edit(bench, "loan", {"verifiers": twice})
