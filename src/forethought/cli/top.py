"""Commands without a noun: demo, init, doctor, serve, worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list
from forethought.cli.state import state


def register(app: typer.Typer) -> None:
    """Adds the commands to the root."""
    for command in (demo, init, doctor, serve, worker):
        app.command()(command)


def demo(
    task: Annotated[str, typer.Option(help="syllogism, loan or arithmetic.")] = "syllogism",
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")] = Path("demo"),
    fast: Annotated[bool, typer.Option("--fast", help="A first look in three minutes, with little data.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do everything again instead of going on.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The whole way: data, training, proof, a model to talk to."""
    from forethought.cli.demo import show_demo

    report = show_demo(state.bench(), task=task, out=out, fast=fast, fresh=fresh, quiet=as_json)
    if as_json:
        emit_json(report)


def init(as_json: JsonFlag = False) -> None:
    """Make the workspace, or bring an old one up to date."""
    bench = state.bench()
    about = {"workspace": str(bench.workspace.root), "database": bench.database}
    if as_json:
        emit_json(about)
    else:
        console().print(f"workspace {about['workspace']}\ndatabase  {about['database']}", soft_wrap=True)


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Skip the measured tokens per second.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """What this machine can do, and what is missing."""
    from forethought.services import doctor as service

    checks = service.examine(state.workspace, measure=not quick)
    emit_list(
        checks,
        [
            ("", lambda c: {"ok": "✓", "warn": "!", "missing": "✗"}[c.status]),
            ("what", lambda c: c.name),
            ("found", lambda c: f"{c.found}: {c.advice}" if c.advice else c.found),
        ],
        as_json=as_json,
        wrap=True,
    )
    if any(check.status == "missing" for check in checks):
        raise typer.Exit(1)


def serve(
    model: Annotated[
        list[str] | None, typer.Option(help="Only these models (names or aliases); all when absent.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; only loopback is allowed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
) -> None:
    """Answer OpenAI-style requests for the models of this workspace."""
    from forethought.serving.workspace import serve_workspace

    def ready(url: str) -> None:
        console(stderr=True).print(f"answering at {url}  (Ctrl-C ends)", soft_wrap=True)

    serve_workspace(state.bench(), only=tuple(model or ()), host=host, port=port, on_ready=ready)


def worker(
    run: Annotated[str | None, typer.Option(help="Work on this run only.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing is queued.")] = False,
) -> None:
    """Work on queued runs until stopped."""
    from forethought.services import runs

    runs.work(state.bench(), run=run, once=once)
