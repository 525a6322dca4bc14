"""Tables fit the terminal they are shown in."""

import json
from datetime import UTC, datetime

import pytest
from fixtures.command_line import answer, forethought

from forethought.cli.evaluations import ARM_COLUMNS, ARM_LEGEND, emit_arms
from forethought.cli.output import emit_list
from forethought.core.ids import new_id, short_id

MADE = datetime(2026, 11, 21, 15, 26, tzinfo=UTC)
RECORDS = [
    {"id": new_id(), "created": MADE, "count": 24, "share": "95.5 %", "what": "All bloops are razzies. " * 9},
    {"id": new_id(), "created": MADE, "count": 1234567, "share": None, "what": "short\nlines"},
]
COLUMNS = [(name, lambda r, name=name: r[name]) for name in ("id", "count", "created", "what", "share")]
ARM = {"name": "answers-only", "accuracy": 0.4851, "ci_low": 0.41, "ci_high": 0.5567, "verified_accuracy": 1.0}
ARM |= {"format_valid": 1.0, "steps_valid": None, "mean_tokens": 123.4567, "seconds": 1234.5, "n": 200}


@pytest.fixture(params=[60, 80, 120])
def columns(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def shown(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_row_is_one_line_of_whole_headers_ids_and_numbers(columns, capsys):
    emit_list(RECORDS, COLUMNS, as_json=False)
    lines = shown(capsys)
    assert len(lines) == 1 + len(RECORDS)
    assert max(map(len, lines)) <= columns
    for line, record in zip(lines[1:], RECORDS, strict=True):
        assert line.split()[:2] == [short_id(record["id"]), str(record["count"])]
    assert lines[0].split()[:2] == ["id", "count"]
    assert lines[0].endswith("share")
    assert lines[1].endswith("…  95.5 %")
    assert "short lines" in lines[2]


@pytest.mark.parametrize(("columns", "made"), [("50", ""), ("60", "2026-11-21  "), ("80", "2026-11-21 15:26  ")])
def test_dates_give_way_first(columns, made, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    records = [record | {"what": "w" * 33} for record in RECORDS]
    emit_list(records, COLUMNS, as_json=False)
    said = capsys.readouterr()
    assert f"24       {made}www" in said.out
    assert said.err == ("" if made else "not shown in a window this narrow: created\n")


def test_results_are_readable_and_explained(columns, capsys):
    emit_arms([ARM, ARM | {"name": "b", "ci_low": None, "ci_high": None}])
    lines = shown(capsys)
    assert lines[0].split()[:2] == ["arm", "accuracy"]
    assert lines[1].startswith("answers-only  48.5 %    41.0–55.7  200")
    assert max(map(len, lines)) <= columns
    assert "None" not in lines[2]
    explained = " ".join(" ".join(lines[3:]).split())
    assert explained == ARM_LEGEND
    assert all(f"{header}:" in explained for header, _ in ARM_COLUMNS[3:])


def test_a_terminal_wide_enough_shows_every_result(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    emit_arms([ARM | {"name": "thinker"}])
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[1].split()[-2:] == ["123", "1234"]


def test_programs_get_everything_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    plain = [record | {"created": "2026"} for record in RECORDS]
    emit_list(plain, COLUMNS, as_json=True)
    assert json.loads(capsys.readouterr().out) == plain


def test_wide_letters_take_their_room(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    emit_list([{"a": "名" * 30, "b": 1}], [("b", lambda r: r["b"]), ("a", lambda r: r["a"])], as_json=False)
    row = shown(capsys)[1]
    assert row.count("名") == 13
    assert row.endswith("…")


def test_no_summary_of_a_command_is_cut():
    from typer.main import get_command

    from forethought.cli.app import app

    root = get_command(app)
    for path, group in {"": root, **root.commands}.items():
        if commands := getattr(group, "commands", None):
            longest = max(map(len, commands))
            for name, command in commands.items():
                assert not command.get_short_help_str(80 - 2 - 6 - longest).endswith("..."), f"{path} {name}"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    for task in ("syllogism", "loan"):
        answer(folder, "task", "example", task)
    answer(folder, "data", "generate", "-t", "syllogism", "-n", "6", "--tag", "learn")
    answer(
        folder, "data", "generate", "-t", "loan", "-n", "3", "--no-solve", "--vocabulary", "heldout", "--tag", "judge"
    )
    return folder


def test_a_list_of_traces_shows_what_was_asked(workspace):
    traces = answer(workspace, "data", "list", "-t", "syllogism")
    asked = [answer(workspace, "data", "show", trace["id"])["problem"]["input"] for trace in traces]
    lines = forethought(workspace, "data", "list", "-t", "syllogism").stdout.splitlines()
    assert "input" in lines[0]
    for line, trace, question in zip(lines[1:], traces, asked, strict=True):
        assert line.split()[0] == short_id(trace["id"])
        assert question[:15] in line


def test_problems_nobody_attempted_can_be_looked_at(workspace):
    found = answer(workspace, "data", "problems", "-t", "loan", "-f", "tag:judge", "--limit", "2")
    assert len(found) == 2
    shown = forethought(workspace, "data", "problems", "-t", "loan", "-f", "tag:judge", environment={"COLUMNS": "120"})
    assert json.dumps(found[0]["input"], separators=(",", ":"))[:20] in shown.stdout
    assert "3 of 3" in shown.stderr
    (last,) = answer(workspace, "data", "problems", "-t", "loan", "--after", found[1]["id"])
    assert answer(workspace, "data", "show", short_id(last["id"])) == last
    assert "no more" in forethought(workspace, "data", "problems", "-t", "loan", "--after", last["id"]).stderr
    empty = forethought(workspace, "data", "list", "-t", "loan")
    assert empty.stderr == "no traces yet, but 3 problems: see 'forethought data problems'\n"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("input.debt>5", 'searched as text: "input.debt>5"; fields: text, has, '),
        ("reasoning~total", "docs/filters.md"),
        ("verified:yes nonsense", 'text: "nonsense"'),
        ("tag:lern", "Did you mean 'learn'?"),
        ("level>=99", "none of 6 match\n"),
    ],
)
def test_a_filter_that_finds_nothing_says_what_it_looked_for(workspace, where, said):
    for listing in ("list", "problems")[: 1 if "verified" in where else 2]:
        done = forethought(workspace, "data", listing, "-t", "syllogism", "-f", where)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.startswith("none of 6 match")
        assert said in done.stderr
    refused = forethought(workspace, "dataset", "create", "none", "-t", "syllogism", "-f", where)
    assert (refused.returncode, said.strip() in refused.stderr) == (1, True)


def test_a_frozen_dataset_is_one_sentence(workspace):
    done = forethought(workspace, "dataset", "create", "learn", "-t", "syllogism", "--split", "train=0.8,val=0.2")
    frozen = answer(workspace, "dataset", "show", "learn")
    counts = f"{frozen['counts']['train']} train, {frozen['counts']['val']} val"
    assert done.stdout == f"'learn': {counts}, hash {frozen['content_hash'][:12]}…\n"


def test_what_is_there_without_the_tag_says_how_to_get_others(workspace):
    words = ("data", "generate", "-t", "syllogism", "-n", "6")
    assert "another --seed" in forethought(workspace, *words, "--tag", "other").stdout
    assert "--seed" not in forethought(workspace, *words, "--tag", "learn").stdout
