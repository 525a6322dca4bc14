"""Supervised fine-tuning against TRL: tokens a second and loss, same model, data, tokens, order and settings.

    flock /tmp/torch.lock python benchmarks/sft.py            # about 6 minutes on 2 cores
    python benchmarks/sft.py --steps 8 --only ours

Three arms train LoRA r=32 on all linear layers, batch 16, on ``syllogism`` traces with the embedded model:

* ``trl-default``: ``SFTTrainer`` as it comes (fp32 weights, bf16 autocast, gradient checkpointing, random order);
* ``trl-best``: the fastest of what it offers on CPU, chosen by ``--search`` (no gradient checkpointing, our
  length-sorted order given to it ready-made, attention implementation, packing, bf16 weights);
* ``ours``: ``forethought.training.sft`` with its defaults.

Tokens are real ones: prompts count, padding does not. Time is that of the training loop, set-up apart.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from forethought.core import registry
from forethought.core.records import Prompt, Task
from forethought.core.seams import Example, SilentReporter
from forethought.engine.loading import load
from forethought.styles.reasoning import ReasoningStyle
from forethought.training import data
from forethought.training.sft import SFT, SFTConfig

RESULTS = Path(__file__).parent / "results" / "sft.json"
RATE, WARMUP, SEED, BATCH = 1e-3, 0.05, 0, 16

TRL_DEFAULT: dict[str, Any] = {"order": "random"}
TRL_VARIANTS: dict[str, dict[str, Any]] = {
    "no checkpointing": {"gradient_checkpointing": False, "order": "ours"},
    "+ eager attention": {"gradient_checkpointing": False, "order": "ours", "attention": "eager"},
    "+ bf16 weights": {"gradient_checkpointing": False, "order": "ours", "weights": "bfloat16"},
    "+ eager, bf16 weights": {
        "gradient_checkpointing": False,
        "order": "ours",
        "attention": "eager",
        "weights": "bfloat16",
    },
    "packing": {"gradient_checkpointing": False, "order": "random", "packing": True},
}


def main() -> None:
    args = _arguments()
    task = registry.lookup("example", "syllogism")()
    train = examples(task, args.steps * BATCH, seed=1)
    held_out = examples(task, 64, seed=2)
    prompt = registry.lookup("prompt", "short")(task)
    print(f"{len(train)} examples, {args.steps} steps")
    arms: dict[str, dict[str, Any]] = {}
    if args.search:
        for name, options in TRL_VARIANTS.items():
            arms[name] = run_trl(train[: 4 * BATCH], held_out, prompt, options)
            show(name, arms[name])
        write({"search": arms}, RESULTS.with_name("sft-search.json"))
        return
    chosen = {"trl-default": TRL_DEFAULT, "trl-best": TRL_VARIANTS[args.best]}
    if "ours" in args.only:
        arms["ours"] = run_ours(train, held_out, prompt)
        show("ours", arms["ours"])
    for name, options in chosen.items():
        if name in args.only:
            arms[name] = run_trl(train, held_out, prompt, options)
            show(name, arms[name])
    result = {"machine": platform.processor() or platform.machine(), "steps": args.steps, "arms": arms}
    if len(arms) == 3:
        result |= compare(arms)
        print(json.dumps({key: value for key, value in result.items() if key not in ("arms",)}, indent=1))
        write(result, RESULTS)


def compare(arms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ratios of speed, and how far the curves are apart where the order of data is the same."""
    ours, best = arms["ours"], arms["trl-best"]
    gaps = [abs(a - b) for a, b in zip(ours["losses"], best["losses"], strict=True)]
    return {
        "speed_over_trl_default": round(ours["tokens_per_second"] / arms["trl-default"]["tokens_per_second"], 2),
        "speed_over_trl_best": round(ours["tokens_per_second"] / best["tokens_per_second"], 2),
        "largest_loss_gap": max(gaps),
        "mean_loss_gap": sum(gaps) / len(gaps),
        "held_out_losses": {name: arm["held_out_loss"] for name, arm in arms.items()},
    }


def run_ours(train: list[Example], held_out: list[Example], prompt: Prompt) -> dict[str, Any]:
    """One epoch with ``SFT``; the held-out evaluation at its end is not timed."""
    reporter = SilentReporter()
    config = SFTConfig(learning_rate=RATE, warmup=WARMUP, seed=SEED, batch_size=BATCH, eval_every=0, checkpoint_every=0)
    loaded = load("embedded")
    with tempfile.TemporaryDirectory() as folder:
        result = SFT(config.model_copy(update={"samples": 0})).train(
            loaded, train, held_out, ReasoningStyle(), prompt, Path(folder), reporter
        )
    losses = [values["loss"] for _, values in reporter.points if "loss" in values]
    speed = [values["tokens_per_second"] for _, values in reporter.points if "tokens_per_second" in values][-1]
    return _arm(losses, result.tokens, result.tokens / speed, result.metrics["val_loss"])


def run_trl(train: list[Example], held_out: list[Example], prompt: Prompt, options: dict[str, Any]) -> dict[str, Any]:
    """One epoch with ``trl.SFTTrainer`` on the very same ids and labels."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig as TrlConfig
    from trl import SFTTrainer

    from forethought.engine.loading import resolve_base
    from forethought.training.batches import LengthGroupedSampler

    class Losses(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.seconds = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.began

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    options = dict(options)
    order, weights = options.pop("order"), options.pop("weights", "float32")
    attention = options.pop("attention", None)
    folder = resolve_base("embedded")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, weights), attn_implementation=attention)
    tokenizer = load("embedded").tokenizer
    stops = data.stop_token_ids(model, tokenizer)
    rows = data.encode(train, ReasoningStyle(), prompt, tokenizer, max_length=1024, stop_ids=stops)
    tests = data.encode(held_out, ReasoningStyle(), prompt, tokenizer, max_length=1024, stop_ids=stops)
    steps = math.ceil(len(rows) / BATCH)
    if order == "ours":
        rows = [rows[row] for row in LengthGroupedSampler([len(row.input_ids) for row in rows], BATCH, SEED)]
    watch = Losses()
    with tempfile.TemporaryDirectory() as output:
        args = TrlConfig(
            output_dir=output,
            learning_rate=RATE,
            lr_scheduler_type="linear",
            warmup_steps=math.ceil(steps * WARMUP),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH if not options.get("packing") else 2,
            per_device_eval_batch_size=BATCH,
            train_sampling_strategy="sequential" if order == "ours" else "random",
            seed=SEED,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **options,
        )
        trainer = SFTTrainer(
            model=model,
            args=args,
            train_dataset=_dataset(Dataset, rows),
            eval_dataset=_dataset(Dataset, tests),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[watch],
        )
        trainer.train()
        held_out_loss = weighted_loss(trainer)
    del trainer, model
    gc.collect()
    return _arm(watch.losses, sum(len(row.input_ids) for row in rows), watch.seconds, held_out_loss)


def weighted_loss(trainer: Any) -> float:
    """Loss per labelled token; ``evaluate`` averages batch means instead."""
    import torch

    total, tokens = 0.0, 0
    trainer.model.eval()
    for batch in trainer.get_eval_dataloader():
        count = int((batch["labels"][:, 1:] != data.IGNORE).sum())
        with torch.no_grad(), trainer.compute_loss_context_manager():
            total += float(trainer.compute_loss(trainer.model, batch)) * count
        tokens += count
    return total / tokens


def examples(task: Task, count: int, seed: int) -> list[Example]:
    """Problems of the task with the solver's reasoning."""
    generator = registry.build("generator", "syllogism")
    solver = registry.build("solver", "syllogism")
    drafts = islice(generator.generate(seed=seed), count)
    return [Example(f"{seed}-{n}", draft.input, solver.solve(task, draft.input)) for n, draft in enumerate(drafts)]


def show(name: str, arm: dict[str, Any]) -> None:
    print(f"{name:24} {arm['tokens_per_second']:7.1f} tokens/s  last loss {arm['losses'][-1]:.4f}", end="  ")
    print(f"held-out {arm['held_out_loss']:.4f}  peak so far {arm['peak_rss_mb']} MB", flush=True)


def write(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _arm(losses: list[float], tokens: int, seconds: float, held_out_loss: float) -> dict[str, Any]:
    return {
        "tokens_per_second": round(tokens / seconds, 1),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "losses": losses,
        "held_out_loss": held_out_loss,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _dataset(kind: Any, rows: list[data.TokenSequence]) -> Any:
    return kind.from_dict(
        {"input_ids": [list(row.input_ids) for row in rows], "labels": [list(row.labels) for row in rows]}
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--best", choices=TRL_VARIANTS, default="no checkpointing")
    parser.add_argument("--search", action="store_true", help="time TRL's variants on 4 batches instead")
    parser.add_argument("--only", nargs="+", default=["ours", "trl-default", "trl-best"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
