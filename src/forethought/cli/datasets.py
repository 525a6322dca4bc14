"""``forethought dataset``: frozen snapshots."""

from __future__ import annotations

from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_list, emit_one
from forethought.cli.state import state

app = typer.Typer(help="Frozen datasets.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    task: Annotated[str, typer.Option("--task", "-t", help="Name or id of the task.")],
    where: Annotated[
        str,
        typer.Option("--filter", "-f", help="Which traces or problems; see docs/filters.md."),
    ] = "",
    kind: Annotated[str, typer.Option(help="sft: one trace a problem to learn from; problems: to be solved.")] = "sft",
    split: Annotated[str, typer.Option(help="Shares that sum to 1.")] = "train=0.8,val=0.1,test=0.1",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    stratify: Annotated[str, typer.Option(help="Spread evenly: reference, topic or level.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Freeze what matches a filter, split by seed and hashed.

    A reference that the task's verifiers refuse is an error.
    """
    from forethought.services import datasets

    dataset = datasets.create(
        state.bench(), name, task=task, where=where, kind=kind, split=split, seed=seed, stratify=stratify
    )
    if as_json:
        emit_one(dataset, as_json=True)
    else:
        console().print(datasets.sentence(dataset), soft_wrap=True)


@app.command("list")
def list_datasets(as_json: JsonFlag = False) -> None:
    """All datasets."""
    from forethought.services import datasets

    emit_list(
        datasets.list_all(state.bench()),
        [
            ("name", lambda d: d.name),
            ("kind", lambda d: d.kind),
            ("items", lambda d: ", ".join(f"{split} {count}" for split, count in d.counts.items())),
            ("filter", lambda d: d.filter or None),
            ("created", lambda d: d.created_at),
        ],
        as_json=as_json,
    )


@app.command()
def show(dataset: Annotated[str, typer.Argument(help="Name or id of the dataset.")], as_json: JsonFlag = False) -> None:
    """One dataset: how it was made and what is in it."""
    from forethought.services import datasets

    emit_one(datasets.show(state.bench(), dataset), as_json=as_json)
