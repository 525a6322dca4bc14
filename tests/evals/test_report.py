"""The report: the same numbers twice, self-contained, and inert whatever a model wrote."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.records import Attempt, Evaluation, Finding, Outcome, Problem, Task, Verdict
from forethought.core.seams import SilentReporter
from forethought.errors import UsageError
from forethought.evals.compare import compare
from forethought.evals.metrics import measure
from forethought.evals.page import LONGEST, examples_of, loss_chart, marked_steps
from forethought.evals.report import Command, ReportExtra, TrainingFacts, report_data, write_report
from forethought.evals.runner import evaluate

HOSTILE = (
    "</style></title></pre><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>"
    "<a href='javascript:alert(1)'>\"'{{ 7*7 }}\u202e\x00"
)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """All tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def first(self, name: str) -> dict[str, str | None]:
        return next(attrs for tag, attrs in self.tags if tag == name)


@pytest.fixture
def report(tmp_path, task, problems, verifiers, arms):
    evaluations = evaluate(task, problems, arms, verifiers, SilentReporter())
    extra = ReportExtra(
        labels={"reasoning": "training on reasoning"},
        headline=("reasoning", "answer"),
        dataset_hash="ab" * 32,
        commands=(Command(purpose="Train", command="forethought train sft --style reasoning"),),
        training=(TrainingFacts(name="reasoning", facts={"Steps": 3}, train_loss=((0, 2.0), (1, 1.0), (2, math.nan))),),
    )
    return write_report(tmp_path / "out", "A title", task, evaluations, compare(evaluations), problems, extra)


def hostile_report(folder):
    task = Task(name="t", instructions=HOSTILE)
    problem = Problem(task_id=task.id, input={"question": HOSTILE}, reference=HOSTILE, level=1)
    finding = Finding(start=0, end=9, ok=False, message=HOSTILE)

    def outcome(**fields) -> Outcome:
        verdicts = {HOSTILE: Verdict(passed=False, reason=HOSTILE + "!", findings=(finding,))}
        attempt = Attempt(reasoning=HOSTILE, answer=HOSTILE)
        return Outcome(problem_id=problem.id, attempt=attempt, raw=HOSTILE, verdicts=verdicts, **fields)

    def evaluation(arm: str, *outcomes: Outcome) -> Evaluation:
        fields = {"model": HOSTILE, "style": HOSTILE, "outcomes": outcomes}
        times = {"seconds": 1.0, "seconds_per_problem": 1.0, "timed": 1}
        return Evaluation(task_id=task.id, arm=arm, metrics=measure(outcomes) | times, **fields)

    evaluations = [
        evaluation(HOSTILE, outcome(correct=True, steps_valid=False)),
        evaluation("b", outcome(correct=False, failure=HOSTILE)),
    ]
    extra = ReportExtra(
        labels={HOSTILE: HOSTILE},
        dataset_name=HOSTILE,
        dataset_hash=HOSTILE,
        versions={HOSTILE: HOSTILE, "items": "1"},
        commands=(Command(purpose=HOSTILE, command=HOSTILE),),
        training=(TrainingFacts(name=HOSTILE, facts={HOSTILE: HOSTILE, "items": 1}),),
    )
    return write_report(folder, HOSTILE, task, evaluations, compare(evaluations), [problem], extra)


def assert_inert(html: str) -> Page:
    page = Page(html)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "style", "action", "data", "xlink:href"}
            assert name != "href" or str(value).startswith("#")
    style = html.split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|http", style)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(a for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return page


def test_the_page_loads_nothing_and_is_well_formed(report):
    html = report[0].read_text(encoding="utf-8")
    page = assert_inert(html)
    assert "://" not in html
    assert page.first("html") == {"lang": "en"}
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hostile_text_is_inert_in_every_field_and_survives_in_json(tmp_path):
    html_path, json_path = hostile_report(tmp_path)
    html = html_path.read_text(encoding="utf-8")
    page = assert_inert(html)
    shown = HOSTILE.replace("\u202e", "\ufffd").replace("\x00", "\ufffd")
    assert page.text.count("<script>alert(1)</script>") > 15
    assert shown in page.text
    assert not re.search("[\x00-\x08\u202e]", html)
    data = json.loads(json_path.read_text(encoding="utf-8"))
    assert data["title"] == data["arms"][0]["name"] == data["commands"][0]["command"] == HOSTILE


def test_json_round_trips_and_holds_what_the_page_shows(report, problems):
    html_path, json_path = report
    text = json_path.read_text(encoding="utf-8")
    data = json.loads(text)
    assert json.dumps(data, indent=2) + "\n" == text
    needed = {"name", "accuracy", "ci_low", "ci_high", "verified_accuracy", "n", "mean_tokens"}
    needed |= {"format_valid", "steps_valid", "seconds"}
    assert [arm["name"] for arm in data["arms"]] == ["base", "answer", "reasoning"]
    assert all(needed <= set(arm) for arm in data["arms"])
    assert len(data["comparisons"]) == 3
    assert data["training"][0]["train_loss"][2] == [2, None]
    assert data["dataset"]["sha256"] == "ab" * 32
    right = sum(bool(row["arms"]["reasoning"]["correct"]) for row in data["results"])
    assert right / len(problems) == data["arms"][2]["accuracy"]
    page = Page(html_path.read_text(encoding="utf-8"))
    assert data["verdict"]["claim"] in page.text
    assert "forethought train sft --style reasoning" in page.text
    assert f"{data['arms'][2]['accuracy'] * 100:.1f}\u00a0%" in page.text


def test_a_difference_that_could_be_chance_is_called_so(tmp_path, task, problems, verifiers, arms):
    evaluations = evaluate(task, problems, arms[:2], verifiers, SilentReporter())
    comparisons = compare(evaluations)
    assert not comparisons[0].significant
    html_path, _ = write_report(tmp_path, "t", task, evaluations, comparisons, problems)
    text = Page(html_path.read_text(encoding="utf-8")).text
    assert "could be chance" in text
    assert "No clear difference" in text


def test_an_evaluation_of_which_nothing_could_be_judged_is_still_reported(tmp_path, task):
    problem = Problem(task_id=task.id, input="q")
    lost = Outcome(problem_id=problem.id, attempt=Attempt(answer=""), correct=None, failure="connection reset")
    metrics = measure([lost]) | {"seconds": 0.0, "timed": 0, "seconds_per_problem": None}
    evaluation = Evaluation(task_id=task.id, arm="a", model="m", style="answer", metrics=metrics, outcomes=(lost,))
    html_path, json_path = write_report(tmp_path, "t", task, [evaluation], compare([evaluation]), [problem])
    page = assert_inert(html_path.read_text(encoding="utf-8"))
    assert "No answer could be judged." in page.text
    assert "connection reset" in page.text
    data = json.loads(json_path.read_text(encoding="utf-8"))
    assert (data["chance_level"], data["arms"][0]["accuracy"], data["comparisons"]) == (None, None, [])


def test_a_report_is_replaced_whole_and_leaves_nothing_behind(tmp_path, task, problems, verifiers, arms):
    evaluations = evaluate(task, problems, arms[:1], verifiers, SilentReporter())
    write_report(tmp_path, "first", task, evaluations, [], problems)
    with pytest.raises(UsageError, match="at least one evaluation"):
        write_report(tmp_path, "second", task, [], [], problems)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["title"] == "first"


def test_a_disk_that_fills_up_leaves_the_old_report(tmp_path, monkeypatch, task, problems, verifiers, arms):
    evaluations = evaluate(task, problems, arms[:1], verifiers, SilentReporter())
    before = [path.read_bytes() for path in write_report(tmp_path, "first", task, evaluations, [], problems)]

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(tmp_path, "second", task, evaluations, [], problems)
    assert [(tmp_path / name).read_bytes() for name in ("report.html", "report.json")] == before
    assert len(list(tmp_path.iterdir())) == 2


def test_the_problems_hash_depends_on_content_and_order_only(task, problems, verifiers, arms):
    evaluations = evaluate(task, problems, arms[:1], verifiers, SilentReporter())

    def hash_of(some):
        return report_data("t", task, evaluations, [], some)["problems"]["sha256"]

    copies = [Problem(task_id="other", input=p.input, reference=p.reference) for p in problems]
    assert hash_of(problems) == hash_of(copies) != hash_of(problems[::-1])


def test_a_task_without_step_verifier_says_nothing_of_steps(tmp_path, task, problems, verifiers, arms):
    answers_only = [verifier for verifier in verifiers if verifier.judges == "answer"]
    evaluations = evaluate(task, problems, arms, answers_only, SilentReporter())
    html_path, json_path = write_report(tmp_path, "t", task, evaluations, compare(evaluations), problems)
    assert "the facts entail" in Page(html_path.read_text(encoding="utf-8")).text
    assert "every step" not in Page(html_path.read_text(encoding="utf-8")).text.lower()
    assert json.loads(json_path.read_text(encoding="utf-8"))["steps_checked"] is False


def test_a_best_arm_whose_steps_nobody_could_judge_is_reported(tmp_path):
    task, problem = Task(name="t", instructions="?"), Problem(id="p", task_id="t", input="q", reference="yes")

    def evaluation(arm: str, correct: bool, steps: bool | None) -> Evaluation:
        attempt = Attempt(reasoning="because", answer="yes")
        outcomes = (Outcome(problem_id="p", attempt=attempt, correct=correct, steps_valid=steps),)
        times = {"seconds": 1.0, "seconds_per_problem": 1.0, "timed": 1}
        fields = {"model": arm, "style": "reasoning", "outcomes": outcomes, "metrics": measure(outcomes) | times}
        return Evaluation(task_id=task.id, arm=arm, **fields)

    evaluations = [evaluation("checked", False, False), evaluation("best", True, None)]
    html_path, _ = write_report(tmp_path, "t", task, evaluations, compare(evaluations), [problem])
    text = Page(html_path.read_text(encoding="utf-8")).text
    assert "No verifier could judge the steps of best." in text
    assert "not checked" in text


def test_arms_without_reasoning_are_not_compared_by_their_steps(tmp_path, task, problems, verifiers, arms):
    answers = [replace(arms[1], name=name) for name in ("one", "other")]
    evaluations = evaluate(task, problems, [*answers, arms[2]], verifiers, SilentReporter())
    html_path, _ = write_report(tmp_path, "t", task, evaluations, compare(evaluations), problems)
    text = Page(html_path.read_text(encoding="utf-8")).text
    assert text.count("with every step checked") == 2


def test_each_step_carries_its_mark():
    reasoning = "First this. Then that.\nSo the end."
    steps = marked_steps(
        reasoning,
        [
            Finding(start=0, end=11, ok=True),
            Finding(start=12, end=22, ok=False, message="it does not"),
            Finding(start=26, end=34, ok=None, message="no claim"),
            Finding(start=500, end=900, ok=False),
        ],
    )
    assert [(s.mark, s.text, s.message) for s in steps] == [
        ("ok", "First this.", ""),
        ("bad", "Then that.", "it does not"),
        ("plain", "So the end.", "no claim"),
    ]


findings = st.builds(
    lambda start, length, ok: Finding(start=start, end=start + length, ok=ok),
    st.integers(-3, 40),
    st.integers(-2, 20),
    st.sampled_from([True, False, None]),
)


@given(st.text(alphabet="ab .\n", max_size=40), st.lists(findings, max_size=6))
def test_no_character_of_the_reasoning_is_lost_or_doubled(reasoning, some):
    shown = "".join(step.text for step in marked_steps(reasoning, some))
    assert "".join(shown.split()) == "".join(reasoning.split())


def test_examples_show_every_kind_and_cut_endless_text():
    problem = Problem(task_id="t", input="q", reference="yes")

    def outcome(**fields) -> Outcome:
        return Outcome(**{"problem_id": problem.id, "attempt": Attempt(answer="yes"), "correct": True} | fields)

    outcomes = [
        *[outcome(steps_valid=True)] * 9,
        outcome(),
        outcome(steps_valid=False),
        outcome(correct=False),
        outcome(correct=False, failure="unclosed", raw="x" * (LONGEST + 7)),
        outcome(correct=None),
    ]
    shown = examples_of(outcomes, {problem.id: problem})
    told = Verdict(passed=False, reason="no", findings=(Finding(start=0, end=1, ok=False, message="no"),))
    (once,) = examples_of([outcome(verdicts={"v": told})], {problem.id: problem})
    assert once.reasons == ()  # the step says it already
    assert [e.kind for e in shown] == ["verified", "verified", "right", "lucky", "wrong", "unreadable", "unjudged"]
    assert shown[5].raw.endswith("… (7 more characters)")


def test_loss_curves_fill_their_box_and_skip_what_is_no_number():
    chart = loss_chart({"train_loss": [(i, 5.0 - i / 200) for i in range(1000)], "heldout_loss": [(0, None)]})
    assert chart is not None
    (curve,) = chart.curves
    xs, ys = zip(*(map(float, point.split(",")) for point in curve.points.split()), strict=True)
    assert len(xs) <= 120
    assert (min(xs), max(xs), min(ys)) == (0, 100, 0)
    assert max(ys) <= 100
    assert loss_chart({"train_loss": [(0, 1.0)], "heldout_loss": []}) is None


def test_text_contrast_meets_wcag_aa_in_both_schemes(report):
    style = report[0].read_text(encoding="utf-8").split("<style>")[1]
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media", 2)[:2])

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    text = [(ink, ground) for ink in ("ink", "soft") for ground in ("page", "surface", "sunken")]
    text += [(tone, f"{tone}-soft") for tone in ("good", "bad", "warn", "accent")]
    text += [(tone, "surface") for tone in ("good", "bad", "accent")] + [("accent", "page")]
    shapes = [(shape, "surface") for shape in ("accent", "checked", "neutral", *(f"s{i}" for i in range(6)))]
    for scheme in (light, dark):
        assert {pair for pair in text if contrast(scheme[pair[0]], scheme[pair[1]]) < 4.5} == set()
        assert {pair for pair in shapes if contrast(scheme[pair[0]], scheme[pair[1]]) < 3} == set()
