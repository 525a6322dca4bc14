"""Word problems with sums: can a small model keep a running number and end on it?"""

from __future__ import annotations

import json
from importlib.resources import files

from forethought.core.records import PartSpec, Requirement, Task
from forethought.core.seams import ProblemDraft


def task() -> Task:
    """The task with its parts by name."""
    return Task(
        name="arithmetic",
        instructions="Solve the word problem. Answer with the number only.",
        thinking_instructions="Go through the story sentence by sentence. Write every sum as an equation with the "
        "number so far, in small steps, and say at the end what the answer is.",
        requirements=(
            Requirement(name="equations", description="Every equation holds and works with numbers of the story."),
            Requirement(
                name="order",
                description="Together the steps work out what the story says; the last one gives the answer.",
            ),
        ),
        style="reasoning",
        verifiers=(
            PartSpec(name="math", options={"form": "number"}),
            PartSpec(name="arithmetic-steps"),
        ),
        solver=PartSpec(name="arithmetic"),
        generator=PartSpec(name="arithmetic"),
        licence="Apache-2.0",
    )


def sample_problems() -> list[ProblemDraft]:
    """A few problems written by hand, with their answers."""
    text = files(__package__).joinpath("problems.jsonl").read_text(encoding="utf-8")
    return [ProblemDraft(**json.loads(line)) for line in text.splitlines()]
