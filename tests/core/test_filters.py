from datetime import UTC, date, datetime

import pytest
from fixtures.filter_strategies import characters, specs
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.facts import TraceFacts, facts_of, fold, searchable
from forethought.core.filters import (
    EVERYTHING,
    AllOf,
    AnyOf,
    Not,
    SplitOf,
    Term,
    VerdictOf,
    matches,
    negate,
    parse,
    problem_predicate,
    term,
    to_text,
)
from forethought.core.records import Problem, Review, Score, Trace, Verdict
from forethought.errors import UsageError

EXAMPLE = 'has:reasoning rating>=4 tag:finance -tag:draft (origin:human OR verified:yes) created>2026-01-01 "free text"'


def trace_facts(**changes: object) -> TraceFacts:
    basics = {"id": "t", "problem_id": "p", "origin": "human", "created_at": datetime(2026, 3, 4, 12, tzinfo=UTC)}
    return TraceFacts(**(basics | changes))


def test_the_example_reads_as_it_is_meant() -> None:
    assert parse(EXAMPLE) == AllOf(
        (
            Term("has", "=", "reasoning"),
            Term("rating", ">=", 4.0),
            Term("tag", "=", "finance"),
            Not(Term("tag", "=", "draft")),
            AnyOf((Term("origin", "=", "human"), Term("verified", "=", "yes"))),
            Term("created", ">", date(2026, 1, 1)),
            Term("text", "=", "free text"),
        )
    )
    assert to_text(parse(EXAMPLE)) == EXAMPLE


@given(specs)
def test_what_is_written_reads_back(spec: object) -> None:
    assert parse(to_text(spec)) == spec


@given(st.one_of(st.text(), st.text('ab:"()-\\ OR<>=/', max_size=30)))
def test_any_text_is_a_filter_or_a_usage_error(text: str) -> None:
    try:
        spec = parse(text)
    except UsageError:
        return
    assert parse(to_text(spec)) == spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", EVERYTHING),
        (" \t ", EVERYTHING),
        ("a OR b c", AnyOf((Term("text", "=", "a"), AllOf((Term("text", "=", "b"), Term("text", "=", "c")))))),
        ("a AND NOT b", AllOf((Term("text", "=", "a"), Not(Term("text", "=", "b"))))),
        ("--a", Term("text", "=", "a")),
        ("NOT -a", Term("text", "=", "a")),
        ("or", Term("text", "=", "or")),
        ('"OR"', Term("text", "=", "OR")),
        ("ORANGE", Term("text", "=", "ORANGE")),
        (r'"say \"hi\" \\"', Term("text", "=", 'say "hi" \\')),
        ("TAG:x", Term("tag", "=", "x")),
        ("level>-2", Term("level", ">", -2)),
        ("rating:4.5", Term("rating", "=", 4.5)),
        ("verifier:exact", Term("verifier", "=", VerdictOf("exact"))),
        ('verifier:"a=b"=fail', Term("verifier", "=", VerdictOf("a=b", "fail"))),
        ("split:train", Term("split", "=", SplitOf("train"))),
        ("split:loans/train", Term("split", "=", SplitOf("train", "loans"))),
        ("created>=2026-01-01T10:00:00+02:00", Term("created", ">=", datetime(2026, 1, 1, 8, tzinfo=UTC))),
    ],
)
def test_grammar(text: str, spec: object) -> None:
    assert parse(text) == spec


def test_a_split_beside_a_dataset_means_that_dataset() -> None:
    bound = Term("split", "=", SplitOf("train", "loans"))
    dataset = Term("dataset", "=", "loans")
    assert parse("dataset:loans split:train") == AllOf((dataset, bound))
    assert parse("-split:train dataset:loans") == AllOf((Not(bound), dataset))
    assert parse("dataset:loans (split:train OR a)") != parse("dataset:loans (split:loans/train OR a)")
    in_other = trace_facts(splits=frozenset({("loans", "test"), ("other", "train")}))
    assert not matches(parse("dataset:loans split:train"), in_other)
    assert matches(parse("split:train"), in_other)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("has:reasoning tagg:x", 15, "Did you mean 'tag'?"),
        ("has:reasning", 1, "Did you mean 'reasoning'?"),
        ("(a", 1, "never closed"),
        ("a)", 2, "without its '('"),
        ('a "b', 3, "never closed"),
        ("a OR", 5, "missing"),
        ("OR a", 1, "missing"),
        ("()", 2, "missing"),
        ("a -", 4, "missing"),
        ("tag:", 5, "needs text"),
        ("tag>x", 1, "takes ':'"),
        ("rating>=good", 1, "takes a number"),
        ("level:99999999999", 1, "takes a whole number"),
        ("level:1.5", 1, "takes a whole number"),
        ("created>2026-13-01", 1, "such as 2026-01-31"),
        ("created>0001-01-01T00:00:00+10:00", 1, "such as 2026-01-31"),
        ("verifier:exact=pas", 1, "Did you mean 'pass'?"),
        ("split:a/b/c", 1, "takes a split's name"),
        ('"a"b', 4, "a blank is missing"),
        ("see http://x", 5, "Quote it"),
        ("x tag:\ud800", 3, "not valid Unicode"),
    ],
)
def test_a_fault_names_its_place_and_what_to_do(text: str, place: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f"at character {place}:" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["(" * 10_000, "a" * 10_001, "(" * 31 + "a" + ")" * 31, "a " * 201])
def test_oversized_filters_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_long_negations_do_not_exhaust_the_stack() -> None:
    assert parse("-" * 9_999 + "a") == Not(Term("text", "=", "a"))


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("rating>=4", True),
        ("-rating<4", True),
        ("rating:4.5", True),
        ("TAG:FINANCE", True),
        ("tag:fin", False),
        ("topic:law", True),
        ("topic:Law/Tax", True),
        ("topic:law/t", False),
        ("verifier:exact=pass", True),
        ("verifier:EXACT=fail", False),
        ("verifier:other", False),
        ("-verifier:other=pass", True),
        ("verified:unknown", True),
        ("length:7", True),
        ("length>=8", False),
        ("created:2026-03-04", True),
        ("created>2026-03-04", False),
        ("created>=2026-03-04", True),
        ("created<=2026-03-04", True),
        ("created<2026-03-05", True),
        ("created<2026-03-04T12:00:00Z", False),
        ("strasse", True),
        ("inputreasoning", False),
        ("level>0", False),
        ("-level>0", True),
        ("failed:no repaired:yes repair:no", True),
    ],
)
def test_judgement(text: str, accepted: bool) -> None:
    facts = trace_facts(
        rating=4.5,
        tags=frozenset({"Finance"}),
        topic=("Law", "tax"),
        verdicts={"exact": True},
        reasoning="because",
        text=searchable("Straße, input", "reasoning", "answer"),
        repaired=True,
    )
    assert matches(parse(text), facts) is accepted
    assert matches(negate(parse(text)), facts) is not accepted


def test_facts_count_the_newest_word_of_each() -> None:
    problem = Problem(task_id="k", input={"q": "Émile"}, tags=("p",), topic=("a", "b"), level=2, reference="4")
    trace = Trace(task_id="k", problem_id=problem.id, reasoning=" \n", answer="4", origin="model", tags=("t",))

    def score(verifier: str, judges: str, passed: bool | None) -> Score:
        return Score(trace_id=trace.id, verifier=verifier, judges=judges, verdict=Verdict(passed=passed))

    scores = [score("Exact", "answer", False), score("exact", "answer", True), score("steps", "steps", None)]
    reviews = [Review(trace_id=trace.id, reviewer=who, rating=rating) for who, rating in [("a", 1), ("a", 4), ("b", 5)]]
    facts = facts_of(trace, problem, scores=reversed(scores), reviews=reviews)
    assert facts.verdicts == {"exact": True, "steps": None}
    assert facts.verified is True
    assert facts.rating == 4.5
    assert facts.tags == {"p", "t"}
    assert matches(parse("émile -has:reasoning has:reference topic:a"), facts)
    assert facts_of(trace, problem, scores=[*scores, score("steps", "steps", False)]).verified is False
    assert facts_of(trace, problem, scores=[score("steps", "steps", True)]).verified is None


def test_problems_are_filtered_by_what_problems_know() -> None:
    problem = Problem(task_id="k", input="A riddle", tags=("easy",), level=1)
    assert problem_predicate(parse('tag:easy level<3 "riddle"'))(problem)
    assert not problem_predicate(parse("-tag:easy"))(problem)
    with pytest.raises(UsageError, match="cannot be filtered by 'rating'"):
        problem_predicate(parse("tag:easy OR -rating>3"))


def test_trees_built_by_hand_are_checked() -> None:
    for field, op, value in [("nope", "=", "x"), ("tag", ">", "x"), ("level", "=", "x"), ("origin", "=", "martian")]:
        with pytest.raises(UsageError):
            term(field, op, value)
    with pytest.raises(UsageError):
        negate(EVERYTHING)


@given(st.text(characters), st.text(characters))
def test_folding_leaves_nothing_a_database_cannot_hold(left: str, right: str) -> None:
    folded = fold(left)
    assert "\0" not in folded
    assert "\ufdd0" not in folded
    assert searchable(left, right).split("\ufdd0") == [folded, fold(right)]
