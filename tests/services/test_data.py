"""What may enter a task's data."""

import ast
from pathlib import Path

import pytest

import forethought
from forethought.core.records import Problem
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
