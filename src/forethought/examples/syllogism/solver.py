"""A breadth-first search over the facts, written out as one short sentence a step."""

from __future__ import annotations

from collections import deque

from forethought.core.records import Attempt, Json, Task
from forethought.errors import UnsolvableError
from forethought.examples.syllogism.puzzle import Puzzle, read


class SyllogismSolver:
    """Follows the facts from the word asked about. The last step states the conclusion."""

    name = "syllogism"

    def solve(self, task: Task, problem_input: Json) -> Attempt:
        puzzle = read(problem_input)
        if puzzle.start == puzzle.target:
            raise UnsolvableError(f"The question asks whether '{puzzle.start}' are themselves; there is nothing to do.")
        return Attempt(reasoning=" ".join(_steps(puzzle)), answer="yes" if puzzle.follows else "no")


def _steps(puzzle: Puzzle) -> list[str]:
    steps: list[str] = []
    seen = {puzzle.start}
    queue = deque([puzzle.start])
    while queue:
        word = queue.popleft()
        following = puzzle.graph.get(word, ())
        if not following:
            steps.append(f"All {word} are nothing more.")
        for what in following:
            if what in seen:
                continue
            steps.append(f"All {word} are {what}.")
            if what == puzzle.target:
                return [*steps, f"So all {puzzle.start} are {what}."]
            seen.add(what)
            queue.append(what)
    return [*steps, f"So it does not follow that all {puzzle.start} are {puzzle.target}."]
