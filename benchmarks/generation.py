"""Generation throughput on ragged completions: our batch against ``transformers`` generate, same model, same run.

    python benchmarks/generation.py                 # writes benchmarks/results/generation.json
    python benchmarks/generation.py --count 64      # a first look

Every completion has a forced length (end-of-turn ignored), drawn once from 16..160 tokens and equal for both sides,
as tasks with short and long answers have. Only these useful tokens are counted. ``transformers`` gets batches in
arrival order and a stopping criterion that ends a batch when its last row is done.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from forethought.core.records import Message, Sampling
from forethought.core.seams import ChatRequest
from forethought.engine.generate import generate_ids
from forethought.engine.loading import load
from forethought.engine.local import LocalModel
from forethought.engine.precision import resolve_dtype

RESULT = Path(__file__).parent / "results" / "generation.json"


def main() -> None:
    options = _options()
    torch.manual_seed(0)
    loaded = load(options.model, device=options.device)
    prompts = _prompts(loaded, options.count)
    rng = random.Random(1)
    lengths = [rng.randint(16, 160) for _ in prompts]
    rows: list[dict[str, Any]] = []

    def measure(name: str, batch: int, count: int, run: Callable[[], int]) -> None:
        started = time.perf_counter()
        tokens = run()
        seconds = time.perf_counter() - started
        assert tokens == sum(lengths[:count]), (tokens, sum(lengths[:count]))
        rows.append({"engine": name, "batch": batch, "completions": count, "tokens": tokens,
                     "seconds": round(seconds, 2), "tokens_per_second": round(tokens / seconds, 1)})  # fmt: skip
        print(rows[-1], flush=True)

    def ours(batch: int, count: int) -> Callable[[], int]:
        samplings = [Sampling(max_tokens=length) for length in lengths[:count]]
        return lambda: sum(
            len(done.ids)
            for done in generate_ids(
                loaded.model, prompts[:count], samplings, stop_ids=[], max_rows=batch, logprobs=False
            )
        )

    def theirs(batch: int, count: int) -> Callable[[], int]:
        return lambda: _transformers(loaded, prompts[:count], lengths[:count], batch)

    _transformers(loaded, prompts[:2], [4, 4], 2)
    generate_ids(loaded.model, prompts[:2], Sampling(max_tokens=4))
    for batch in options.batches:
        measure("forethought", batch, options.count, ours(batch, options.count))
    measure("transformers", options.batch, options.count, theirs(options.batch, options.count))
    measure("forethought", 1, 2, ours(1, 2))
    measure("transformers", 1, 2, theirs(1, 2))
    _write(options, loaded, prompts, rows)


def _transformers(loaded: Any, prompts: list[list[int]], lengths: list[int], batch: int) -> int:
    """Useful tokens written by static left-padded batches."""
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    model.generation_config.eos_token_id = None
    written = 0
    for start in range(0, len(prompts), batch):
        group, wanted = prompts[start : start + batch], lengths[start : start + batch]
        width = max(map(len, group))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in group], device=loaded.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in group], device=loaded.device)
        limits = torch.tensor(wanted, device=loaded.device)

        def reached(
            ids: torch.Tensor, _: Any, width: int = width, limits: torch.Tensor = limits, **__: Any
        ) -> torch.Tensor:
            return ids.shape[1] - width >= limits

        forced = transformers.GenerationConfig(do_sample=False, pad_token_id=pad, max_new_tokens=max(wanted))
        criteria = transformers.StoppingCriteriaList([reached])
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=mask, generation_config=forced, stopping_criteria=criteria)
        written += sum(wanted)
    return written


def _prompts(loaded: Any, count: int) -> list[list[int]]:
    """Chat prompts of ragged length: invented facts and a question."""
    rng = random.Random(0)
    syllables = ["bloo", "raz", "laz", "mim", "tor", "vex", "quo", "dar", "fen", "gli"]

    def word() -> str:
        return "".join(rng.choices(syllables, k=2)) + "s"

    chat = LocalModel(loaded)
    prompts = []
    for _ in range(count):
        facts = " ".join(f"All {word()} are {word()}." for _ in range(rng.randint(2, 9)))
        message = Message(role="user", content=f"{facts} Are all {word()} {word()}?")
        prompts.append(chat.prompt_ids(ChatRequest([message])))
    chat.close()
    return prompts


def _write(options: argparse.Namespace, loaded: Any, prompts: list[list[int]], rows: list[dict[str, Any]]) -> None:
    speed = {(row["engine"], row["batch"]): row["tokens_per_second"] for row in rows}
    result = {
        "command": "python benchmarks/generation.py",
        "model": options.model,
        "dtype": str(resolve_dtype("auto", loaded.device)).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if loaded.device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "prompt_tokens": sum(map(len, prompts)),
        "rows": rows,
        "speedup_same_batch": round(speed["forethought", options.batch] / speed["transformers", options.batch], 2),
        "speedup_batch_1": round(speed["forethought", 1] / speed["transformers", 1], 2),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"same batch: {result['speedup_same_batch']}x, batch 1: {result['speedup_batch_1']}x -> {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, a folder or a hub name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--count", type=int, default=256, help="completions")
    parser.add_argument("--batch", type=int, default=32, help="the batch size both sides use")
    parser.add_argument("--also", type=int, nargs="*", default=[64, 128], help="further batch sizes for ours")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.batches = [options.batch, *options.also]
    return options


if __name__ == "__main__":
    main()
