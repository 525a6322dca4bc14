"""Promises of the services that need no model."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from forethought.core.records import Attempt, Outcome, Run
from forethought.errors import UsageError
from forethought.services import datasets, evaluations, runs
from forethought.services.workbench import Workbench
from forethought.store.run_queue import RunQueue


def test_a_line_cut_by_a_crash_costs_one_outcome(tmp_path):
    log = evaluations.OutcomeLog(tmp_path / "outcomes.jsonl")
    outcomes = [Outcome(problem_id=str(n), attempt=Attempt(answer="yes"), correct=True) for n in range(3)]
    log.append("arm", outcomes[0], 1.0)
    log.append("arm", outcomes[1], 2.0)
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    log.append("arm", outcomes[2], 4.0)
    assert log.read() == ({"arm": [outcomes[0], outcomes[2]]}, {"arm": 5.0})


def test_a_workspace_opened_by_many_at_once_opens_for_all(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: Workbench.open(tmp_path / "fresh"), range(8)))
    assert [model.name for model in opened[0].store.models()] == ["smollm2"]


@pytest.mark.parametrize("split", ["train=nan", "train=0.5", "train=inf,test=0.5", "train=1.5,test=-0.5", "train", ""])
def test_a_split_that_cannot_be_drawn_is_refused(split):
    with pytest.raises(UsageError):
        datasets.parse_split(split)


def test_a_run_that_said_more_than_a_page_is_read_to_its_end_and_apart_from_others(tmp_path):
    bench = Workbench.open(tmp_path)
    queue, count = RunQueue(bench.store), 2300
    talkative, quiet = (queue.enqueue(Run(kind="sft")) for _ in range(2))
    for run, amount in ((quiet, 1), (talkative, count)):
        lease = queue.claim(run.id, "somebody").lease
        points = [(step, {"loss": step / 2, "lost": float("nan")}) for step in range(amount)]
        written = [(step, {"text": str(step)}) for step in range(amount)]
        queue.append(lease, log=[f"line {step}" for step in range(amount)], metrics=points, samples=written)
    assert [line.split(" ", 1)[1] for line in runs.logs(bench, talkative.id)] == [f"line {n}" for n in range(count)]
    assert runs.curves(bench, talkative.id) == [(n, {"loss": n / 2}) for n in range(count)]
    assert runs.samples(bench, talkative.id) == [{"step": n, "text": str(n)} for n in range(count)]
    assert [len(list(said(bench, quiet.id))) for said in (runs.logs, runs.curves, runs.samples)] == [1, 1, 1]
