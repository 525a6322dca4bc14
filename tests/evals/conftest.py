"""A real task, real styles and verifiers, and a model that is wrong on purpose and the same every time."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from forethought.core.records import Attempt, Problem, Prompt, Task, Usage
from forethought.core.registry import build, lookup
from forethought.core.seams import ChatRequest, Chunk, Completion, Solver, Style
from forethought.evals.runner import Arm


class ErringChat:
    """Answers syllogisms through the solver, then spoils some of them: seeded by the problem, so never flaky."""

    def __init__(self, name: str, style: Style, *, wrong_step: float = 0.0, guess: float = 0.0, cut: float = 0.0):
        self.name, self.style = name, style
        self.wrong_step, self.guess, self.cut = wrong_step, guess, cut
        self.solver: Solver = build("solver", "syllogism")
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def complete(
        self, requests: Sequence[ChatRequest], on_done: Callable[[int, Completion], None] | None = None
    ) -> list[Completion]:
        completions = []
        for index, request in enumerate(requests):
            completions.append(self._write(request))
            if on_done is not None:
                on_done(index, completions[-1])
        return completions

    def stream(self, request: ChatRequest) -> Iterator[Chunk]:
        completion = self._write(request)
        yield Chunk(completion.text, completion)

    def _write(self, request: ChatRequest) -> Completion:
        question = request.messages[-1].content
        with self._lock:
            self.asked.append(question)
        rng = random.Random(f"{self.name} {question}")
        attempt = self._spoilt(self.solver.solve(TASK, question), rng)
        (text,) = self.style.render(attempt)
        cut = rng.random() < self.cut
        if cut:
            text = text[: len(text) // 3]
        tokens = len(text.split())
        return Completion(text, "length" if cut else "stop", Usage(prompt_tokens=40, completion_tokens=tokens))

    def _spoilt(self, attempt: Attempt, rng: random.Random) -> Attempt:
        steps = (attempt.reasoning or "").split(". ")
        if len(steps) > 2 and rng.random() < self.wrong_step:
            dropped = rng.randrange(1, len(steps) - 1)
            steps[dropped] = steps[dropped].replace("All ", "All tall ") if rng.random() < 0.3 else steps[0][::1]
            del steps[dropped if rng.random() < 0.5 else dropped - 1]
        answer = rng.choice(["yes", "no"]) if rng.random() < self.guess else attempt.answer
        return Attempt(reasoning=". ".join(steps), answer=answer)


TASK: Task = lookup("example", "syllogism")()


@pytest.fixture(scope="session")
def task() -> Task:
    return TASK


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    return make_problems(24)


@pytest.fixture(scope="session")
def verifiers():
    return make_verifiers()


@pytest.fixture
def arms() -> list[Arm]:
    return make_arms()


def make_problems(count: int) -> list[Problem]:
    drafts = build("generator", "syllogism").generate(seed=1, vocabulary="heldout")
    return [
        Problem(
            task_id=TASK.id,
            input=draft.input,
            reference=draft.reference,
            level=draft.level,
            topic=draft.topic,
            group=draft.group,
        )
        for draft in itertools.islice(drafts, count)
    ]


def make_verifiers():
    return [build("verifier", part.name, dict(part.options)) for part in TASK.verifiers]


def make_arms() -> list[Arm]:
    answer, reasoning = build("style", "answer"), build("style", "reasoning")
    prompt = Prompt(instructions="syllogism")
    return [
        Arm("base", ErringChat("base", reasoning, wrong_step=0.9, guess=1.0, cut=0.3), reasoning, prompt),
        Arm("answer", ErringChat("answer", answer, guess=0.95), answer, prompt),
        Arm("reasoning", ErringChat("reasoning", reasoning, wrong_step=0.06, guess=0.1, cut=0.01), reasoning, prompt),
    ]
