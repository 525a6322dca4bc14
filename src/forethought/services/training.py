"""Training: a frozen dataset, a method and a base become a registered model, through a durable run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from forethought.core import registry
from forethought.core.records import Dataset, Json, Model, Prompt, Run, Task, dump
from forethought.errors import UsageError
from forethought.jobs.context import JobContext, JobResult
from forethought.services import datasets, models, runs
from forethought.services.tasks import first_fault, style_named
from forethought.services.workbench import BASE, Workbench

if TYPE_CHECKING:
    from forethought.training.method import Method, TrainingResult

TRAIN, VALIDATION = "train", "val"
FEW_STEPS = 20
"""With fewer optimizer steps a model has hardly begun to learn."""


def submit(
    bench: Workbench,
    *,
    method: str,
    dataset: str,
    name: str,
    style: str | None = None,
    base: str = "",
    prompt: str = "short",
    shots_from: str = "",
    config: dict[str, Json] | None = None,
    parallel: bool = False,
) -> Run:
    """Queues a run of a training method and starts its worker; everything that can be refused is refused here.

    ``shots_from`` names the dataset whose train split gives a few-shot prompt its examples.
    """
    chosen = _method(method)
    frozen = bench.store.dataset(dataset)
    task = bench.store.task(frozen.task_id, frozen.task_revision)
    parent = models.find_base(bench, base or BASE)
    chosen_style = style_named(style or task.style)
    datasets.examples(bench, frozen, TRAIN)
    shots = datasets.shots(bench, bench.store.dataset(shots_from)) if shots_from else ()
    models.refuse_taken(bench, name)
    try:
        checked = dump(chosen.Config.model_validate(config or {}))
    except ValidationError as error:
        raise UsageError(f"The training configuration is wrong: {first_fault(error)}.") from None
    run = Run(
        kind=method,
        task_id=task.id,
        task_revision=task.revision,
        dataset_id=frozen.id,
        parent_model_id=parent.id,
        uses_torch=True,
        parallel=parallel,
        seed=checked["seed"],
        config={
            "name": name,
            "style": chosen_style.name,
            "prompt": dump(models.build_prompt(prompt, task, chosen_style, shots)),
            method: checked,
            "dataset_hash": frozen.content_hash,
        },
        versions=runs.versions(),
    )
    models.register(bench, parent)
    return runs.submit(bench, run)


submit_sft = partial(submit, method="sft")
"""Queues a supervised fine-tuning run."""


def run_method(context: JobContext) -> JobResult:
    """The job body of every method: trains in the run's folder, then registers the model."""
    bench = Workbench.around(context.workspace, context.store)
    run = context.run
    frozen = bench.store.dataset(cast(str, run.dataset_id))
    task = bench.store.task(frozen.task_id, frozen.task_revision)
    parent = bench.store.model(cast(str, run.parent_model_id))
    prompt = Prompt.model_validate(run.config["prompt"])
    result = _train(bench, context, frozen, parent, prompt)
    if result.steps < FEW_STEPS:
        context.reporter.log(few_steps(result.steps))
    model = _register(bench, run, task, parent, prompt, result)
    context.reporter.log(f"registered as '{model.name}'")
    return JobResult(metrics=dict(model.metrics), artefacts={"model": str(result.path.relative_to(context.folder))})


def sentence(model: Model) -> str:
    """How a model was trained, in words."""
    named = {"steps": "{:.0f} steps", "seconds": "{:.0f} s", "tokens_per_second": "{:.0f} tokens/s"}
    named |= {"loss": "loss {:.3f}", "val_loss": "held-out loss {:.3f}"}
    values = {name: model.metrics.get(name) for name in named}
    return ", ".join(named[name].format(value) for name, value in values.items() if isinstance(value, int | float))


def few_steps(steps: int) -> str:
    """The warning after a training of so few optimizer steps."""
    counted = "1 step is" if steps == 1 else f"{steps} steps are"
    return f"warning: {counted} very few: more examples, --epochs, or a smaller --batch-size such as 4"


def _train(bench: Workbench, context: JobContext, frozen: Dataset, parent: Model, prompt: Prompt) -> TrainingResult:
    run = context.run
    method = _method(run.kind)
    config = method.Config.model_validate(run.config[run.kind])
    style = style_named(str(run.config["style"]))
    train = datasets.examples(bench, frozen, TRAIN)
    validation = datasets.examples(bench, frozen, VALIDATION) if VALIDATION in frozen.counts else []
    context.reporter.log(f"{len(train)} examples to learn from, {len(validation)} held out; loading '{parent.name}'")
    loaded = models.load_for_training(bench, parent, config.dtype)
    return method(config).train(
        loaded,
        train,
        validation,
        style=style,
        prompt=prompt,
        output=context.folder / "training",
        reporter=context.reporter,
        resume=context.resuming,
    )


def _register(bench: Workbench, run: Run, task: Task, parent: Model, prompt: Prompt, result: TrainingResult) -> Model:
    """A resumed run that was killed after registering finds its model there and keeps it."""
    existing = [model for model in bench.store.models() if model.run_id == run.id]
    if existing:
        return existing[0]
    model = Model(
        name=str(run.config["name"]),
        base=parent.base,
        path=str(bench.workspace.relative(result.path)),
        adapter="lora" if (result.path / "adapter_config.json").is_file() else "",
        style=str(run.config["style"]),
        prompt=prompt,
        task_id=task.id,
        task_revision=task.revision,
        run_id=run.id,
        parent_id=parent.id,
        licence=parent.licence,
        metrics={**result.metrics, "steps": result.steps, "tokens": result.tokens, "seconds": round(result.seconds, 1)},
    )
    bench.store.add_model(model)
    return model


def _method(name: str) -> type[Method]:
    return cast("type[Method]", registry.lookup("method", name))
