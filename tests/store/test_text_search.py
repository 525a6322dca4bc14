"""The text index changes how long a search takes, never what is found."""

import pytest
from fixtures.filter_strategies import NASTY

import forethought.store.text_search as text_search
from forethought.core.facts import fold
from forethought.core.filter_spec import Not, Term
from forethought.core.records import Problem, Task, Trace
from forethought.store.filter_sql import condition
from forethought.store.store import Store

ANSWERS = [
    "",
    "z",
    "zq",
    "a zq",
    "zqa",
    "tea",
    "学",
    "学习",
    "学习 zq",
    "\U0010ffff",
    "z\U0010ffff",
    "%_",
    'a"b',
    "Straße",
]
WANTED = [
    "z",
    "zq",
    "q",
    "a",
    "学",
    "学习",
    "习",
    "习 ",
    "\U0010ffff",
    "z\U0010ffff",
    "%",
    "_",
    '"',
    "ss",
    "ße",
    "zqa",
    "ea",
    "?",
]


@pytest.fixture
def answers(store: Store) -> dict[str, str]:
    """Trace id -> answer."""
    task = store.add_task(Task(name="k", instructions=""))
    problem = Problem(task_id=task.id, input="")
    store.add_problems([problem])
    texts = [*ANSWERS, *NASTY]
    traces = [Trace(task_id=task.id, problem_id=problem.id, answer=text, origin="human") for text in texts]
    store.add_traces(traces)
    return {trace.id: trace.answer for trace in traces}


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_short_and_long_texts_are_found_with_and_without_the_index(
    store: Store, answers: dict[str, str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_search, "FEW", few)
    for wanted in [*WANTED, *NASTY]:
        found = [id_ for id_, answer in answers.items() if fold(wanted) in fold(answer)]
        others = [id_ for id_ in answers if id_ not in found]
        holds = Term(field="text", op="=", value=wanted)
        assert store.trace_ids(holds) == found, wanted
        assert store.count(holds) == len(found), wanted
        assert [one.id for one in store.traces(holds, limit=2)] == found[:2], wanted
        assert store.trace_ids(Not(part=holds)) == others, wanted


def test_sqlite_reads_no_texts_for_letters_that_nowhere_follow_each_other(
    store: Store, answers: dict[str, str]
) -> None:
    if store.dialect != "sqlite":
        pytest.skip("only SQLite has the index")
    with store.read() as connection:
        for wanted in ("qz", "ü", "zqb"):
            search = text_search.TextSearch(connection, has_index=True)
            condition(Term(field="text", op="=", value=wanted), search)
            assert not search.reads_texts, wanted
