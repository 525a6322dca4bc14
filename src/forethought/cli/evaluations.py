"""``forethought eval``: proof on held-out problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list
from forethought.cli.runs import follow_to_the_end
from forethought.cli.state import state
from forethought.core.ids import short_id

app = typer.Typer(help="Evaluate models on held-out problems.", no_args_is_help=True)

ARM_COLUMNS = [
    ("arm", lambda a: a["name"]),
    ("accuracy", lambda a: _percent(a["accuracy"])),
    ("95 % CI", lambda a: _interval(a["ci_low"], a["ci_high"])),
    ("n", lambda a: a["n"]),
    ("verified", lambda a: _percent(a["verified_accuracy"])),
    ("steps", lambda a: _percent(a["steps_valid"])),
    ("format", lambda a: _percent(a["format_valid"])),
    ("tokens", lambda a: a["mean_tokens"]),
    ("seconds", lambda a: a["seconds"]),
]
ARM_LEGEND = (
    "n: problems; verified: right, and every step checks; steps: no wrong step; "
    "format: answer readable; tokens: mean of a problem; seconds: of all problems"
)


def emit_arms(arms: Sequence[Mapping[str, Any]]) -> None:
    """The results of an evaluation as a table, and what its columns mean."""
    emit_list(arms, ARM_COLUMNS, as_json=False)
    console().print(ARM_LEGEND, style="dim")


@app.command()
def run(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Frozen dataset whose problems are solved.")],
    arm: Annotated[
        list[str],
        typer.Option(help="NAME=MODEL[+PROMPT][@STYLE], repeatable. Example: few-shot=smollm2+few-shot@reasoning"),
    ],
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    shots_from: Annotated[str, typer.Option(help="Dataset whose train split gives the few-shot examples.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=32_768, help="Longest completion.")] = 256,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Do not wait for another training or evaluation on this machine.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare arms on the same problems, in pairs; write a report."""
    from forethought.services import evaluations

    bench = state.bench()
    submitted = evaluations.submit(
        bench,
        dataset=dataset,
        split=split,
        arms=arm,
        shots_from=shots_from,
        limit=limit,
        max_tokens=max_tokens,
        parallel=parallel,
    )
    ended = follow_to_the_end(bench, submitted, detach=detach)
    if detach:
        if as_json:
            emit_json(ended.model_dump(mode="json"))
        return
    report = evaluations.read_report(bench, ended.id)
    if out is not None:
        evaluations.copy_report(bench, ended.id, out)
    if as_json:
        emit_json(report)
    else:
        emit_arms(report["arms"])
        for warning in evaluations.unreadable(report):
            said = f"{warning}; look at: forethought eval report {short_id(ended.id)}"
            console(stderr=True).print(said, soft_wrap=True)
        console().print(
            f"report: {(out or evaluations.report_folder(bench, ended.id)) / 'report.html'}", soft_wrap=True
        )


@app.command("list")
def list_evaluations(as_json: JsonFlag = False) -> None:
    """All evaluations, newest first."""
    from forethought.services import evaluations

    emit_list(
        evaluations.list_all(state.bench()),
        [
            ("id", lambda e: e.id),
            ("arm", lambda e: e.arm),
            ("model", lambda e: e.model),
            ("accuracy", lambda e: _percent(e.metrics.get("accuracy"))),
            ("n", lambda e: e.metrics.get("n")),
            ("created", lambda e: e.created_at),
        ],
        as_json=as_json,
    )


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Id of an evaluation, or its start or end.")],
    second: Annotated[str, typer.Argument(help="Id of another one on the same problems.")],
    as_json: JsonFlag = False,
) -> None:
    """Paired comparison of two evaluations on the problems they share."""
    from forethought.services import evaluations

    comparison = evaluations.compare(state.bench(), first, second)
    if as_json:
        emit_json(comparison)
    else:
        for key, value in comparison.items():
            console().print(f"{key:<28} {value}")


@app.command()
def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the evaluation run, or its start or end.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json; report-RUN here when absent.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the report of an evaluation run again."""
    from forethought.services import evaluations

    bench = state.bench()
    written = evaluations.copy_report(bench, run_id, out or Path(f"report-{short_id(bench.store.run(run_id).id)}"))
    if as_json:
        emit_json(evaluations.read_report(bench, run_id))
    else:
        console().print(str(written), soft_wrap=True)


def _percent(share: object) -> str | None:
    return f"{100 * share:.1f} %" if isinstance(share, int | float) else None


def _interval(low: object, high: object) -> str | None:
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return f"{100 * low:.1f}–{100 * high:.1f}"
