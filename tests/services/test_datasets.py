"""Datasets are the same wherever the same content is frozen."""

import pytest

from forethought.core.records import Problem, Task, Trace
from forethought.errors import DataError
from forethought.services import datasets
from forethought.services.workbench import Workbench


@pytest.fixture
def bench(tmp_path):
    bench = Workbench.open(tmp_path)
    verifiers = [{"name": "exact"}]
    task = bench.store.add_task(Task(name="sums", instructions="Add.", verifiers=verifiers))
    asked = [
        Problem(task_id=task.id, input={"a": n, "b": n + 1}, reference=str(2 * n + 1), level=n % 3) for n in range(12)
    ]
    bench.store.add_problems(asked)
    bench.store.add_traces(
        [
            Trace(task_id=task.id, problem_id=problem.id, origin="human", reasoning=reasoning, answer=problem.reference)
            for problem in asked
            for reasoning in ("Counting on.", f"Twice {problem.input['a']} and one more.")
        ]
    )
    return bench


HASHES = {
    "sft": "97aa3c352e40c6d3f5b020803fb78ef3b7dd95dd6fd1073e1d147e52c0a63236",
    "problems": "dcb20f6b5c529ddaabd21fffa8f9f9bb8d3bc3ab98d8acc4a9c345632e0c5290",
}


@pytest.mark.parametrize("kind", HASHES)
def test_the_hash_of_a_content_never_changes(bench, kind):
    asked = {"task": "sums", "kind": kind, "split": "train=0.5,val=0.25,test=0.25", "stratify": "level"}
    made = datasets.create(bench, "one", **asked)
    assert made.content_hash == HASHES[kind]
    assert sum(made.counts.values()) == {"sft": 24, "problems": 12}[kind]
    assert datasets.create(bench, "two", **asked, seed=1).content_hash != made.content_hash


def test_a_problem_attempted_often_is_asked_once(bench):
    made = datasets.create(bench, "one", task="sums", split="train=0.75,test=0.25")
    assert [len(datasets.examples(bench, made, part)) for part in ("train", "test")] == [18, 6]
    assert [len(datasets.problems(bench, made, part)) for part in ("train", "test")] == [9, 3]


def test_an_unsound_reference_is_told_once_however_often_it_was_attempted(bench):
    task = bench.store.task("sums")
    wrong = Problem(task_id=task.id, input="?", reference="")
    bench.store.add_problems([wrong])
    attempt = {"task_id": task.id, "problem_id": wrong.id, "origin": "human", "answer": "1"}
    bench.store.add_traces([Trace(**attempt) for _ in range(3)])
    with pytest.raises(DataError, match="refuse 1 of its own references"):
        datasets.create(bench, "one", task="sums")
