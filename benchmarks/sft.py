"""Supervised fine-tuning against TRL: tokens a second and loss, same model, data, tokens, order and settings.

    flock /tmp/torch.lock python benchmarks/sft.py            # under 12 minutes on 2 cores
    python benchmarks/sft.py --steps 2 --base FOLDER --out /tmp/sft.json

Three arms train LoRA r=32 on all linear layers, batch 16, on ``syllogism`` traces with the embedded model:

* ``ours``: ``forethought.training.sft`` with its defaults;
* ``trl-best``: the winner of a search made in the same run, over what TRL offers on CPU (``CANDIDATES``), each timed on
  the same two batches; it then trains on the examples in our order, so that losses can be compared step by step;
* ``trl-default``: ``SFTTrainer`` as it comes (fp32 weights, bf16 autocast, gradient checkpointing, random order), for
  half the steps: it is here for its speed.

Tokens are real ones: prompts count, padding does not. Time is that of the training loop, set-up apart. Whatever else
the machine does slows some steps down, so an arm's speed is the median of its steps, the first one apart; ours is
compared with the fastest figure that TRL reached in the run: in the search, as a median or over a whole arm.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import tempfile
import time
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
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
SEARCH_STEPS, HELD_OUT, LONGEST = 2, 32, 2048

CANDIDATES: dict[str, dict[str, Any]] = {
    "random order": {"order": "random"},
    "sorted by length": {},
    "sorted, eager attention": {"attention": "eager"},
    "sorted, bf16 weights": {"weights": "bfloat16", "bf16": False},
    "sorted, bf16 weights, autocast": {"weights": "bfloat16"},
    "sorted, bf16 weights, eager attention": {"weights": "bfloat16", "bf16": False, "attention": "eager"},
    "packing": {"packing": True, "eval_packing": False},
}
"""What TRL offers on CPU, all without gradient checkpointing; bf16 autocast over fp32 weights where nothing is said."""


def main() -> None:
    """Searches, runs the three arms, writes the figures."""
    args = _arguments()
    began = time.perf_counter()
    task = registry.lookup("example", "syllogism")()
    train, held_out = examples(task, args.steps * BATCH, seed=1), examples(task, HELD_OUT, seed=2)
    rows = Rows(args.base, train, held_out, registry.lookup("prompt", "short")(task, ReasoningStyle()))
    print(f"{len(train)} examples, {args.steps} steps")
    found = search(rows)
    best = max(found, key=lambda name: _fastest(found[name]))
    arms = {
        "ours": run_ours(rows, train, held_out),
        "trl-best": run_trl(rows, rows.ordered(CANDIDATES[best]), _without_checkpointing(CANDIDATES[best])),
        "trl-default": run_trl(rows, rows.shuffled[: max(2, math.ceil(args.steps / 2)) * BATCH], {}),
    }
    for name, arm in arms.items():
        show(name, arm)
    result = {
        "machine": machine(),
        "steps": args.steps,
        "search": found,
        "trl_best_is": best,
        "arms": arms,
        **compare(arms, found, same_order="order" not in CANDIDATES[best] and "packing" not in CANDIDATES[best]),
        "benchmark_seconds": round(time.perf_counter() - began),
    }
    print(json.dumps({key: value for key, value in result.items() if key not in ("arms", "search")}, indent=1))
    write(result, args.out)


class Rows:
    """The same ids and labels for every arm, in the orders they are wanted in."""

    def __init__(self, base: str, train: list[Example], held_out: list[Example], prompt: Prompt) -> None:
        from forethought.training.batches import LengthGroupedSampler

        loaded = load(base)
        self.base, self.prompt, self.tokenizer = base, prompt, loaded.tokenizer
        stops = loaded.stop_ids
        style = ReasoningStyle()
        self.shuffled = data.encode(train, style, prompt, self.tokenizer, max_length=LONGEST, stop_ids=stops)
        self.held_out = data.encode(held_out, style, prompt, self.tokenizer, max_length=LONGEST, stop_ids=stops)
        lengths = [len(row.input_ids) for row in self.shuffled]
        self.ours = [self.shuffled[row] for row in LengthGroupedSampler(lengths, BATCH, SEED)]

    def ordered(self, candidate: dict[str, Any]) -> list[data.TokenSequence]:
        """The training rows as a candidate reads them; generated problems come in random order."""
        return self.shuffled if candidate.get("order") == "random" else self.ours


def search(rows: Rows) -> dict[str, dict[str, Any]]:
    """Speed of every candidate on two batches of its order."""
    found = {}
    for name, candidate in CANDIDATES.items():
        few = rows.ordered(candidate)[: SEARCH_STEPS * BATCH]
        found[name] = run_trl(rows, few, _without_checkpointing(candidate), evaluate=False)
        show(name, found[name])
    return found


def _without_checkpointing(candidate: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in candidate.items() if name != "order"} | {"gradient_checkpointing": False}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    from forethought.engine.precision import pick_dtype

    return {
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu": _cpu_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": bool(torch.cpu._is_avx512_bf16_supported()),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "dtype_of_ours": str(pick_dtype()).removeprefix("torch."),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def compare(arms: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]], *, same_order: bool) -> dict[str, Any]:
    """Ratios of speed, and how far the curves are apart where every step sees the same examples."""
    ours, best, default = arms["ours"], arms["trl-best"], arms["trl-default"]
    fastest = max(_fastest(arm) for arm in (best, default, *found.values()))
    gaps = [abs(a - b) for a, b in zip(ours["losses"], best["losses"], strict=True)] if same_order else []
    return {
        "trl_fastest_tokens_per_second": fastest,
        "speed_over_trl_fastest": round(ours["median_tokens_per_second"] / fastest, 2),
        "speed_over_trl_best": round(ours["median_tokens_per_second"] / best["median_tokens_per_second"], 2),
        "speed_over_trl_default": round(ours["median_tokens_per_second"] / default["median_tokens_per_second"], 2),
        "largest_loss_gap": max(gaps, default=None),
        "mean_loss_gap": sum(gaps) / len(gaps) if gaps else None,
        "held_out_losses": {name: arm["held_out_loss"] for name, arm in arms.items()},
    }


def _fastest(arm: dict[str, Any]) -> float:
    return max(arm["tokens_per_second"], arm["median_tokens_per_second"])


class Clocked(SilentReporter):
    """Keeps when each step ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def metrics(self, step: int, values: dict[str, float]) -> None:
        super().metrics(step, values)
        if "loss" in values:
            self.ends.append(time.perf_counter())


def run_ours(rows: Rows, train: list[Example], held_out: list[Example]) -> dict[str, Any]:
    """One epoch with ``SFT``; the held-out evaluation at its end is not timed."""
    reporter = Clocked()
    config = SFTConfig(
        learning_rate=RATE, warmup=WARMUP, seed=SEED, batch_size=BATCH, eval_every=0, checkpoint_seconds=None, samples=0
    )
    loaded = load(rows.base)
    with tempfile.TemporaryDirectory() as folder:
        result = SFT(config).train(loaded, train, held_out, ReasoningStyle(), rows.prompt, Path(folder), reporter)
    losses = [values["loss"] for _, values in reporter.points if "loss" in values]
    speed = [values["tokens_per_second"] for _, values in reporter.points if "tokens_per_second" in values][-1]
    return _arm(losses, rows.ours, result.tokens / speed, reporter.ends, result.metrics["val_loss"])


def run_trl(
    rows: Rows, train: list[data.TokenSequence], options: dict[str, Any], *, evaluate: bool = True
) -> dict[str, Any]:
    """One epoch with ``trl.SFTTrainer`` on ready-made ids and labels, in the order given."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig as TrlConfig
    from trl import SFTTrainer

    from forethought.engine.loading import resolve_base

    class Losses(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.ends: list[float] = []
            self.seconds = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.began

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    options = dict(options)
    weights, attention = options.pop("weights", "float32"), options.pop("attention", None)
    model = AutoModelForCausalLM.from_pretrained(
        resolve_base(rows.base), dtype=getattr(torch, weights), attn_implementation=attention
    )
    watch = Losses()
    with tempfile.TemporaryDirectory() as output:
        args = TrlConfig(
            output_dir=output,
            learning_rate=RATE,
            lr_scheduler_type="linear",
            warmup_steps=math.ceil(math.ceil(len(train) / BATCH) * WARMUP),
            num_train_epochs=1,
            per_device_train_batch_size=2 if options.get("packing") else BATCH,  # of 1024 tokens each, when packed
            per_device_eval_batch_size=BATCH,
            train_sampling_strategy="sequential",
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
            train_dataset=_dataset(Dataset, train),
            eval_dataset=_dataset(Dataset, rows.held_out),
            processing_class=rows.tokenizer,
            peft_config=LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[watch],
        )
        trainer.train()
        held_out_loss = weighted_loss(trainer) if evaluate else None
    del trainer, model
    gc.collect()
    return _arm(watch.losses, train, watch.seconds, watch.ends, held_out_loss, packed=bool(options.get("packing")))


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
    print(f"{name:38} {arm['median_tokens_per_second']:8.1f} tokens/s  last loss {arm['losses'][-1]:.4f}", flush=True)


def write(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _arm(
    losses: list[float],
    train: list[data.TokenSequence],
    seconds: float,
    ends: list[float],
    held_out_loss: float | None,
    *,
    packed: bool = False,
) -> dict[str, Any]:
    """``ends``: when each step ended. Packed steps hold about the same number of tokens each."""
    tokens = sum(len(row.input_ids) for row in train)
    batches = [train[start : start + BATCH] for start in range(0, len(train), BATCH)]
    each = [sum(len(row.input_ids) for row in batch) for batch in batches]
    each = [round(tokens / len(ends))] * len(ends) if packed else each
    speeds = [count / (end - before) for count, (before, end) in zip(each[1:], pairwise(ends), strict=True)]
    return {
        "median_tokens_per_second": round(median(speeds), 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "steps": len(losses),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "losses": losses,
        "held_out_loss": held_out_loss,
    }


def _dataset(kind: Any, rows: list[data.TokenSequence]) -> Any:
    return kind.from_dict(
        {"input_ids": [list(row.input_ids) for row in rows], "labels": [list(row.labels) for row in rows]}
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of 16 examples, 2 at least")
    parser.add_argument("--base", default="embedded", help="the model: embedded, or a folder")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
