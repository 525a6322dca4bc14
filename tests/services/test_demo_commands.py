"""What the demonstration prints is what it does."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from forethought.core.seams import SilentReporter
from forethought.errors import UsageError
from forethought.services import datasets
from forethought.services.demo import Demo
from forethought.services.demo_script import FAST, PLANS, Plan
from forethought.services.workbench import Workbench

DATA_STEPS = 5
"""Task, problems and datasets: what needs no model."""


@pytest.mark.parametrize("task", sorted(PLANS))
def test_the_printed_commands_make_the_same_data(task, tmp_path, monkeypatch):
    monkeypatch.setitem(PLANS, task, Plan(train=30, heldout=12, max_tokens=32))
    hashes = []
    done = Workbench.open(tmp_path / "done")
    demo = Demo.plan_for(done, task, tmp_path / "out")
    for step in list(demo.steps())[:DATA_STEPS]:
        step.act(SilentReporter())
    typed = Workbench.open(tmp_path / "typed")
    for step in list(Demo.plan_for(typed, task, tmp_path / "out").steps())[:DATA_STEPS]:
        _type(step.command)
    for bench in (done, typed):
        hashes.append([datasets.show(bench, f"{task}-{part}").content_hash for part in ("train", "heldout")])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("task", sorted(PLANS))
def test_every_printed_command_can_be_parsed(task, tmp_path):
    bench = Workbench.open(tmp_path)
    for step in Demo.plan_for(bench, task, tmp_path / "out", fast=True).steps():
        words = shlex.split(step.command)
        assert Path(words[0]).name == "forethought"
        done = _run([*words[1:], "--help"])
        assert done.returncode == 0, done.stderr


def test_what_to_do_next_is_said_for_this_workspace_and_this_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    demo = Demo.plan_for(Workbench.open(tmp_path / "w"), "loan", tmp_path / "out")
    program, *words = shlex.split(demo.next_commands()["talk to the model"])
    assert Path(program).is_file()
    assert words == ["--workspace", str(tmp_path / "w"), "models", "chat", "loan"]


def test_a_fresh_demonstration_is_the_one_that_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setitem(PLANS, "loan", Plan(train=12, heldout=6, max_tokens=32))
    bench = Workbench.open(tmp_path / "w")

    def begun(**options):
        demo = Demo.plan_for(bench, "loan", tmp_path / "out", **options)
        for step in list(demo.steps())[:DATA_STEPS]:
            step.act(SilentReporter())
        return demo.script.prefix

    assert [begun(), begun(), begun(fresh=True), begun(), begun(fresh=True)] == [
        "loan", "loan", "loan-2", "loan-2", "loan-3",
    ]  # fmt: skip
    assert Demo.plan_for(bench, "loan", tmp_path / "out", fast=True, fresh=True).script.prefix == "loan-fast"


def test_a_first_look_does_not_take_the_name_of_the_model_in_use(tmp_path):
    bench = Workbench.open(tmp_path / "w")
    steps = [list(Demo.plan_for(bench, "loan", tmp_path / "out", fast=fast).steps()) for fast in (False, True)]
    assert [shlex.split(part[-1].command)[-1] for part in steps] == ["loan", "loan-fast"]


def test_problems_to_be_judged_on_share_no_group_with_those_to_learn_from(tmp_path):
    for task in sorted(PLANS):
        bench = Workbench.open(tmp_path / task)
        demo = Demo.plan_for(bench, task, tmp_path / "out", fast=True)
        for step in list(demo.steps())[:DATA_STEPS]:
            step.act(SilentReporter())
        train = datasets.problems(bench, datasets.show(bench, f"{task}-fast-train"), "train")
        heldout = datasets.problems(bench, datasets.show(bench, f"{task}-fast-heldout"), "test")
        groups = [problem.group or problem.id for problem in heldout]
        assert len(set(groups)) == len(groups) == FAST[task].heldout
        assert not {problem.group for problem in train} & set(groups)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        Demo.plan_for(Workbench.open(tmp_path / "w"), "loan", tmp_path / "file" / "out")


def _type(command: str) -> None:
    done = _run(shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from forethought.cli import main; main()", *words]
    return subprocess.run(program, capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"}, check=False)
