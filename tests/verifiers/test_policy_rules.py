"""Policies as people write them: what is read, what is refused, and what CEL's errors become."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.errors import DataError, UnsolvableError
from forethought.verifiers.policy_rules import MAX_FILE_BYTES, decide, expression, load_policy, read_policy, relation

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
        ("p.json", "[]", "refused at policy"),
        ("p.json", '{"outcomes": ["a", "b"], "rules": []}', "refused at rules"),
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
        (rule("weight > 1.0 || " * 20 + "member"), "at most 200"),
        (changed(outcomes=["ask", "ask"]), "appears twice"),
        (changed(derived=[{"name": "girth", "value": "size + 1"}, {"name": "size", "value": "width + 1"}]), "before"),
        (changed(derived=[{"name": "girth", "value": "girth + 1"}]), "before it is worked out"),
        (changed(derived=[{"name": "a b", "value": "width + 1"}]), "derived.0.name"),
        (changed(rules=PARCEL["rules"] * 2), "appears twice"),
        (changed(surprise=1), "surprise"),
        (rule("weight > 1.0\x00"), "refused"),
    ],
)
def test_policy_that_does_not_hang_together_is_refused(policy: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_policy(policy)


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
