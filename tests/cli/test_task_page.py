"""What ``docs/tasks.md`` and the README tell of tasks of one's own is what the commands do."""

import json
import re
import shlex
from pathlib import Path

import pytest
from fixtures.command_line import answer, forethought, refusal

from forethought.core.records import Task
from forethought.services import tasks
from forethought.verifiers.policy_rules import Input, Policy, Quantity, Rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8").split("## Your own task")[1].split("\n## ")[0]
POLICY = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL).group(1)
WITHOUT_TORCH = {"task", "data", "dataset"}


def commands(text: str) -> list[list[str]]:
    """The commands of a text's first block of them, without the program's name."""
    block = re.search(r"```\n(forethought .*?)```", text, re.DOTALL).group(1)
    return [shlex.split(line)[1:] for line in block.splitlines()]


def first_cells(heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    table = PAGE.split(heading)[1].split("\n#")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("text", [PAGE, README], ids=["page", "readme"])
def test_the_commands_make_a_policy_file_into_verified_datasets(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("travel.toml").write_text(POLICY)
    said = [(words, answer(tmp_path / "w", *words)) for words in commands(text) if words[0] in WITHOUT_TORCH]
    learn = next(made for words, made in said if words[:2] == ["data", "generate"])
    assert learn["problems"] == learn["verified"] == 1000
    counts = [sum(made["counts"].values()) for words, made in said if words[:2] == ["dataset", "create"]]
    assert counts == ([1000, 200] if text is PAGE else [1000])
    verified = [made for words, made in said if words[:2] == ["data", "verify"]]
    assert all(made == {"verified": 1000, "refused": 0, "not judged": 0} for made in verified)


def test_the_commands_that_train_and_judge_take_the_options_shown(tmp_path):
    shown = [words for text in (PAGE, README) for words in commands(text) if words[0] not in WITHOUT_TORCH]
    assert {words[0] for words in shown} == {"train", "eval", "models"}
    for words in shown:
        helped = forethought(tmp_path, *words, "--help").stdout
        assert all(word in helped for word in words if word.startswith("--"))


def test_a_template_is_printed_and_taken(tmp_path):
    forethought(tmp_path, "task", "example", "loan")
    printed = forethought(tmp_path, "task", "show", "loan", "--template").stdout
    file = tmp_path / "task.json"
    file.write_text(json.dumps(json.loads(printed) | {"name": "credit"}))
    assert answer(tmp_path, "task", "create", str(file))["name"] == "credit"


def test_a_policy_given_to_task_create_is_told_where_to_go(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text(POLICY)
    assert f"forethought task policy {file}" in refusal(tmp_path, "task", "create", str(file))


def test_every_field_of_a_task_and_every_key_of_a_policy_is_in_its_table():
    assert (
        sorted(first_cells("## A task in JSON"))
        == tasks._editable()
        == sorted(set(Task.model_fields) - tasks._IDENTITY)
    )
    kinds = (Policy, Input, Quantity, Rule)
    known = [name for kind in kinds for name in kind.model_fields if name not in {"inputs", "derived", "rules"}]
    sections = ["[inputs.NAME]", "[[derived]]", "[[rules]]"]
    assert sorted(first_cells("### All keys")) == sorted([*known, *sections])
