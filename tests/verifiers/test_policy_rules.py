"""Policies as people write them: what is read, what is refused, and what CEL's errors become."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.errors import DataError, UnsolvableError
from forethought.verifiers.policy_expressions import expression
from forethought.verifiers.policy_rules import MAX_FILE_BYTES, decide, load_policy, read_policy, relation

PARCEL = {
    "outcomes": ["post", "ask", "refuse"],
    "combine": "first",
    "derived": [{"name": "girth", "value": "length + 2 * width"}],
    "rules": [
        {"name": "dangerous", "when": "content in ['fuel', 'gas']", "outcome": "refuse"},
        {"name": "vip", "when": "member && weight < 30.0", "outcome": "post"},
        {"name": "long", "when": "girth > 300", "outcome": "ask", "reason": "oversize"},
        {"name": "heavy", "when": "weight >= 20.0", "outcome": "ask", "reason": "oversize"},
    ],
}
PARCEL_INPUT = {"content": "books", "member": False, "weight": 21.5, "length": 200, "width": 60, "notes": ["any", {}]}


def changed(**fields: object) -> dict[str, object]:
    return {**PARCEL, **fields}


def test_first_rule_that_holds_decides_alone() -> None:
    policy = read_policy(PARCEL)
    assert decide(policy, PARCEL_INPUT).as_answer() == '{"decision": "ask", "reasons": ["oversize"]}'
    assert decide(policy, {**PARCEL_INPUT, "member": True}).reasons == ("vip",)
    assert decide(policy, {**PARCEL_INPUT, "member": True, "content": "gas"}).outcome == "refuse"


def test_strictest_outcome_wins_and_a_shared_reason_is_named_once() -> None:
    policy = read_policy(changed(combine="strictest"))
    decision = decide(policy, {**PARCEL_INPUT, "member": True, "content": "gas"})
    assert (decision.outcome, decision.reasons) == ("refuse", ("dangerous", "vip", "oversize"))
    calm = {**PARCEL_INPUT, "weight": 1.0, "width": 1}
    assert decide(policy, calm).as_answer() == '{"decision": "post", "reasons": []}'


def test_toml_and_json_files_read_the_same(tmp_path: Path) -> None:
    toml, plain = tmp_path / "p.toml", tmp_path / "p.json"
    rules = "".join(
        "[[rules]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rule.items())
        for rule in PARCEL["rules"]
    )
    toml.write_text(
        'outcomes = ["post", "ask", "refuse"]\ncombine = "first"\n'
        '[[derived]]\nname = "girth"\nvalue = "length + 2 * width"\n' + rules
    )
    plain.write_text(json.dumps(PARCEL))
    assert load_policy(toml) == load_policy(plain) == PARCEL


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.toml", "outcomes = [", "cannot be read"),
        ("p.json", "[" * 100_000, "over 64 KiB"),
        ("p.json", "[" * 60_000, "cannot be read"),
        ("p.toml", "#" * (MAX_FILE_BYTES + 1), "over 64 KiB"),
        ("p.json", "[]", r"In p.json: The policy must be a section with fields; found \[\]"),
        ("p.json", '{"outcomes": ["a", "b"], "rules": []}', "In p.json: The policy, 'rules', has too few entries"),
    ],
)
def test_bad_file_is_refused_by_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_policy(path)


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_policy(tmp_path / "none.toml")


def rule(when: str, outcome: str = "ask", **more: str) -> dict[str, object]:
    return changed(rules=[{"name": "r", "when": when, "outcome": outcome, **more}])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (rule("weight >"), "no CEL expression"),
        (rule("1 < 2"), "names no value"),
        (rule("weight > 1.0", outcome="burn"), "leads to 'burn'"),
        (rule("weight > 1.0", reason="none"), "may not use the reason"),
        (rule("tags.all(t, t > weight)"), "loops over a list"),
        (rule("tags . exists (t, t == content)"), "loops over a list"),
        (rule("member && .weight > 1.0"), "begins with a dot"),
        (rule("weight > 1.0 || " * 20 + "member"), "longer than 200 characters"),
        (changed(outcomes=["ask", "ask"]), "appears twice"),
        (changed(derived=[{"name": "girth", "value": "size + 1"}, {"name": "size", "value": "width + 1"}]), "before"),
        (changed(derived=[{"name": "girth", "value": "girth + 1"}]), "before it is worked out"),
        (
            changed(derived=[{"name": "a b", "value": "width + 1"}]),
            r"Derived quantity 1 \('a b'\), 'name', must begin with a letter",
        ),
        (changed(rules=PARCEL["rules"] * 2), "appears twice"),
        (changed(surprise=1), "surprise"),
        (rule("weight > 1.0\x00"), "no CEL expression"),
    ],
)
def test_policy_that_does_not_hang_together_is_refused(policy: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_policy(policy)


DESCRIBED = {
    "content": {"choices": ["books", "fuel", "gas"]},
    "member": {"choices": [True, False]},
    "weight": {"choices": [0.5, 20.0, 30.0]},
    "length": {"min": 1, "max": 200, "step": 5},
    "width": {"min": 1, "max": 100, "about": "of the longer side"},
}


def inputs(**fields: object) -> dict[str, object]:
    return changed(inputs={**DESCRIBED, **fields})


def second(**fields: object) -> dict[str, object]:
    """The second rule written otherwise; a field that is None is left out."""
    entry = {key: value for key, value in {**PARCEL["rules"][1], **fields}.items() if value is not None}
    return inputs() | {"rules": [PARCEL["rules"][0], entry]}


def test_described_inputs_are_kept_with_the_policy() -> None:
    policy = read_policy(inputs())
    assert list(policy.inputs["length"].values) == list(range(1, 200, 5))
    assert policy.inputs["content"].values == ("books", "fuel", "gas")
    assert read_policy(policy.model_dump(mode="json", exclude_defaults=True)) == policy


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            second(when="membr && weight < 30.0"),
            "The rule 'vip' needs 'membr', which is neither an input nor a derived quantity. Did you mean 'member'?",
        ),
        (
            inputs() | {"derived": [{"name": "girth", "value": "length + with"}]},
            "The quantity 'girth' needs 'with', which is neither an input nor a derived quantity. "
            "Did you mean 'width'?",
        ),
        (second(when=None), "Rule 2 ('vip') has no 'when'."),
        (second(name=None), "Rule 2 has no 'name'."),
        (second(wenn="x"), "Rule 2 ('vip') has 'wenn', which means nothing there. Did you mean 'when'?"),
        (second(outcome="burn"), "The rule 'vip' leads to 'burn', which is not one of the outcomes"),
        (second(name="a b"), "Rule 2 ('a b'), 'name', must begin with a letter"),
        (second(when=5), "Rule 2 ('vip'), 'when', must be text in quotes; found 5."),
        (
            second(when="weight >> 30.0"),
            "Rule 2 ('vip'), 'when': 'weight >> 30.0' is no CEL expression: it cannot be read from '> 30.0' on. "
            "CEL compares with ==",
        ),
        (second(when="weight >"), "'weight >' is no CEL expression: it ends too early. CEL"),
        (
            {"rule": [], "outcomes": ["a", "b"]},
            "The policy has 'rule', which means nothing there. Did you mean 'rules'",
        ),
        (second(when="member and weight > 2.0"), "Rule 2 ('vip'), 'when': 'member and weight > 2.0' is no CEL"),
        (changed(outcome=["a"]), "The policy has 'outcome', which means nothing there. Did you mean 'outcomes'?"),
        (changed(combine="all"), "The policy, 'combine', must be 'strictest' or 'first'; found \"all\"."),
        (changed(rules={"name": "x"}), "must be a list of entries that each begin with [[rules]]; found"),
        (inputs(width={"min": 1}), "Input 'width': it needs 'min' and 'max', or 'choices'."),
        (inputs(width={"min": 9, "max": 1}), "Input 'width': its 'min' 9 is above its 'max' 1."),
        (inputs(width={"min": 0.5, "max": 1}), "Input 'width', 'min', must be a whole number; found 0.5."),
        (inputs(width={"min": 0, "max": 1, "step": 0}), "Input 'width', 'step', must be at least 1; found 0."),
        (inputs(width={"choices": [1, 2.5]}), "Input 'width': its 'choices' are of several kinds"),
        (inputs(width={"choices": ["a", "a"]}), "Input 'width': one of its 'choices' appears twice."),
        (inputs(width={"choices": ["a"], "max": 3}), "Input 'width': it has 'choices' and a range"),
        (inputs(width={"choices": ["two\nlines"]}), "Input 'width': The value of 'choices' is no plain value"),
        (inputs(width={"form": 1}), "Input 'width' has 'form', which means nothing there."),
        (inputs(width=5), "Input 'width' must be a section with fields; found 5."),
        (inputs(girth={"min": 0, "max": 9}), "'girth' is an input and a derived quantity."),
        (inputs(**{"a b": {"min": 0, "max": 9}}), "Input 'a b' must begin with a letter"),
        (changed(inputs=["amount"]), "The policy, 'inputs', must be sections such as [inputs.amount]; found"),
    ],
)
def test_a_fault_is_told_in_plain_words_with_the_entry_it_is_in(policy: dict[str, object], said: str) -> None:
    with pytest.raises(DataError) as refused:
        read_policy(policy)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_names_are_not_checked_where_no_inputs_are_described() -> None:
    assert "membr" in read_policy(rule("membr && weight > 2.0")).facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "'weight' is no plain value"),
        ({"weight": float("nan")}, "'weight' is no plain value"),
        ({"weight": 10**400}, "'weight' is no plain value"),
        ({"weight": "heavy"}, "rule 'heavy' cannot be worked out"),
        ({"length": 1.5}, "quantity 'girth' cannot be worked out"),
        ({"length": True}, "quantity 'girth' cannot be worked out"),
        ({"width": 2**53, "length": 2**53}, "'girth' is no plain value"),
        ({"content": "x" * 1001}, "'content' is no plain value"),
        ({"content": "two\nlines"}, "'content' is no plain value"),
        ({"content": "\ud800"}, "'content' is no plain value"),
        ({"content": ["gas"]}, "'content' is no plain value"),
        ({"member": 1}, "rule 'vip' cannot be worked out"),
    ],
)
def test_input_that_does_not_fit_names_the_rule_or_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(UnsolvableError, match=message):
        decide(read_policy(PARCEL), {**PARCEL_INPUT, **change})


def test_missing_field_names_what_needs_it() -> None:
    """Even where CEL would not have looked: the steps quote every value."""
    policy = read_policy(rule("member && absent > 3"))
    with pytest.raises(UnsolvableError, match=r"rule 'r' needs 'absent'"):
        decide(policy, PARCEL_INPUT)
    with pytest.raises(UnsolvableError, match="reads a JSON object, found list"):
        decide(policy, [1])


def test_condition_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(UnsolvableError, match="neither true nor false"):
        decide(read_policy(rule("width + 1")), PARCEL_INPUT)


@pytest.mark.parametrize("formula", ["width / zero", "width % zero", "big * big", "1.0 / nought"])
def test_arithmetic_without_a_result_is_refused(formula: str) -> None:
    policy = read_policy(changed(derived=[{"name": "girth", "value": formula}]))
    with pytest.raises(UnsolvableError, match="girth"):
        decide(policy, {**PARCEL_INPUT, "zero": 0, "big": 2**50, "nought": 0.0})


@pytest.mark.parametrize(
    ("when", "weight", "stands"),
    [
        ("weight > 20", 20.5, "more"),
        ("20 <= weight", 20.5, "less"),
        ("weight<length", 200, "equal"),
        ("weight == 20", 20, None),
        ("weight + 1 > 20", 20, None),
        ("weight > 20 && member", 20, None),
        ("double(weight) > 2.5", 3, None),
    ],
)
def test_sides_of_a_plain_comparison_stand_less_equal_or_more(when: str, weight: float, stands: str | None) -> None:
    assert relation(read_policy(rule(when)).rules[0], {**PARCEL_INPUT, "weight": weight}) == stands


def test_names_are_told_from_text_functions_members_and_literals() -> None:
    found = expression("size(name) > 2 && name.startsWith('total or \\' x') && flag == true && 1e3 > y")
    assert found.names == ("name", "name", "flag", "y")


@given(st.lists(st.sampled_from(["a", " ", "+", "1", "'b'", "(", ")", ".x", "&&", "<", "size", "in"]), max_size=12))
def test_names_found_are_all_that_cel_needs(tokens: list[str]) -> None:
    try:
        found = expression("".join(tokens))
    except ValueError:
        return
    assert "".join(piece for piece, _ in found.pieces) == found.text
    undefined = ""
    try:
        found.program.execute(dict.fromkeys(found.names, 1))
    except (TypeError, RuntimeError, ValueError) as error:
        undefined = "".join(re.findall(r"Undefined variable or function: '(.*?)'", str(error)))
    assert not undefined or re.search(rf"{re.escape(undefined)} ?\(", found.text)
