"""Syllogisms: made, read and solved."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest
from fixtures.syllogism import CLASSIC, SOLVER, TASK, VERIFIERS, draft, judged, levels, problem, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core import registry
from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Task
from forethought.core.seams import ProblemDraft
from forethought.errors import UnsolvableError, UsageError
from forethought.examples import syllogism
from forethought.examples.syllogism.generator import SyllogismGenerator
from forethought.examples.syllogism.puzzle import Puzzle, reachable, read
from forethought.examples.syllogism.words import plural, stock

# --- what the generator and the solver promise ------------------------------------------------------------------------


@given(seeds, levels, st.sampled_from(["train", "heldout"]), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_the_solver_answers_every_generated_problem_with_a_proof(
    seed: int, level: int, vocabulary: str, index: int
) -> None:
    made = draft(seed, level, vocabulary, index)
    attempt = SOLVER.solve(TASK, made.input)
    assert attempt.answer == made.reference
    assert judge(VERIFIERS, TASK, problem(str(made.input)), attempt).verified
    assert str(attempt.reasoning).split(". ")[-1].startswith("So ")


def test_same_seed_same_problems_and_other_seeds_others() -> None:
    first, again, other = (list(islice(SyllogismGenerator().generate(seed=s), 50)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_word_stocks_are_large_and_disjoint() -> None:
    train, heldout = set(stock("train")), set(stock("heldout"))
    assert len(train) > 1500
    assert len(heldout) > 600
    assert not train & heldout
    for vocabulary, words in (("train", train), ("heldout", heldout)):
        for made in islice(SyllogismGenerator().generate(seed=3, vocabulary=vocabulary), 100):
            assert read(made.input).words <= words


def test_answers_are_balanced_at_every_level() -> None:
    made = list(islice(SyllogismGenerator().generate(seed=5), 1000))
    assert Counter(one.reference for one in made) == {"yes": 500, "no": 500}
    for level in (3, 4, 5, 6):
        answers = [one.reference for one in made if one.level == level]
        assert answers.count("yes") == answers.count("no") > 90


def test_no_problem_is_made_twice() -> None:
    made = list(islice(SyllogismGenerator().generate(seed=5), 2000))
    assert len({frozenset(read(one.input).facts) for one in made}) == len(made)


def steps_from(puzzle: Puzzle, word: str, *, forward: bool, most: int) -> list[str]:
    """The words up to so many facts after or before this one; generated facts are chains."""
    step = dict(puzzle.facts) if forward else {b: a for a, b in puzzle.facts}
    words: list[str] = []
    while len(words) < most and word in step:
        word = step[word]
        words.append(word)
    return words


def surface(puzzle: Puzzle) -> tuple[int, ...]:
    """What two facts around the asked words tell (degrees, how far facts lead on and back), and where they stand."""
    subjects, objects = zip(*puzzle.facts, strict=True)
    ahead = steps_from(puzzle, puzzle.target, forward=True, most=2)
    behind = steps_from(puzzle, puzzle.target, forward=False, most=2)
    return (
        len(puzzle.facts),
        len(puzzle.words),
        subjects.count(puzzle.start),
        objects.count(puzzle.start),
        subjects.count(puzzle.target),
        objects.count(puzzle.target),
        len(steps_from(puzzle, puzzle.start, forward=True, most=2)),
        len(steps_from(puzzle, puzzle.start, forward=False, most=2)),
        len(ahead),
        len(behind),
        int(puzzle.start in ahead),
        sum(1 for a, b in puzzle.facts if a not in objects and b not in subjects),
        int(subjects.index(puzzle.start) < objects.index(puzzle.target)),
        int(subjects.index(puzzle.start) < len(puzzle.facts) / 2),
        int(objects.index(puzzle.target) < len(puzzle.facts) / 2),
    )


def accuracy_of_the_best_rule(made: list[ProblemDraft], half: int) -> float:
    """A table from all surface features together to the commonest answer, learned on one half, asked on the other.

    No rule over these features, whatever its form, does better than such a table does in the long run.
    """
    seen: dict[tuple[int, ...], Counter[str]] = {}
    for one in made[:half]:
        seen.setdefault(surface(read(one.input)), Counter())[one.reference] += 1
    guesses = [
        seen[key].most_common(1)[0][0] == one.reference
        for one in made[half:]
        if (key := surface(read(one.input))) in seen
    ]
    assert len(guesses) > 0.95 * (len(made) - half)
    return sum(guesses) / len(guesses)


@pytest.mark.parametrize("level", [3, 4, 6, 9])
def test_surface_statistics_do_not_tell_yes_from_no(level: int) -> None:
    made = list(islice(SyllogismGenerator().generate(seed=9, level=level), 6000))
    assert abs(accuracy_of_the_best_rule(made, 4000) - 0.5) < 0.05


def test_no_look_at_the_neighbourhood_beats_chance_on_held_out_words() -> None:
    made = list(islice(SyllogismGenerator().generate(seed=9), 4000))
    made += islice(SyllogismGenerator().generate(seed=9, vocabulary="heldout"), 2000)
    assert abs(accuracy_of_the_best_rule(made, 4000) - 0.5) < 0.05
    guesses = 0
    for one in made[4000:]:
        puzzle = read(one.input)
        ahead = steps_from(puzzle, puzzle.target, forward=True, most=2)
        behind = steps_from(puzzle, puzzle.target, forward=False, most=2)
        guesses += (puzzle.start in ahead or len(behind) < 2) == (one.reference == "no")
    assert 0.45 < guesses / 2000 < 0.55


def test_problems_stay_short_and_some_questions_are_reversed() -> None:
    made = list(islice(SyllogismGenerator().generate(seed=9), 1000))
    puzzles = [read(one.input) for one in made]
    assert max(len(puzzle.facts) for puzzle in puzzles) <= 14
    turned = sum(puzzle.start in reachable(puzzle.graph, puzzle.target) for puzzle in puzzles)
    assert 100 < turned < 200


def test_a_level_is_the_number_of_hops() -> None:
    for level in range(2, 10):
        for made in islice(SyllogismGenerator().generate(seed=1, level=level), 20):
            puzzle, attempt = read(made.input), SOLVER.solve(TASK, made.input)
            hops = sum(f"All {a} are {b}." in str(attempt.reasoning) for a, b in puzzle.facts)
            assert hops == level


def test_unknown_levels_and_stocks_are_refused() -> None:
    with pytest.raises(UsageError, match="levels 2 to 9"):
        next(SyllogismGenerator().generate(seed=1, level=1))
    with pytest.raises(UsageError, match="no word stock 'test'"):
        next(SyllogismGenerator().generate(seed=1, vocabulary="test"))


def test_samples_are_sound_and_solvable() -> None:
    samples = syllogism.sample_problems()
    problems = [problem(str(one.input), one.reference) for one in samples]
    refuse_unsound(VERIFIERS, TASK, problems)
    assert all(judge(VERIFIERS, TASK, one, SOLVER.solve(TASK, one.input)).verified for one in problems)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "facts", "asked"),
    [
        (CLASSIC, [("bloops", "razzies"), ("razzies", "lazzies")], ("bloops", "lazzies")),
        ("Every cat is an animal. Is every cat an animal?", [("cats", "animals")], ("cats", "animals")),
        (
            "All cats are warm animals and hunters. Are all cats warm animals?",
            [("cats", "warm animals"), ("cats", "hunters")],
            ("cats", "warm animals"),
        ),
        ("Facts:\n- All a are b.\n- All b are c.\nQuestion: Must all a be c?", [("a", "b"), ("b", "c")], ("a", "c")),
        ("All a are b. Does it follow that all a are c?", [("a", "b")], ("a", "c")),
    ],
)
def test_people_s_own_words_are_read(text: str, facts: list[tuple[str, str]], asked: tuple[str, str]) -> None:
    puzzle = read(text)
    assert list(puzzle.facts) == facts
    assert (puzzle.start, puzzle.target) == asked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "All a are b.",
        "All a are b. Are all a b? Are all b a?",
        "No a are b. Are all a definitely b?",
        "Some a are b. Are all a definitely b?",
        "All a are not b. Are all a definitely b?",
        "All a are b or c. Are all a definitely b?",
        "All a are b. The moon is full. Are all a definitely b?",
        "All a are b, c. Are all a definitely c?",
    ],
)
def test_what_is_not_understood_in_full_is_not_judged(text: str) -> None:
    with pytest.raises(UnsolvableError):
        SOLVER.solve(TASK, text)
    result = judged(text, "All a are b.")
    assert (result.correct, result.steps_valid) == (None, None)
    with pytest.raises(UnsolvableError):
        SOLVER.solve(TASK, {"text": text})


def test_hostile_text_is_read_in_bounded_time() -> None:
    for text in ("all " * 5000, "all a are " + "b " * 9000 + "?", "a-" * 9000, "are all " + "x and " * 3000):
        with pytest.raises(UnsolvableError):
            read(text)


def test_plurals() -> None:
    assert [plural(word) for word in ("wug", "dax", "razzy", "boy", "lazzie")] == [
        "wugs",
        "daxes",
        "razzies",
        "boys",
        "lazzies",
    ]


def test_reachability_agrees_with_z3() -> None:
    """The independent oracle: entailment in first-order logic, asked of a prover."""
    import z3

    rng = random.Random(4)
    thing = z3.DeclareSort("Thing")
    x = z3.Const("x", thing)
    answers = Counter[bool]()
    for _ in range(60):
        nouns = [plural("w" + "abcdefgh"[index]) for index in range(rng.randint(3, 7))]
        facts = [tuple(rng.sample(nouns, 2)) for _ in range(rng.randint(2, 9))]
        start, target = rng.sample(nouns, 2)
        text = " ".join(f"All {a} are {b}." for a, b in facts) + f" Are all {start} definitely {target}?"
        is_a = {noun: z3.Function(noun, thing, z3.BoolSort()) for noun in nouns}
        prover = z3.Solver()
        prover.add([z3.ForAll([x], z3.Implies(is_a[a](x), is_a[b](x))) for a, b in facts])
        prover.add(z3.Exists([x], z3.And(is_a[start](x), z3.Not(is_a[target](x)))))
        entailed = prover.check() == z3.unsat
        assert read(text).follows == entailed, text
        attempt = SOLVER.solve(TASK, text)
        assert judge(VERIFIERS, TASK, problem(text), attempt).verified, (text, attempt)
        answers[entailed] += 1
    assert min(answers.values()) > 10


def test_the_task_builds_from_the_name_tables() -> None:
    task: Task = registry.lookup("example", "syllogism")()
    assert task.solver is not None
    assert task.generator is not None
    assert registry.build("solver", task.solver.name, task.solver.options).name == "syllogism"
    assert registry.build("generator", task.generator.name, task.generator.options).levels == (3, 4, 5, 6)
    assert {registry.build("verifier", spec.name, spec.options).judges for spec in task.verifiers} == {
        "answer",
        "steps",
    }
