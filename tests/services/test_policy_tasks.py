"""Tasks made from policy files, and tasks as templates."""

import json

import pytest

from forethought.errors import DataError, UsageError
from forethought.services import data, tasks
from forethought.services.workbench import Workbench
from forethought.verifiers.policy import load_policy, policy_task

POLICY = """
about = "Is this parcel taken?"
outcomes = ["take", "refuse"]
[inputs.weight]
min = 0
max = 400
[inputs.kind]
choices = ["letter", "box"]
[[rules]]
name = "heavy"
when = "weight > 300"
outcome = "refuse"
"""


@pytest.fixture
def bench(tmp_path):
    return Workbench.open(tmp_path / "workspace")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "parcel.toml"
    path.write_text(POLICY)
    return path


def test_a_policy_file_becomes_a_whole_task(bench, file):
    task = tasks.create_policy(bench, file)
    assert task.name == "parcel"
    assert task.instructions.startswith("Is this parcel taken?\n")
    assert task.input_schema["properties"]["weight"] == {"type": "integer", "minimum": 0, "maximum": 400}
    assert {part.name for part in (task.solver, task.generator, *task.verifiers)} == {"policy", "policy-steps"}
    made = data.generate(bench, "parcel", count=30)
    assert (made.problems, made.verified) == (30, 30)


def test_a_policy_task_is_made_from_a_path_or_the_policy_itself(file):
    made = [policy_task("parcel", given) for given in (file, str(file), load_policy(file))]
    assert len({task.model_dump_json(exclude={"id", "created_at"}) for task in made}) == 1


def test_name_and_opening_are_what_the_caller_says(bench, file):
    task = tasks.create_policy(bench, file, name="mail", opening="Decide!")
    assert (task.name, task.instructions.splitlines()[0]) == ("mail", "Decide!")


def test_the_same_file_again_changes_nothing_and_a_changed_one_is_a_new_revision(bench, file):
    first = tasks.create_policy(bench, file)
    assert tasks.create_policy(bench, file) == first
    data.generate(bench, "parcel", count=20, solve=False)
    file.write_text(POLICY.replace("[inputs.kind]", "[inputs.rush]\nchoices = [true, false]\n[inputs.kind]"))
    again = tasks.create_policy(bench, file)
    assert (again.id, again.revision) == (first.id, 2)


def test_a_change_that_would_make_stored_references_wrong_is_refused(bench, file):
    tasks.create_policy(bench, file)
    data.generate(bench, "parcel", count=60, solve=False)
    file.write_text(POLICY.replace("weight > 300", "weight > 200"))
    with pytest.raises(DataError, match=r"decided otherwise.*--name"):
        tasks.create_policy(bench, file)
    assert tasks.show(bench, "parcel").revision == 1
    assert tasks.create_policy(bench, file, name="parcel-2").revision == 1


def test_a_task_of_another_kind_is_not_overwritten(bench, file):
    tasks.create_example(bench, "syllogism")
    with pytest.raises(UsageError, match=r"'syllogism'.*not made from a policy.*--name"):
        tasks.create_policy(bench, file, name="syllogism")


def test_a_typing_error_is_refused_before_anything_is_stored(bench, file):
    file.write_text(POLICY.replace("weight > 300", "wieght > 300"))
    with pytest.raises(DataError, match=r"The rule 'heavy' needs 'wieght'.*Did you mean 'weight'\?"):
        tasks.create_policy(bench, file)
    file.write_text(POLICY.replace("weight > 300", "kind == 'bokx'"))
    with pytest.raises(DataError, match="holds for none"):
        tasks.create_policy(bench, file)
    assert tasks.list_all(bench) == []


def test_a_policy_without_inputs_says_at_generation_how_to_describe_them(bench, file):
    start, end = POLICY.index("[inputs.weight]"), POLICY.index("[[rules]]")
    file.write_text(POLICY[:start] + POLICY[end:])
    tasks.create_policy(bench, file)
    with pytest.raises(UsageError, match=r"\[inputs\.weight\].*forethought task policy"):
        data.generate(bench, "parcel", count=3)


def test_a_policy_given_as_a_task_is_told_where_to_go(bench, file, tmp_path):
    plain = tmp_path / "parcel.json"
    plain.write_text(json.dumps({"outcomes": ["a", "b"], "rules": []}))
    for given in (file, plain):
        with pytest.raises(UsageError, match=rf"forethought task policy .*{given.name}"):
            tasks.create_from_file(bench, given)


@pytest.mark.parametrize("example", ["loan", "syllogism", "arithmetic"])
def test_a_template_makes_the_same_task_again(bench, tmp_path, example):
    task = tasks.create_example(bench, example)
    file = tmp_path / "task.json"
    file.write_text(json.dumps(tasks.template(bench, example)))
    again = tasks.create_from_file(Workbench.open(tmp_path / "other"), file)
    given = {"id", "created_at", "revision", "version"}
    assert again.model_dump(exclude=given) == task.model_dump(exclude=given)
    assert given.isdisjoint(json.loads(file.read_text()))
