"""How long the store takes with 100,000 traces on SQLite: filling, counting, filtering, paging, free text.

    python benchmarks/store.py [--traces 100000] [--out benchmarks/results/store.json]

Prints JSON: for each question the minimum and the median of the repeats, in milliseconds. Every question is asked of a
freshly opened store first, then repeated; the first time is in the figures. The aim is a median below 100 ms each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forethought.core.records import Dataset, Problem, Review, Score, Task, Trace, Verdict
from forethought.store.store import Store

AIM_MS = 100.0
REPEATS = 7
BATCH = 5000
TRACES_PER_PROBLEM = 4
FILTERS = {
    "everything": "",
    "has reasoning": "has:reasoning",
    "rating": "rating>=4",
    "tag": "tag:finance",
    "the example": "has:reasoning rating>=4 tag:finance -tag:draft (origin:human OR verified:yes) created>2026-01-01",
    "without tags": "-tag:finance -tag:draft",
    "verified": "verified:yes",
    "verifier by name": "verifier:exact=fail",
    "topic": "topic:law/tax",
    "model": "model:teacher-1",
    "level and length": "level>=3 length>500",
    "dates": "created>=2026-02-01 created<2026-02-15",
    "dataset split": "dataset:frozen split:train",
    "not in a dataset": "-dataset:frozen",
    "not repaired, not failed": "-repaired:yes -failed:yes",
    "rare word": '"quaggazebra"',
    "common word": '"because"',
    "phrase": '"therefore the answer"',
    "two letters": '"zq"',
    "two letters, the first frequent": '"tq"',
    "frequent letters": '"th"',
    "another script": '"学"',
    "absent word": '"xyzzyplugh"',
    "not a word": '-"because"',
}


def main() -> None:
    """Fills a store in a temporary folder, asks, prints and writes the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--traces", type=int, default=100_000)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store.json")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/forethought.db"
        filling = fill(url, options.traces)
        asked = ask(url)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    report = {
        "command": "python benchmarks/store.py",
        "traces": options.traces,
        "machine": {
            "cpus": os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "filling": filling,
        "megabytes": round(size / 1e6),
        "aim_ms": AIM_MS,
        "above_aim": [name for name, figures in asked.items() if figures["median_ms"] > AIM_MS],
        "questions": asked,
    }
    text = json.dumps(report, indent=1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    print(text)


def fill(url: str, count: int) -> dict[str, float]:
    """Stores problems, traces, scores, some reviews and a dataset; seconds for each."""
    draw = random.Random(0)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - start, 2)

    with Store.open(url) as store:
        task = store.add_task(Task(name="bench", instructions=""))
        problems = [make_problem(task, draw) for _ in range(count // TRACES_PER_PROBLEM)]
        timed("problems_s", lambda: store.add_problems(problems))
        chosen: list[str] = []
        for start in range(0, count, BATCH):
            traces = [
                make_trace(problems[number // TRACES_PER_PROBLEM], number, draw)
                for number in range(start, min(start + BATCH, count))
            ]
            scores = [make_score(trace, draw) for trace in traces]
            timed("traces_s", lambda traces=traces: store.add_traces(traces))
            timed("scores_s", lambda scores=scores: store.add_scores(scores))
            chosen += [trace.id for trace in traces if draw.random() < 0.3]
            for trace in draw.sample(traces, BATCH // 50):
                review = Review(trace_id=trace.id, reviewer="r", rating=draw.randint(1, 5))
                timed("reviews_s", lambda review=review: store.add_review(review))
        cut = len(chosen) * 4 // 5
        parts = {"train": chosen[:cut], "test": chosen[cut:]}
        frozen = Dataset(name="frozen", task_id=task.id, task_revision=1)
        timed("dataset_s", lambda: store.add_dataset(frozen, parts))
    return seconds


def ask(url: str) -> dict[str, dict[str, float]]:
    """Every question's figures."""
    figures: dict[str, dict[str, float]] = {}
    with Store.open(url) as store:
        task_id = store.task("bench").id
        middle = store.traces("", task_id=task_id, limit=50_000)[-1].id

        def measure(name: str, question: Callable[[], object]) -> None:
            times: list[float] = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                answer = question()
                times.append((time.perf_counter() - start) * 1000)
            found = answer if isinstance(answer, int) else len(answer) if isinstance(answer, list) else 0
            figures[name] = {
                "min_ms": round(min(times), 1),
                "median_ms": round(statistics.median(times), 1),
                "found": found,
            }

        for name, text in FILTERS.items():
            measure(f"count: {name}", lambda text=text: store.count(text, task_id=task_id))
            measure(f"first page: {name}", lambda text=text: store.traces(text, task_id=task_id, limit=50))
        for order in ("oldest", "newest", "best", "longest"):
            measure(
                f"page from the middle: {order}",
                lambda order=order: store.traces("", task_id=task_id, limit=50, after=middle, order=order),
            )
            measure(
                f"filtered page from the middle: {order}",
                lambda order=order: store.traces(
                    "tag:finance verified:yes", task_id=task_id, limit=50, after=middle, order=order
                ),
            )
        measure("one trace by the start of its id", lambda: store.trace(middle[:-2]))
        measure("one task by name", lambda: store.task("bench"))
    return figures


def make_problem(task: Task, draw: random.Random) -> Problem:
    """About 300 characters of input."""
    return Problem(
        task_id=task.id,
        input=sentence(draw, 45),
        reference=str(draw.randint(0, 99)),
        topic=("law", draw.choice(["tax", "labour", "family"])),
        level=draw.randint(1, 5),
        tags=(draw.choice(["finance", "health", "travel", "food"]),),
    )


def make_trace(problem: Problem, number: int, draw: random.Random) -> Trace:
    """About 600 characters of reasoning, made one every minute from 2026 on."""
    reasoning = sentence(draw, 85) + " therefore the answer is clear"
    return Trace(
        task_id=problem.task_id,
        problem_id=problem.id,
        reasoning=reasoning if draw.random() < 0.8 else None,
        answer=str(draw.randint(0, 99)) + (" quaggazebra" if number % 9973 == 0 else ""),
        origin=draw.choice(["human", "model", "solver"]),
        model=f"teacher-{draw.randint(1, 5)}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        tags=("draft",) if draw.random() < 0.2 else (),
        failure="cut" if draw.random() < 0.05 else None,
    )


def make_score(trace: Trace, draw: random.Random) -> Score:
    """A verdict that passes more often than not."""
    return Score(
        trace_id=trace.id,
        verifier=draw.choice(["exact", "math"]),
        judges="answer",
        verdict=Verdict(passed=draw.random() < 0.7),
    )


def sentence(draw: random.Random, words: int) -> str:
    """Words of a made-up language, some of them frequent."""
    return " ".join(draw.choices(_WORDS, _WEIGHTS, k=words))


def _language() -> tuple[list[str], list[float]]:
    draw = random.Random(1)
    syllables = ["ba", "cor", "dem", "fi", "gul", "han", "jo", "kel", "lim", "mur", "nes", "pol", "rit", "sab", "tun"]
    made = {"".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(3000)}
    words = ["because", "the", "if", "then", *sorted(made)]
    return words, [1 / (rank + 1) for rank in range(len(words))]  # Zipf


_WORDS, _WEIGHTS = _language()


if __name__ == "__main__":
    main()
