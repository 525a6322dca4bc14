"""TRL's ``SFTTrainer`` with our loss, our batches, our checkpoints and somebody to report to.

What is kept is the loop: optimizer, schedule, gradient clipping, resumption. What is replaced:

* the loss: the head is applied to labelled positions only (``loss``), and on CPU a LoRA on a Llama-shaped model runs
  through the fused forward and backward (``fused``);
* the order of examples (``batches``) and the format of checkpoints (``checkpoints``: no pickles, atomic, verified).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from forethought.core.records import Json
from forethought.core.seams import Reporter
from forethought.errors import JobCancelled, TrainingError
from forethought.training import checkpoints
from forethought.training.batches import Collator, LengthGroupedSampler, split_by_tokens
from forethought.training.checkpoints import Checkpoints
from forethought.training.data import IGNORE, TokenSequence
from forethought.training.fused import FusedLora
from forethought.training.loss import completion_loss, labelled_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Sampler = Callable[[Any, Any], list[dict[str, Json]]]
"""``sampler(model, tokenizer)``: sample completions of the live model, as plain data."""


@dataclass(frozen=True)
class Watch:
    """What happens beside the optimisation, and how often; the fields are those of the method's configuration."""

    eval_every: int
    patience: int
    checkpoint_seconds: float | None
    max_batch_tokens: int
    fingerprint: str
    sampler: Sampler | None = None
    clock: Callable[[], float] = time.monotonic


@dataclass
class Progress:
    """What a resumed run must know besides weights and optimizer. Stored in every checkpoint."""

    tokens: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_step: int = 0
    evaluations_without_gain: int = 0
    last: dict[str, float] = field(default_factory=dict)
    """The latest value of each metric."""

    def to_json(self) -> dict[str, Json]:
        """Infinity is not JSON: an unknown best loss is None."""
        return {**vars(self), "best_loss": self.best_loss if math.isfinite(self.best_loss) else None}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Progress:
        """The reverse of ``to_json``."""
        best = stored.pop("best_loss")
        return cls(best_loss=math.inf if best is None else best, **stored)


class CompletionTrainer(SFTTrainer):  # type: ignore[misc]  # TRL ships no types
    """Trains ``model`` on checked token sequences. ``fit`` is the way in."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        args: TrlConfig,
        train: Sequence[TokenSequence],
        val: Sequence[TokenSequence],
        *,
        dtype: torch.dtype,
        fused: FusedLora | None,
        watch: Watch,
        store: Checkpoints,
        reporter: Reporter,
    ) -> None:
        self._fused = fused
        self._dtype = dtype
        self._watch = watch
        self._store = store
        self._reporter = reporter
        self._val = val
        self._tokenizer_used = tokenizer
        self._order = LengthGroupedSampler([len(row.input_ids) for row in train], args.train_batch_size, args.seed)
        self._collate = Collator(_pad_id(tokenizer))
        self.progress = Progress()
        self.last_grad_norm = math.nan
        rows = {"input_ids": [row.input_ids for row in train], "labels": [row.labels for row in train]}
        super().__init__(
            model=model,
            args=args,
            data_collator=self._collate,
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
            callbacks=[_Steps(self)],
        )
        self.remove_callback(PrinterCallback)

    def fit(self, resume: bool) -> Progress:
        """Trains to the end, early stop or cancellation; the best held-out weights are in the model afterwards."""
        folder = self._store.newest_whole(self._reporter.log) if resume else None
        if folder is not None:
            self._restore_progress(folder)
            self._reporter.log(f"Resuming from checkpoint {folder.name}.")
        self._began = time.perf_counter() - self.progress.seconds
        self._saved_at = self._watch.clock()
        self.train(resume_from_checkpoint=str(folder) if folder is not None else None)
        self.progress.seconds = time.perf_counter() - self._began
        best = self._best_folder()
        if best is not None and self.progress.best_step != self.state.global_step:
            checkpoints.load_weights(best, self.model)
            self._reporter.log(f"Took the weights of step {self.progress.best_step}, the best on held-out data.")
        return self.progress

    # --- loss ---------------------------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> torch.Tensor:
        """One batch, in parts where it is too large to be held at once; their gradients add up to the batch's."""
        model.train()
        denominator = (inputs["labels"][:, 1:] != IGNORE).sum()
        total = torch.zeros((), device=self.args.device)
        with self._fused.step() if self._fused is not None else nullcontext():
            for part in split_by_tokens(inputs, self._watch.max_batch_tokens):
                loss = self._loss(self._prepare_inputs(part), denominator)
                torch.autograd.backward(loss)
                total += loss.detach()
        if not torch.isfinite(total):
            raise TrainingError(
                f"The loss became {total.item()} at step {self.state.global_step + 1}.",
                hint="Lower the learning rate or raise the warm-up share.",
            )
        self.progress.tokens += int(inputs["attention_mask"].sum())
        self.progress.last["loss"] = total.item()
        return total

    def held_out_loss(self) -> float:
        """Mean loss per completion token over the held-out sequences."""
        self.model.eval()
        rows = sorted(self._val, key=lambda row: len(row.input_ids))
        total, tokens = 0.0, 0
        with torch.no_grad(), self._fused.step() if self._fused is not None else nullcontext():
            for start in range(0, len(rows), self.args.train_batch_size):
                chunk = rows[start : start + self.args.train_batch_size]
                batch = self._collate([{"input_ids": row.input_ids, "labels": row.labels} for row in chunk])
                for part in split_by_tokens(batch, self._watch.max_batch_tokens):
                    total += self._loss(self._prepare_inputs(part), 1.0).item()
                tokens += int((batch["labels"][:, 1:] != IGNORE).sum())
        return total / max(tokens, 1)

    def _loss(self, batch: dict[str, torch.Tensor], denominator: torch.Tensor | float) -> torch.Tensor:
        if self._fused is not None:
            return self._fused.loss(batch["input_ids"], batch["labels"], denominator)
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        with self._autocast():
            # No mask: rows are padded on the right, and a causal model never looks there.
            hidden = base.base_model(input_ids=batch["input_ids"], use_cache=False).last_hidden_state
        positions, targets = labelled_positions(batch["labels"])
        chosen = hidden.flatten(0, 1).index_select(0, positions).to(self._dtype)
        return completion_loss(chosen, base.get_output_embeddings().weight, targets, denominator)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.args.device.type, dtype=self._dtype)

    # --- hooks of the loop --------------------------------------------------------------------------------------------

    def _get_train_sampler(self, *_: Any) -> LengthGroupedSampler:
        return self._order

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        self.last_grad_norm = float(norm)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The reporter is told at each step instead."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """A checkpoint of this very step."""
        self.progress.seconds = time.perf_counter() - self._began
        self._store.write(self.state.global_step, self._fill_checkpoint)
        self._saved_at = self._watch.clock()

    def discard_checkpoints(self) -> None:
        """The result is safe, so nothing is left to resume."""
        self._store.clear()

    def _fill_checkpoint(self, folder: Path) -> None:
        checkpoints.save_weights(folder, self.model)
        checkpoints.save_optimizer(folder, self.optimizer, self._names())
        self.state.save_to_json(str(folder / "trainer_state.json"))
        schedule = {key: value for key, value in self.lr_scheduler.state_dict().items() if key != "lr_lambdas"}
        checkpoints.write_json(
            folder / checkpoints.STATE,
            {"fingerprint": self._watch.fingerprint, "progress": self.progress.to_json(), "schedule": schedule},
        )

    def _restore_progress(self, folder: Path) -> None:
        stored = checkpoints.read_json(folder / checkpoints.STATE)
        if stored["fingerprint"] != self._watch.fingerprint:
            raise TrainingError(
                "The checkpoint was made with other data, another prompt or other settings, so it cannot be resumed.",
                hint="Start without resume, or restore what has changed.",
            )
        self.progress = Progress.from_json(stored["progress"])
        if self._best_folder() is None:
            self.progress.best_loss = math.inf

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *_: Any) -> None:
        checkpoints.load_weights(Path(resume_from_checkpoint), self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        checkpoints.load_optimizer(folder, self.optimizer, self._names())
        schedule = checkpoints.read_json(folder / checkpoints.STATE)["schedule"]
        self.lr_scheduler.load_state_dict({**self.lr_scheduler.state_dict(), **schedule})
        for group, rate in zip(self.optimizer.param_groups, schedule["_last_lr"], strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_random_state(Path(checkpoint))

    def _names(self) -> dict[torch.Tensor, str]:
        return {parameter: name for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def _best_folder(self) -> Path | None:
        folder = self._store.best(self.progress.best_step)
        return folder if folder.is_dir() and checkpoints.damage(folder) is None else None

    # --- what happens after each step ---------------------------------------------------------------------------------

    def report_step(self, learning_rate: float) -> None:
        """Loss, rate, gradient norm and speed of the step just made."""
        self.progress.seconds = time.perf_counter() - self._began
        speed = self.progress.tokens / max(self.progress.seconds, 1e-9)
        values = {"learning_rate": learning_rate, "grad_norm": self.last_grad_norm, "tokens_per_second": speed}
        self.progress.last.update({key: value for key, value in values.items() if math.isfinite(value)})
        step = self.state.global_step
        self._reporter.metrics(step, {k: v for k, v in self.progress.last.items() if k != "val_loss"})
        self._reporter.progress(step, self.state.max_steps, message=f"loss {self.progress.last['loss']:.3f}")

    def evaluate_now(self) -> bool:
        """Held-out loss and samples; keeps the best weights. True when patience is at its end."""
        step = self.state.global_step
        loss = self.held_out_loss()
        self.progress.last["val_loss"] = loss
        self._reporter.metrics(step, {"val_loss": loss})
        self._show_samples(step)
        if loss < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_step = loss, step
            self.progress.evaluations_without_gain = 0
            self._store.write_best(step, lambda folder: checkpoints.save_weights(folder, self.model))
            return False
        self.progress.evaluations_without_gain += 1
        return bool(self._watch.patience and self.progress.evaluations_without_gain >= self._watch.patience)

    def _show_samples(self, step: int) -> None:
        if self._watch.sampler is None:
            return
        self.model.eval()
        with torch.no_grad():  # and no autocast: merging the adapter into the sampled weights must not be rounded
            for sample in self._watch.sampler(self.model, self._tokenizer_used):
                self._reporter.sample(step, sample)

    def begin_epoch(self) -> None:
        """The order of examples follows the epoch, also in the middle of a resumed one."""
        self._order.epoch = self.state.global_step // math.ceil(len(self._order) / self.args.train_batch_size)

    def after_step(self, control: Any, learning_rate: float) -> None:
        """Everything that is due at this step, cancellation last so that nothing is lost by it."""
        step, watch = self.state.global_step, self._watch
        last = step >= self.state.max_steps
        self.report_step(learning_rate)
        if self._val and (last or (watch.eval_every and step % watch.eval_every == 0)) and self.evaluate_now():
            self._reporter.log(
                f"Stopped early at step {step}: held-out loss has not fallen in {watch.patience} evaluations "
                f"(best {self.progress.best_loss:.4f} at step {self.progress.best_step})."
            )
            control.should_training_stop = True
        if watch.checkpoint_seconds is not None and watch.clock() - self._saved_at >= watch.checkpoint_seconds:
            self.save()
        try:
            self._reporter.check()
        except JobCancelled:
            self.save()
            raise


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers' types are not followed
    """Calls the trainer back where the loop lets it."""

    def __init__(self, trainer: CompletionTrainer) -> None:
        self._trainer = trainer
        self._rate = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self._trainer.begin_epoch()

    def on_pre_optimizer_step(self, *_: Any, **kwargs: Any) -> None:
        self._rate = float(kwargs["optimizer"].param_groups[0]["lr"])

    def on_step_end(self, _: Any, __: Any, control: Any, **___: Any) -> None:
        self._trainer.after_step(control, self._rate)


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
