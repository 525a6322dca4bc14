"""Multi-hop inference over invented words: can a small model follow a chain of facts?"""

from __future__ import annotations

import json
from importlib.resources import files

from forethought.core.records import PartSpec, Requirement, Task
from forethought.core.seams import ProblemDraft


def task() -> Task:
    """The task with its parts by name."""
    return Task(
        name="syllogism",
        instructions="Decide from the facts alone whether the statement asked about definitely holds. "
        "Answer yes or no.",
        thinking_instructions="Start with the word asked about. In every step say what it is according to one fact, "
        "then go on with that word. Stop when the asked word is reached or no fact leads on, and say what follows.",
        requirements=(
            Requirement(name="supported", description="Every step follows from the facts and the steps before it."),
            Requirement(name="complete", description="A no comes only after every fact that leads on was followed."),
        ),
        style="reasoning",
        verifiers=(PartSpec(name="syllogism"), PartSpec(name="syllogism-steps")),
        solver=PartSpec(name="syllogism"),
        generator=PartSpec(name="syllogism"),
        licence="Apache-2.0",
    )


def sample_problems() -> list[ProblemDraft]:
    """A few problems written by hand, with their answers."""
    text = files(__package__).joinpath("problems.jsonl").read_text(encoding="utf-8")
    return [ProblemDraft(**json.loads(line)) for line in text.splitlines()]
