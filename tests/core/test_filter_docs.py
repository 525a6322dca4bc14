"""What ``docs/filters.md`` tells is what the program does."""

import re
from pathlib import Path

import pytest

from forethought.core.filters import FIELDS, Term, parse, terms_of, to_text

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text("utf-8")
EXAMPLES = re.findall(r"^\| `(.+?)` \|", PAGE.split("## Examples")[1], re.MULTILINE)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## The fields")[1].split("## Examples")[0].splitlines()
    if line.startswith("| `")
]


def test_every_field_has_its_row_and_its_values():
    assert [row[0].strip("`") for row in ROWS] == list(FIELDS)
    for name, values, _, for_problems in ROWS:
        field = FIELDS[name.strip("`")]
        assert re.findall(r"`(\w+)`", values) == list(field.choices) or field.kind != "choice"
        assert for_problems.startswith("yes") == field.of_problem


def test_there_are_ten_examples():
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_means_what_it_shows(example):
    spec = parse(example)
    assert parse(to_text(spec)) == spec
    named = set(re.findall(r"(\w+)(?::|>=|<=|<|>)", example))
    assert {term.field for term in terms_of(spec)} - {"text"} == named


@pytest.mark.parametrize("words", ["input.debt>5", "reasoning~total", "nonsense"])
def test_what_is_not_written_like_a_condition_is_text(words):
    assert parse(words) == Term("text", "=", words)
