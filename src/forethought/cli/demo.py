"""What ``forethought demo`` shows while it works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from forethought.cli.evaluations import emit_arms
from forethought.cli.output import console
from forethought.cli.progress import bar
from forethought.services.demo import Demo
from forethought.services.workbench import Workbench


def show_demo(bench: Workbench, *, task: str, out: Path, fast: bool, fresh: bool, quiet: bool) -> dict[str, Any]:
    """Runs the demonstration step by step; returns the content of ``report.json``."""
    say = console(stderr=True)
    demo = Demo.plan_for(bench, task, out, fast=fast, fresh=fresh)
    began = time.monotonic()
    for number, step in enumerate(demo.steps(), start=1):
        say.print(f"\n{number}. {step.title}", style="bold")
        say.print(f"   $ {step.command}", style="dim", soft_wrap=True)
        started = time.monotonic()
        with bar(f"   step {number}", logs=False) as reporter:
            result = step.act(reporter)
        say.print(f"   {result}  ({time.monotonic() - started:.0f} s)", soft_wrap=True)
    if not quiet:
        say.print()
        emit_arms(demo.report["arms"])
    say.print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes. Now")
    for purpose, command in {"look at the proof": str(out / "report.html"), **demo.next_commands()}.items():
        say.print(f"  {purpose:<20}{command}", soft_wrap=True)
    return demo.report
