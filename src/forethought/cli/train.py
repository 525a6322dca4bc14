"""``forethought train``: one sub-command a method."""

from __future__ import annotations

from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_one
from forethought.cli.runs import follow_to_the_end
from forethought.cli.state import state

app = typer.Typer(help="Train a model.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Keeps the method a sub-command while there is only one."""


@app.command()
def sft(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Frozen dataset of kind sft.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the new model.")],
    style: Annotated[
        str | None, typer.Option(help="answer, reasoning or two-turn; the task's own when absent.")
    ] = None,
    base: Annotated[str, typer.Option(help="Model to start from: a registered name, a folder or a hub name.")] = "",
    prompt: Annotated[
        str, typer.Option(help="Prompt builder: short (fast), plain, few-shot; the model is always called with it.")
    ] = "short",
    shots_from: Annotated[str, typer.Option(help="Dataset whose train split gives the few-shot examples.")] = "",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", min=0.0)] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="LoRA rank.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    max_length: Annotated[
        int | None, typer.Option(min=8, help="Longest sequence in tokens; longer examples are refused.")
    ] = None,
    max_batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in memory at once: less memory, the same result.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing", help="Slower, with less memory; chosen when absent."
        ),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1)] = None,
    eval_every: Annotated[int | None, typer.Option(min=0, help="Steps between held-out losses and samples.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Stop after so many held-out losses without a better one; 0 never.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Tune every weight instead of a LoRA adapter.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")] = False,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Do not wait for another training run on this machine.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Supervised fine-tuning on reasoning traces; LoRA unless --full."""
    from forethought.services import training

    bench = state.bench()
    given = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "batch_size": batch_size,
        "max_length": max_length,
        "max_batch_tokens": max_batch_tokens,
        "gradient_checkpointing": gradient_checkpointing,
        "max_steps": max_steps,
        "eval_every": eval_every,
        "patience": patience,
        "full": full or None,
        "seed": seed,
    }
    run = training.submit_sft(
        bench,
        dataset=dataset,
        name=name,
        style=style,
        base=base,
        prompt=prompt,
        shots_from=shots_from,
        config={key: value for key, value in given.items() if value is not None},
        parallel=parallel,
    )
    ended = follow_to_the_end(bench, run, detach=detach)
    if as_json:
        emit_one(ended, as_json=True)
    elif not detach:
        console().print(
            f"'{name}': {training.sentence(bench.store.model(name))}\ntalk to it: forethought models chat {name}"
        )
