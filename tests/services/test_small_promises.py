"""Promises of the services that need no model."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from forethought.core.records import Attempt, Outcome
from forethought.errors import UsageError
from forethought.services import datasets, evaluations
from forethought.services.workbench import Workbench


def test_a_line_cut_by_a_crash_costs_one_outcome(tmp_path):
    log = evaluations.OutcomeLog(tmp_path / "outcomes.jsonl")
    outcomes = [Outcome(problem_id=str(n), attempt=Attempt(answer="yes"), correct=True) for n in range(3)]
    log.append("arm", outcomes[0])
    log.append("arm", outcomes[1])
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    log.append("arm", outcomes[2])
    assert log.read() == {"arm": [outcomes[0], outcomes[2]]}


def test_a_workspace_opened_by_many_at_once_opens_for_all(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: Workbench.open(tmp_path / "fresh"), range(8)))
    assert [model.name for model in opened[0].store.models()] == ["smollm2"]


@pytest.mark.parametrize("split", ["train=nan", "train=0.5", "train=inf,test=0.5", "train=1.5,test=-0.5", "train", ""])
def test_a_split_that_cannot_be_drawn_is_refused(split):
    with pytest.raises(UsageError):
        datasets.parse_split(split)
