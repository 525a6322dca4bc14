"""``forethought models``: what was trained, and talking to it."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forethought.cli.output import JsonFlag, console, emit_list, emit_one, printable
from forethought.cli.state import state
from forethought.errors import ForethoughtError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

app = typer.Typer(help="Models: show, talk to, promote.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name, alias or id of a model.")]


@app.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """All models with their aliases."""
    from forethought.services import models

    emit_list(
        models.list_all(state.bench()),
        [
            ("name", lambda m: m["name"]),
            ("aliases", lambda m: ", ".join(m["aliases"]) or None),
            ("base", lambda m: m["base"]),
            ("adapter", lambda m: m["adapter"] or None),
            ("style", lambda m: m["style"]),
            ("created", lambda m: datetime.fromisoformat(m["created_at"])),
        ],
        as_json=as_json,
    )


@app.command()
def show(model: ModelName, as_json: JsonFlag = False) -> None:
    """One model: its style and prompt, its lineage, its files."""
    from forethought.services import models

    emit_one(models.show(state.bench(), model), as_json=as_json)


@app.command()
def chat(
    model: ModelName,
    question: Annotated[str | None, typer.Argument(help="One question; without it, a conversation starts.")] = None,
    system: Annotated[str | None, typer.Option(help="Another prompt than the one it was trained with.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=32_768)] = 512,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.0,
) -> None:
    """Ask a model; its thinking is shown dimmed, then its answer."""
    from forethought.services import models

    bench = state.bench()
    session = models.open_chat(bench, model, system=system, max_tokens=max_tokens, temperature=temperature)
    for warning in session.warnings:
        console(stderr=True).print(f"warning: {warning}", style="yellow")
    try:
        if question is not None:
            _answer(session, question)
            return
        console(stderr=True).print("Each line is one problem; Ctrl-D ends.", style="dim")
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                return
            if not line:
                continue
            try:
                _answer(session, line)
            except ForethoughtError as error:
                console(stderr=True).print(printable(str(error)), style="yellow", soft_wrap=True)
    finally:
        session.close()


@app.command()
def promote(
    model: ModelName,
    alias: Annotated[str, typer.Argument(help="Stable name that callers use.")],
    as_json: JsonFlag = False,
) -> None:
    """Let an alias point at a model from now on."""
    from forethought.services import models

    bench = state.bench()
    said = models.promote(bench, model, alias)
    _emit_done(said, models.show(bench, alias), as_json=as_json)


@app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="Alias to set back to its previous model.")], as_json: JsonFlag = False
) -> None:
    """Let an alias point at its previous model."""
    from forethought.services import models

    bench = state.bench()
    said = models.rollback(bench, alias)
    _emit_done(said, models.show(bench, alias), as_json=as_json)


@app.command()
def unalias(
    alias: Annotated[str, typer.Argument(help="Alias to take out of use; 'rollback' brings it back.")],
    as_json: JsonFlag = False,
) -> None:
    """Remove an alias; its model and its history stay."""
    from forethought.services import models

    bench = state.bench()
    model = models.show(bench, alias)["id"]
    said = models.unalias(bench, alias)
    _emit_done(said, models.show(bench, model), as_json=as_json)


@app.command()
def merge(
    model: ModelName,
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the merged model.")],
    as_json: JsonFlag = False,
) -> None:
    """Fold an adapter into its base: a model of its own."""
    from forethought.services import models

    merged = models.merge(state.bench(), model, name)
    _emit_done(f"'{merged.name}' is '{model}' with its adapter folded in", merged, as_json=as_json)


@app.command()
def delete(
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a model's files. Refused while an alias points at it."""
    from forethought.services import models

    bench = state.bench()
    found = models.must_be_deletable(bench, model)
    files = "and its files" if found["path"] else "from the list (its files stay where they are)"
    if not (yes or _confirmed(f"Delete model '{found['name']}' {files}?")):
        raise ForethoughtError(f"Model '{found['name']}' was not deleted: nobody said yes.", hint="Repeat with --yes.")
    _emit_done(models.delete(bench, model), found, as_json=as_json)


def _confirmed(question: str) -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(question, err=True)


def _emit_done(said: str, model: BaseModel | Mapping[str, Any], *, as_json: bool) -> None:
    """What was done in words, or the model it was done to."""
    if as_json:
        emit_one(model, as_json=True)
    else:
        console().print(said, soft_wrap=True)


def _answer(session: object, question: str) -> None:
    from forethought.services.models import ChatSession

    assert isinstance(session, ChatSession)
    out = console()
    kind = ""
    for delta in session.ask(question):
        if kind == "reasoning" and delta.kind == "answer":
            out.print()
        kind = delta.kind
        out.print(printable(delta.text), end="", style="dim" if kind == "reasoning" else "bold", soft_wrap=True)
    out.print()
    if session.failure:
        console(stderr=True).print(f"({session.failure})", style="yellow")
