"""Supervised fine-tuning: the model learns to write the attempt when it is asked the way the style asks.

    result = SFT(SFTConfig(epochs=1)).train(load("embedded"), train, val, style, prompt, output=folder)

LoRA by default (Hu et al. 2021), full tuning by option. Loss on completion tokens only.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forethought.core.files import recover
from forethought.core.records import Prompt
from forethought.core.seams import Example, Reporter, SilentReporter, Style
from forethought.errors import TrainingError
from forethought.training import data
from forethought.training.memory import kept_memory
from forethought.training.method import TrainingResult

if TYPE_CHECKING:
    import torch

    from forethought.engine.loading import LoadedModel
    from forethought.training.trainer import CompletionTrainer, Sampler


_RECORD = "training.json"


class SFTConfig(BaseModel):
    """How to fine-tune. Every default is meant to be left alone on a small model and some hundreds of examples."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    full: bool = False
    """Train all weights instead of a LoRA adapter."""
    rank: int = Field(default=32, ge=1, le=1024)
    """Rank of the LoRA matrices."""
    alpha: float = Field(default=64, gt=0)
    """LoRA updates are scaled by ``alpha / rank``."""
    targets: str | tuple[str, ...] = "all-linear"
    """Layers that get a LoRA: ``all-linear`` (the head excepted) or names such as ``q_proj``."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate; None takes 1e-3 for LoRA and 1e-4 for full tuning."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of steps over which the rate rises from 0; it then falls linearly to 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this norm; 0 leaves them."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the training examples."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps to stop after, whatever ``epochs`` says; the schedule is stretched to it."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences per optimizer step."""
    max_batch_tokens: int = Field(default=4096, ge=1)
    """Padded tokens held in memory at once: a larger batch is computed in parts, with the same result."""
    max_length: int = Field(default=2048, ge=8)
    """Longest sequence in tokens, prompt included. Longer examples are refused, never cut."""
    eval_every: int = Field(default=20, ge=0)
    """Steps between held-out evaluations and samples; 0 evaluates at the end only."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many evaluations without a lower held-out loss; 0 never stops early."""
    samples: int = Field(default=2, ge=0)
    """Held-out inputs answered by the live model at each evaluation."""
    sample_tokens: int = Field(default=256, ge=1)
    """Longest sample, in new tokens of a turn."""
    checkpoint_seconds: float | None = Field(default=30, ge=0)
    """Seconds of training between checkpoints; 0 writes one after each step, None only when cancelled."""
    gradient_checkpointing: bool | None = None
    """Recompute activations in backward: slower, less memory. None: on for GPUs when tuning fully, off on CPU."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the matrix products; auto takes bfloat16 where it is faster. Trained weights stay float32."""
    fused: bool = True
    """On CPU, train a LoRA on a Llama-shaped model through the fused forward and backward; off uses the plain model."""
    seed: int = Field(default=0, ge=0)
    """Adapter initialisation and order of examples."""

    @property
    def peak_rate(self) -> float:
        """The learning rate used."""
        return self.learning_rate or (1e-4 if self.full else 1e-3)

    def steps(self, sequences: int) -> int:
        """Optimizer steps on so many sequences."""
        return self.max_steps or self.epochs * math.ceil(sequences / self.batch_size)


class SFT:
    """The method ``sft``."""

    Config = SFTConfig

    def __init__(self, config: SFTConfig | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` says, in seconds, when a checkpoint is due."""
        self.config = config or SFTConfig()
        self._clock = clock

    def train(
        self,
        loaded: LoadedModel,
        train: Sequence[Example],
        val: Sequence[Example],
        style: Style,
        prompt: Prompt,
        output: Path,
        reporter: Reporter | None = None,
        resume: bool = False,
        sampler: Sampler | None = None,
    ) -> TrainingResult:
        """Trains and writes ``output/adapter`` (or ``output/model``). ``loaded`` is used up: reload to use the base.

        ``resume`` goes on from the newest whole checkpoint under ``output/checkpoints``, if there is one.
        ``sampler`` replaces the built-in sample completions.

        Raises DataError (no examples, over-long ones), TrainingError (labels that do not read back, a diverged loss,
        a full disk, not enough memory, a checkpoint of another run) and JobCancelled (a checkpoint is left).
        """
        reporter = reporter or SilentReporter()
        recover(output)
        rows = self._encode(loaded, train, style, prompt)
        held_out = self._encode(loaded, val, style, prompt) if val else []
        reporter.log(_describe(data.statistics(rows)))
        fingerprint = self._fingerprint(rows, held_out, loaded.name)
        if resume and (finished := self._finished(output, fingerprint)) is not None:
            reporter.log("This run was already complete.")
            return finished
        if sampler is None and val and self.config.samples:
            sampler = self._sampler(loaded, val, style, prompt)
        with _clear_errors(), kept_memory():
            trainer = self._trainer(loaded, rows, held_out, output, reporter, sampler, fingerprint)
            progress = trainer.fit(resume)
            metrics = dict(progress.last)
            if math.isfinite(progress.best_loss):
                metrics |= {"val_loss": progress.best_loss, "best_step": float(progress.best_step)}
            steps = int(trainer.state.global_step)
            result = TrainingResult(self._target(output), metrics, steps, progress.tokens, progress.seconds)
            self._save(trainer, loaded, result, fingerprint)
        return result

    # --- parts --------------------------------------------------------------------------------------------------------

    def _encode(
        self, loaded: LoadedModel, examples: Sequence[Example], style: Style, prompt: Prompt
    ) -> list[data.TokenSequence]:
        limit = min(self.config.max_length, getattr(loaded.model.config, "max_position_embeddings", 1 << 30))
        return data.encode(examples, style, prompt, loaded.tokenizer, max_length=limit, stop_ids=loaded.stop_ids)

    def _trainer(
        self,
        loaded: LoadedModel,
        rows: Sequence[data.TokenSequence],
        held_out: Sequence[data.TokenSequence],
        output: Path,
        reporter: Reporter,
        sampler: Sampler | None,
        fingerprint: str,
    ) -> CompletionTrainer:
        from forethought.training.checkpoints import Checkpoints
        from forethought.training.fused import FusedLora
        from forethought.training.trainer import CompletionTrainer, Watch

        config, dtype = self.config, self._dtype(loaded)
        model = self._prepare(loaded, dtype)
        fused = FusedLora(model, dtype) if config.fused and not config.full and FusedLora.fits(model) else None
        watch = Watch(
            eval_every=config.eval_every,
            patience=config.patience,
            checkpoint_seconds=config.checkpoint_seconds,
            max_batch_tokens=config.max_batch_tokens,
            fingerprint=fingerprint,
            sampler=sampler,
            clock=self._clock,
        )
        return CompletionTrainer(
            model,
            loaded.tokenizer,
            self._arguments(loaded, output, len(rows)),
            rows,
            held_out,
            dtype=dtype,
            fused=fused,
            watch=watch,
            store=Checkpoints(output / "checkpoints"),
            reporter=reporter,
        )

    def _prepare(self, loaded: LoadedModel, dtype: torch.dtype) -> Any:
        """The model with trainable float32 weights: all of its own, or an adapter's over frozen ones in ``dtype``."""
        import torch

        from forethought.engine.precision import cast_weights

        torch.manual_seed(self.config.seed)
        model = loaded.model
        if hasattr(model, "peft_config"):
            raise TrainingError(
                f"The model '{loaded.name}' already carries an adapter.",
                hint="Train on its base, or merge the adapter first.",
            )
        if self.config.full:
            cast_weights(model, torch.float32)
            return model.requires_grad_(True)
        from peft import LoraConfig, get_peft_model

        from forethought.engine.precision import cast_weights

        cast_weights(model, dtype)
        targets = self.config.targets if isinstance(self.config.targets, str) else list(self.config.targets)
        lora = LoraConfig(
            r=self.config.rank, lora_alpha=self.config.alpha, target_modules=targets, task_type="CAUSAL_LM"
        )
        try:
            adapted = get_peft_model(model, lora)
        except ValueError as error:
            raise TrainingError(f"No LoRA fits targets={targets}: {error}") from error
        adapted.active_peft_config.base_model_name_or_path = loaded.name
        return adapted

    def _arguments(self, loaded: LoadedModel, output: Path, rows: int) -> Any:
        from transformers.utils import logging as transformers_logging
        from trl import SFTConfig as TrlConfig

        transformers_logging.set_verbosity_error()
        logging.getLogger("accelerate").setLevel(logging.ERROR)
        config = self.config
        steps = config.steps(rows)
        checkpointing = config.gradient_checkpointing
        if checkpointing is None:
            checkpointing = config.full and loaded.device.type != "cpu"
        return TrlConfig(
            output_dir=str(output),
            learning_rate=config.peak_rate,
            lr_scheduler_type="linear",
            warmup_steps=math.ceil(steps * config.warmup),
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            num_train_epochs=config.epochs,
            max_steps=config.max_steps or -1,
            per_device_train_batch_size=config.batch_size,
            seed=config.seed,
            optim="adamw_torch_fused",
            gradient_checkpointing=checkpointing,
            bf16=False,  # the trainer sets its own autocast
            use_cpu=loaded.device.type == "cpu",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )

    def _dtype(self, loaded: LoadedModel) -> torch.dtype:
        """float32 where generation takes float16: small gradients vanish in it."""
        import torch

        from forethought.engine.precision import resolve_dtype

        chosen = resolve_dtype(self.config.dtype, loaded.device)
        return torch.float32 if chosen == torch.float16 else chosen

    def _fingerprint(
        self, rows: Sequence[data.TokenSequence], held_out: Sequence[data.TokenSequence], base: str
    ) -> str:
        said = self.config.model_dump_json(exclude={"samples", "sample_tokens", "checkpoint_seconds"})
        return hashlib.sha256("|".join([said, base, data.fingerprint([*rows, *held_out])]).encode()).hexdigest()

    def _sampler(self, loaded: LoadedModel, val: Sequence[Example], style: Style, prompt: Prompt) -> Sampler:
        from forethought.training.samples import greedy_sampler

        return greedy_sampler(loaded, val[: self.config.samples], style, prompt, self.config.sample_tokens)

    def _target(self, output: Path) -> Path:
        return output / ("model" if self.config.full else "adapter")

    def _save(self, trainer: CompletionTrainer, loaded: LoadedModel, result: TrainingResult, fingerprint: str) -> None:
        """The weights and, beside them, what made them; then the checkpoints go."""
        from forethought.training.checkpoints import write_folder, write_json

        def fill(folder: Path) -> None:
            # No vocabulary is changed here; left to find that out, the library would ask a hub about the base.
            options = {} if self.config.full else {"save_embedding_layers": False}
            trainer.model.save_pretrained(folder, safe_serialization=True, **options)
            (folder / "README.md").unlink(missing_ok=True)  # the library's own model card, full of blanks
            if self.config.full:
                loaded.tokenizer.save_pretrained(folder)
            numbers = {name: value for name, value in asdict(result).items() if name != "path"}
            write_json(folder / _RECORD, {"fingerprint": fingerprint, "config": self.config.model_dump(), **numbers})

        write_folder(result.path, fill)
        trainer.discard_checkpoints()

    def _finished(self, output: Path, fingerprint: str) -> TrainingResult | None:
        """The result of this very run, if it was complete when its process ended."""
        from forethought.training.checkpoints import damage, read_json

        path = self._target(output)
        if not path.is_dir() or damage(path) is not None:
            return None
        record = read_json(path / _RECORD)
        if record["fingerprint"] != fingerprint:
            return None
        return TrainingResult(path, record["metrics"], record["steps"], record["tokens"], record["seconds"])


def _describe(counts: data.TokenStatistics) -> str:
    return (
        f"{counts.examples} examples in {counts.sequences} sequences: {counts.tokens} tokens, {counts.trained_tokens} "
        f"of them trained; {counts.shortest} to {counts.longest} tokens each, median {counts.median:g}. "
        "Every label reads back as its example."
    )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Running out of memory or disk as one line with advice; libraries' warnings stay out of the user's sight."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=FutureWarning)
            yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_out_of_memory(error):
            raise
        raise TrainingError(
            "There is not enough memory for this batch.",
            hint="Lower max_batch_tokens first (same result, less at once), then max_length or batch_size, "
            "or set gradient_checkpointing.",
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TrainingError("The disk is full.", hint="Free some space and resume.") from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "not enough memory" in text or "can't allocate memory" in text
