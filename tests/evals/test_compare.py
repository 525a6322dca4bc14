"""Paired comparison of arms and the sentence it becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.records import Attempt, Evaluation, Outcome
from forethought.core.stats import chance_level
from forethought.evals.compare import compare
from forethought.evals.metrics import measure
from forethought.evals.verdict import mirrored, points, verdict


def evaluation(arm: str, flags: list[bool | None], steps: bool | None = None) -> Evaluation:
    outcomes = tuple(
        Outcome(problem_id=str(i), attempt=Attempt(answer="yes"), correct=flag, steps_valid=steps)
        for i, flag in enumerate(flags)
    )
    return Evaluation(task_id="t", arm=arm, model=arm, style="answer", outcomes=outcomes, metrics=measure(outcomes))


def row(e: Evaluation, label: str = "") -> dict:
    return {"name": e.arm, "label": label or e.arm, "reasons": False, **e.metrics}


def rows(comparisons):
    return [c.model_dump() | {"significant": c.significant} for c in comparisons]


def test_every_pair_is_compared_later_against_earlier():
    arms = [evaluation(name, [True, False] * 5) for name in "abc"]
    assert [(c.arm, c.baseline) for c in compare(arms)] == [("b", "a"), ("c", "a"), ("c", "b")]


def test_counts_difference_and_significance():
    better = evaluation("better", [True] * 18 + [False, None], steps=True)
    worse = evaluation("worse", [True] * 5 + [False] * 13 + [True] * 2)
    (found,) = compare([worse, better])
    assert (found.n, found.both, found.only_arm, found.only_baseline, found.neither) == (19, 5, 13, 1, 0)
    assert found.difference == pytest.approx(12 / 19)
    assert found.ci_low < found.difference < found.ci_high
    assert found.p_value == found.p_adjusted == pytest.approx(2 * (1 + 14) / 2**14)
    assert found.significant
    assert found.verified_difference == pytest.approx(18 / 19)


def test_holm_raises_p_with_more_arms():
    arms = [evaluation("a", [False] * 8), evaluation("b", [True] * 8), evaluation("c", [True] * 8)]
    assert [c.p_value for c in compare(arms)] == pytest.approx([2 / 2**8, 2 / 2**8, 1.0])
    assert [c.p_adjusted for c in compare(arms)] == pytest.approx([6 / 2**8, 6 / 2**8, 1.0])


def test_pairs_without_a_common_judged_problem_are_left_out_and_unchecked_steps_have_no_difference():
    assert compare([evaluation("a", [None, True]), evaluation("b", [True, None])]) == []
    (found,) = compare([evaluation("a", [True]), evaluation("b", [True])])
    assert found.verified_difference is None


def test_checked_steps_are_compared_where_those_of_both_could_be_judged():
    def reasoning(arm: str, steps: list[bool | None]) -> Evaluation:
        attempt = Attempt(reasoning="because", answer="yes")
        outcomes = tuple(
            Outcome(problem_id=str(i), attempt=attempt, correct=True, steps_valid=step) for i, step in enumerate(steps)
        )
        return Evaluation(task_id="t", arm=arm, model=arm, style="reasoning", outcomes=outcomes)

    (found,) = compare([reasoning("a", [True, None, False, True]), reasoning("b", [True, True, True, None])])
    assert (found.n, found.verified_n, found.verified_difference) == (4, 2, 0.5)
    (apart,) = compare([reasoning("a", [True, None]), reasoning("b", [None, True])])
    assert (apart.n, apart.verified_n, apart.verified_difference) == (2, 0, None)


def test_the_verdict_says_on_which_problems_the_steps_were_checked():
    checked = row(evaluation("a", [True, True, None, False], steps=True)) | {"reasons": True}
    (said,) = verdict([checked], [], None, True)["more"]
    assert said == "In 67\u00a0% of what could be judged the answer is right and every step checks."


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_mirroring_tells_the_same_story(pairs):
    a, b = evaluation("a", [x for x, _ in pairs], steps=True), evaluation("b", [y for _, y in pairs], steps=False)
    (forward,) = rows(compare([a, b]))
    assert mirrored(mirrored(forward)) == forward
    (backward,) = rows(compare([b, a]))
    for key in ("arm", "baseline", "n", "only_arm", "only_baseline", "both", "neither"):
        assert mirrored(forward)[key] == backward[key]
    assert mirrored(forward)["difference"] == pytest.approx(backward["difference"])


def test_the_verdict_names_the_pair_asked_for_and_its_numbers():
    thinking, guessing = evaluation("reasoning", [True] * 90 + [False] * 10), evaluation("answer", [True, False] * 50)
    arms = [row(guessing, "training on answers only"), row(thinking, "training on reasoning")]
    said = verdict(arms, rows(compare([guessing, thinking])), chance_level(["yes", "no"]), False)
    sentence = said["sentence"].replace("\u00a0", " ")
    assert sentence.startswith(
        "Training on reasoning: 90 % right against 50 % for training on answers only (+40 points"
    )
    assert sentence.endswith("p < 0.001, on the same 100 problems).")
    assert said["more"] == ["Always giving the most frequent answer would score 50\u00a0%."]
    back = verdict(arms, rows(compare([guessing, thinking])), None, False, ("answer", "reasoning"))
    assert "only 50\u00a0% right" in back["sentence"]
    assert "\u221240 points" in back["sentence"]


def test_the_verdict_claims_no_more_than_the_interval_carries():
    a, b = evaluation("a", [True, False] * 10), evaluation("b", [True, False] * 9 + [True, True])
    said = verdict([row(a), row(b)], rows(compare([a, b])), chance_level(["yes", "no"]), False)
    assert said["sentence"].startswith("No clear difference: b has 55")
    assert "b is not clearly better than that" in said["more"][0]
    unknown = evaluation("a", [None])
    assert verdict([row(unknown)], [], None, False)["sentence"] == "No answer could be judged."
    alone = evaluation("a", [True] * 9 + [False])
    assert verdict([row(alone)], [], None, False)["sentence"].startswith("A: 90\u00a0% right (95\u00a0% CI 60 to 98")


@pytest.mark.parametrize(("value", "text"), [(0.413, "+41"), (-0.05, "\u22125"), (0.001, "0"), (-0.001, "0")])
def test_points_carry_a_sign_only_where_they_mean_one(value, text):
    assert points(value) == text
