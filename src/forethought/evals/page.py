"""The report as a page: templates, the shapes of curves, and the examples with each step marked."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from forethought.core.records import Evaluation, Finding, Json, Outcome, Problem
from forethought.evals.metrics import METRICS
from forethought.evals.verdict import mirrored, p_value, percent, points

if TYPE_CHECKING:
    from jinja2 import Environment

Mark = Literal["ok", "bad", "plain"]

PER_KIND = 2
"""Examples shown of each kind for each arm."""
LONGEST = 4_000
"""Characters shown of one text; a model that repeats itself forever must not drown the page."""
CURVE_POINTS = 120

KINDS: dict[str, str] = {
    "verified": "Right, and every step checks",
    "right": "Right",
    "lucky": "Right answer, but the steps do not hold",
    "wrong": "Wrong",
    "unreadable": "Not readable",
    "unjudged": "Not judged",
}


@dataclass(frozen=True)
class Step:
    """A stretch of reasoning and what the verifiers say of it."""

    mark: Mark
    text: str
    message: str = ""


@dataclass(frozen=True)
class Example:
    """One outcome as it is shown. ``raw`` replaces steps and answer where nothing could be read."""

    kind: str
    problem: str
    level: int | None
    reference: str
    answer: str
    steps: tuple[Step, ...]
    raw: str
    failure: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """A polyline in a box of 100 x 100, y downwards."""

    name: str
    points: str


@dataclass(frozen=True)
class CurveChart:
    """Loss curves on common axes; the extremes label the axes."""

    curves: tuple[Curve, ...]
    first_step: int
    last_step: int
    low: float
    high: float


def render_page(data: Mapping[str, Any], evaluations: Sequence[Evaluation], problems: Sequence[Problem]) -> str:
    """The whole page from the report's data, with examples taken from the outcomes."""
    style = _file("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    order = _arm_first(data["arms"], data["verdict"]["arm"])
    known = {problem.id: problem for problem in problems}
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            data=data,
            style=style,
            style_hash=f"sha256-{digest}",
            metrics=METRICS,
            comparisons=_most_telling_first(data["comparisons"], data["verdict"]),
            levels=sorted({row["level"] for arm in data["arms"] for row in arm["by_level"]}),
            most_tokens=max((arm["mean_tokens"] or 0 for arm in data["arms"]), default=0) or 1,
            charts_of={facts["name"]: loss_chart(facts) for facts in data["training"]},
            examples={e.arm: examples_of(e.outcomes, known) for e in evaluations},
            example_order=order,
            kinds=KINDS,
        )
    )


def examples_of(outcomes: Iterable[Outcome], problems: Mapping[str, Problem]) -> list[Example]:
    """A few outcomes of every kind that occurs, kinds in the order of ``KINDS``, spread over the problems."""
    by_kind: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
    for outcome in outcomes:
        if outcome.problem_id in problems:
            by_kind[_kind(outcome)].append(outcome)
    return [
        _example(kind, problems[outcome.problem_id], outcome)
        for kind, found in by_kind.items()
        for outcome in found[:: max(1, math.ceil(len(found) / PER_KIND))]
    ]


def marked_steps(reasoning: str, findings: Iterable[Finding]) -> list[Step]:
    """The reasoning cut where findings begin and end, each piece with its mark.

    Where findings overlap the worst one counts; what no finding covers is plain, and leads into the next step if it
    ends no sentence (the "So" of "So all ..."); offsets outside are clipped.
    """
    spans = [(max(0, f.start), min(len(reasoning), f.end), f) for f in findings]
    spans = [span for span in spans if span[0] < span[1]]
    cuts = sorted({0, len(reasoning), *(s for s, _, _ in spans), *(e for _, e, _ in spans)})
    steps: list[Step] = []
    lead_in = 0
    for start, end in pairwise(cuts):
        covering = [f for s, e, f in spans if s <= start and end <= e]
        text = reasoning[lead_in:end].strip()
        ends_line = reasoning[start:end].rstrip(" ").endswith((".", "!", "?", ":", ";", "\n"))
        ends_sentence = ends_line or end == len(reasoning)
        if text and (covering or ends_sentence):
            steps.append(_step(text, covering))
        if covering or ends_sentence:
            lead_in = end
    return steps


def loss_chart(facts: Mapping[str, Any]) -> CurveChart | None:
    """The curves of one training run; None where there are fewer than two points to connect."""
    series = {
        name: _thinned([(s, y) for s, y in facts[key] if y is not None and math.isfinite(y)])
        for name, key in (("training", "train_loss"), ("held-out", "heldout_loss"))
    }
    series = {name: found for name, found in series.items() if len(found) > 1}
    if not series:
        return None
    steps = [step for found in series.values() for step, _ in found]
    losses = [loss for found in series.values() for _, loss in found]
    first, last, high = min(steps), max(steps), max(losses)
    low = min(0.0, *losses)

    def place(step: float, loss: float) -> str:
        x = 100 * (step - first) / ((last - first) or 1)
        y = 100 * (high - loss) / ((high - low) or 1)
        return f"{x:.2f},{y:.2f}"

    curves = tuple(Curve(name, " ".join(place(*point) for point in found)) for name, found in series.items())
    return CurveChart(curves, round(first), round(last), low, high)


def _thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``CURVE_POINTS`` points, each the mean of its neighbours."""
    size = math.ceil(len(curve) / CURVE_POINTS) or 1
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(sum(s for s, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _kind(outcome: Outcome) -> str:
    if outcome.correct is None:
        return "unjudged"
    if outcome.failure is not None:
        return "unreadable"
    if not outcome.correct:
        return "wrong"
    return {True: "verified", False: "lucky", None: "right"}[outcome.steps_valid]


def _example(kind: str, problem: Problem, outcome: Outcome) -> Example:
    verdicts = outcome.verdicts.values()
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    told = {"", *(finding.message for finding in findings)}
    reasoning = _cut(outcome.attempt.reasoning or "")
    readable = outcome.failure is None
    return Example(
        kind=kind,
        problem=_cut(_as_text(problem.input)),
        level=problem.level,
        reference=_cut(problem.reference or ""),
        answer=_cut(outcome.attempt.answer) if readable else "",
        steps=tuple(marked_steps(reasoning, findings)) if readable else (),
        raw="" if readable else _cut(outcome.raw or outcome.attempt.answer),
        failure=outcome.failure or "",
        reasons=tuple(dict.fromkeys(_cut(v.reason) for v in verdicts if v.reason not in told and v.passed is not True)),
    )


def _step(text: str, findings: Sequence[Finding]) -> Step:
    verdicts = {finding.ok for finding in findings}
    mark: Mark = "bad" if False in verdicts else "ok" if True in verdicts else "plain"
    worst = [f for f in findings if f.ok is False] or findings
    return Step(mark, text, "; ".join(dict.fromkeys(f.message for f in worst if f.message)))


def _most_telling_first(comparisons: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each pair told from its better side, the headline's pair on top."""
    told = [mirrored(c) if c["difference"] < 0 else dict(c) for c in comparisons]
    headline = {verdict["arm"], verdict["baseline"]}
    return sorted(told, key=lambda c: ({c["arm"], c["baseline"]} != headline, -c["difference"]))


def _arm_first(arms: Sequence[Mapping[str, Any]], first: str | None) -> list[Mapping[str, Any]]:
    return sorted(arms, key=lambda arm: arm["name"] != first)


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"


_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that reorder the text around them."""


def _visible(value: object) -> object:
    """What a template prints: text loses characters that a page must not contain or that would mislead its reader."""
    from markupsafe import Markup

    return _INVISIBLE.sub("\ufffd", value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    """Autoescaping is on for everything; the templates and the style sheet are the only trusted text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("forethought.evals"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "p_value": p_value,
        "at": lambda share: f"{100 * share:.2f}%",
        "trusted": Markup,
    }
    return environment


def _file(name: str) -> str:
    from importlib.resources import files

    return files("forethought.evals").joinpath("templates", name).read_text(encoding="utf-8")
