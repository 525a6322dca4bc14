from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from fixtures import train_toy
from fixtures.toy_model import make_toy_model
from fixtures.training_data import PROMPT, make_examples
from peft import PeftModel
from safetensors.torch import load_file

from forethought.core.seams import SilentReporter
from forethought.engine.decoder import make_decoder
from forethought.engine.loading import load
from forethought.engine.precision import pick_dtype
from forethought.engine.slots import Span
from forethought.errors import DataError, JobCancelled, TrainingError
from forethought.styles.reasoning import ReasoningStyle
from forethought.styles.two_turn import TwoTurnStyle
from forethought.training import data
from forethought.training.checkpoints import damage
from forethought.training.fused import FusedLora
from forethought.training.sft import SFT, SFTConfig

SMALL = SFTConfig(
    rank=4,
    epochs=1,
    batch_size=4,
    eval_every=4,
    samples=0,
    checkpoint_seconds=None,
    dtype="float32",
    learning_rate=1e-2,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory):
    return make_toy_model(tmp_path_factory.mktemp("toy"))


def train(folder, output, *, reporter=None, style=None, count=32, resume=False, sampler=None, held_out=6, **changes):
    method = SFT(SMALL.model_copy(update=changes))
    return run(method, folder, output, reporter, style, count, resume, sampler, held_out)


def run(method, folder, output, reporter, style=None, count=32, resume=False, sampler=None, held_out=6):
    return method.train(
        load(str(folder), dtype="float32"),
        make_examples(count),
        make_examples(held_out, seed=100) if held_out else [],
        style or ReasoningStyle(),
        PROMPT,
        output,
        reporter,
        resume,
        sampler,
    )


def losses(reporter):
    return [values["loss"] for _, values in reporter.points if "loss" in values]


def held_out(reporter):
    return [values["val_loss"] for _, values in reporter.points if "val_loss" in values]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- learning ---------------------------------------------------------------------------------------------------------


def test_held_out_loss_falls_and_only_the_adapter_is_left(toy_folder, tmp_path):
    reporter = SilentReporter()
    result = train(toy_folder, tmp_path, reporter=reporter, epochs=3)
    assert held_out(reporter)[-1] < 0.75 * held_out(reporter)[0]
    assert result.steps == 24 == len(losses(reporter))
    assert files(tmp_path) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/manifest.json",
        "adapter/training.json",
    ]


def test_the_adapter_on_disk_is_the_model_that_was_trained(toy_folder, tmp_path):
    reporter = SilentReporter()
    result = train(toy_folder, tmp_path, reporter=reporter)
    loaded = load(str(toy_folder), adapter=result.path, dtype="float32")
    assert isinstance(loaded.model, PeftModel)
    val_loss = plain_loss(loaded, make_examples(6, seed=100))
    assert val_loss == pytest.approx(result.metrics["val_loss"], rel=1e-4)


def plain_loss(loaded, examples):
    rows = data.encode(
        examples, ReasoningStyle(), PROMPT, loaded.tokenizer, max_length=999, stop_ids={loaded.tokenizer.eos_token_id}
    )
    total = count = 0
    for row in rows:
        ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
        with torch.no_grad():
            total += float(loaded.model(input_ids=ids, labels=labels).loss) * row.trained_tokens
        count += row.trained_tokens
    return total / count


@pytest.mark.parametrize("changes", [{"fused": False}, {"max_batch_tokens": 100}])
def test_every_way_of_computing_gives_the_same_curve(toy_folder, tmp_path, changes):
    fast, other = SilentReporter(), SilentReporter()
    train(toy_folder, tmp_path / "a", reporter=fast)
    train(toy_folder, tmp_path / "b", reporter=other, **changes)
    assert losses(other) == pytest.approx(losses(fast), rel=1e-3)
    assert held_out(other) == pytest.approx(held_out(fast), rel=1e-3)


def test_full_tuning_writes_a_whole_model(toy_folder, tmp_path):
    reporter = SilentReporter()
    result = train(toy_folder, tmp_path, reporter=reporter, full=True, epochs=2, learning_rate=3e-3)
    assert held_out(reporter)[-1] < 0.75 * held_out(reporter)[0]
    again = load(str(result.path), dtype="float32")
    assert plain_loss(again, make_examples(6, seed=100)) == pytest.approx(result.metrics["val_loss"], rel=1e-4)
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pt"))


def test_two_turn_examples_are_learnt(toy_folder, tmp_path):
    reporter = SilentReporter()
    train(toy_folder, tmp_path, reporter=reporter, style=TwoTurnStyle(), epochs=2)
    assert held_out(reporter)[-1] < 0.8 * losses(reporter)[0]


def test_bfloat16_products_follow_the_float32_curve(toy_folder, tmp_path):
    exact, short = SilentReporter(), SilentReporter()
    train(toy_folder, tmp_path / "a", reporter=exact)
    train(toy_folder, tmp_path / "b", reporter=short, dtype="bfloat16")
    assert losses(short) == pytest.approx(losses(exact), rel=0.03)


# --- watching ---------------------------------------------------------------------------------------------------------


def test_samples_are_shown_at_each_evaluation(toy_folder, tmp_path):
    reporter = SilentReporter()
    train(toy_folder, tmp_path, reporter=reporter, samples=2, sample_tokens=8)
    assert [step for step, _ in reporter.samples] == [4, 4, 8, 8]
    assert {sample["example_id"] for _, sample in reporter.samples} == {"example-100", "example-101"}
    assert all(isinstance(sample["said"], list) for _, sample in reporter.samples)


def test_a_sampler_of_the_callers_sees_the_live_model(toy_folder, tmp_path):
    seen = []

    def sampler(model, tokenizer):
        seen.append(sum(float(p.detach().abs().sum()) for p in model.parameters() if p.requires_grad))
        return [{"text": tokenizer.decode([5])}]

    reporter = SilentReporter()
    train(toy_folder, tmp_path, reporter=reporter, sampler=sampler)
    assert len(reporter.samples) == 2
    assert len(set(seen)) == 2


def test_training_without_held_out_examples_reports_no_held_out_loss(toy_folder, tmp_path):
    result = train(toy_folder, tmp_path, held_out=0)
    assert "val_loss" not in result.metrics


def test_early_stopping_keeps_the_best_weights(toy_folder, tmp_path):
    reporter = SilentReporter()
    result = train(
        toy_folder, tmp_path, reporter=reporter, eval_every=1, patience=2, learning_rate=3.0, warmup=0.0, epochs=4
    )
    curve = held_out(reporter)
    assert result.steps < 32
    assert curve[-1] > min(curve)
    loaded = load(str(toy_folder), adapter=result.path, dtype="float32")
    assert plain_loss(loaded, make_examples(6, seed=100)) == pytest.approx(min(curve), rel=1e-3)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_examples_too_long_for_the_model_are_refused_before_the_first_step(toy_folder, tmp_path):
    with pytest.raises(DataError, match="max_length=40"):
        train(toy_folder, tmp_path, max_length=40)
    assert files(tmp_path) == []


def test_a_model_that_carries_an_adapter_is_refused(toy_folder, tmp_path):
    result = train(toy_folder, tmp_path / "first")
    loaded = load(str(toy_folder), adapter=result.path, dtype="float32")
    with pytest.raises(TrainingError, match="already carries an adapter"):
        SFT(SMALL).train(loaded, make_examples(4), [], ReasoningStyle(), PROMPT, tmp_path / "second")


def test_targets_that_no_layer_has_are_refused(toy_folder, tmp_path):
    with pytest.raises(TrainingError, match="query_layer"):
        train(toy_folder, tmp_path, targets=("query_layer",))


def test_a_loss_that_is_no_number_stops_training(toy_folder, tmp_path):
    loaded = load(str(toy_folder), dtype="float32")
    with torch.no_grad():
        loaded.model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="loss became nan at step 1"):
        SFT(SMALL).train(loaded, make_examples(4), [], ReasoningStyle(), PROMPT, tmp_path)


# --- what was trained is what is served -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_engines_decoder_gives_the_logits_training_saw(toy_folder, tmp_path, dtype):
    """Positions and rotations of both forwards are the same: the weights are cast alike, everything else is float32."""
    result = train(toy_folder, tmp_path, epochs=2, dtype=dtype)
    loaded = load(str(toy_folder), adapter=result.path, dtype="float32")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 300, (2, 200), generator=generator)
    ids[:, :30] = ids[0, :30]
    labels = torch.full_like(ids, data.IGNORE)
    labels[:, 40:] = ids[:, 40:]
    with torch.no_grad():
        fused = FusedLora(loaded.model, torch.float32)
        with fused.step():
            hidden, _ = fused.hidden(ids, labels)
        trained = hidden @ loaded.model.get_output_embeddings().weight.T
        served = torch.cat([logits_of(make_decoder(loaded.model, torch.float32), row) for row in ids])
    assert trained.shape == served.shape == (2 * 160, trained.shape[1])
    torch.testing.assert_close(trained, served, rtol=0, atol=1e-4)


def logits_of(decoder, row):
    """What comes after each of the positions 39 to 198, from a prefill of the first 20 and the rest at once."""
    decoder.cache.reserve(160, len(row))
    copies = row.expand(160, -1)
    decoder.forward(copies[:, :20], torch.full((160,), 19), Span.prefill(0, 160, 20, 0))
    return decoder.forward(copies[:, 20:], torch.arange(19, 179), Span.prefill(0, 160, len(row) - 20, 20))


def test_bfloat16_training_leaves_the_rotary_frequencies_in_float32(toy_folder):
    loaded = load(str(toy_folder), dtype="float32")
    expected = loaded.model.model.rotary_emb.inv_freq.clone()
    model = SFT(SMALL)._prepare(loaded, torch.bfloat16)
    assert torch.equal(model.get_base_model().model.rotary_emb.inv_freq, expected)
    cast = load(str(toy_folder), dtype="bfloat16").model
    assert torch.equal(cast.model.rotary_emb.inv_freq, expected)


def test_a_gpu_without_bfloat16_trains_in_float32(toy_folder, monkeypatch):
    """Gradients in float16 need their loss scaled, which nothing here does."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    pick_dtype.cache_clear()
    loaded = replace(load(str(toy_folder), dtype="float32"), device=torch.device("cuda"))
    assert SFT(SFTConfig())._dtype(loaded) == torch.float32
    pick_dtype.cache_clear()


def test_samples_come_from_weights_merged_as_they_are_served(toy_folder, tmp_path):
    """The products of training run under autocast; merging the adapter for a sample must not."""
    seen = []

    def sampler(model, tokenizer):
        seen.append(torch.is_autocast_enabled("cpu"))
        return []

    train(toy_folder, tmp_path, dtype="bfloat16", sampler=sampler)
    assert seen == [False, False]


# --- stopping and going on --------------------------------------------------------------------------------------------


@dataclass
class Canceller(SilentReporter):
    """Asks to stop after so many steps."""

    after: int = 3
    checks: int = field(default=0)

    def check(self) -> None:
        self.checks += 1
        if self.checks == self.after:
            raise JobCancelled("Stop.")


def test_a_cancelled_run_goes_on_where_it_stopped(toy_folder, tmp_path):
    whole, before, after = SilentReporter(), Canceller(), SilentReporter()
    expected = train(toy_folder, tmp_path / "whole", reporter=whole, epochs=2)
    with pytest.raises(JobCancelled):
        train(toy_folder, tmp_path / "parts", reporter=before, epochs=2)
    result = train(toy_folder, tmp_path / "parts", reporter=after, epochs=2, resume=True)
    assert losses(before) + losses(after) == pytest.approx(losses(whole), rel=1e-5)
    assert held_out(before) + held_out(after) == pytest.approx(held_out(whole), rel=1e-5)
    assert (result.steps, result.tokens) == (expected.steps, expected.tokens)
    assert_same_weights(result.path, expected.path)


def assert_same_weights(one, other):
    left, right = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-6)


@dataclass
class SlowAndKilled(SilentReporter):
    """A clock by which each step takes five seconds, in a run that ends without a word in the step after ``last``."""

    last: int = 13
    now: float = 1000.0

    def metrics(self, step: int, values: dict[str, float]) -> None:
        super().metrics(step, values)
        self.now += 5 * ("loss" in values)

    def check(self) -> None:
        if len(losses(self)) == self.last:
            raise SystemExit(9)


def test_a_run_of_few_long_steps_loses_half_a_minute_when_it_is_killed(toy_folder, tmp_path):
    slow, after, whole = SlowAndKilled(), SilentReporter(), SilentReporter()
    config = SMALL.model_copy(update={"epochs": 2, "checkpoint_seconds": SFTConfig().checkpoint_seconds})
    with pytest.raises(SystemExit):
        run(SFT(config, clock=lambda: slow.now), toy_folder, tmp_path / "killed", slow)
    kept = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").glob("step-*"))
    assert kept == ["step-00000006", "step-00000012"]
    resumed = run(SFT(config), toy_folder, tmp_path / "killed", after, resume=True)
    expected = run(SFT(config), toy_folder, tmp_path / "whole", whole)
    assert losses(slow)[:12] + losses(after) == pytest.approx(losses(whole), rel=1e-5)
    assert_same_weights(resumed.path, expected.path)


def test_a_result_whose_replacement_was_cut_in_two_is_found_again(toy_folder, tmp_path):
    result = train(toy_folder, tmp_path)
    result.path.rename(tmp_path / ".replaced-adapter")
    reporter = SilentReporter()
    assert train(toy_folder, tmp_path, reporter=reporter, resume=True).path == result.path
    assert losses(reporter) == []
    assert damage(result.path) is None


def test_other_settings_or_data_do_not_resume(toy_folder, tmp_path):
    with pytest.raises(JobCancelled):
        train(toy_folder, tmp_path, reporter=Canceller())
    with pytest.raises(TrainingError, match="other data"):
        train(toy_folder, tmp_path, count=28, resume=True)
    with pytest.raises(TrainingError, match="other settings"):
        train(toy_folder, tmp_path, learning_rate=5e-3, resume=True)
    train(toy_folder, tmp_path, resume=True)


def test_a_complete_run_is_not_made_again(toy_folder, tmp_path):
    first, again, other = (SilentReporter() for _ in range(3))
    result = train(toy_folder, tmp_path, reporter=first)
    assert train(toy_folder, tmp_path, reporter=again, resume=True) == result
    assert losses(again) == []
    train(toy_folder, tmp_path, reporter=other, resume=True, seed=1)
    assert len(losses(other)) == result.steps


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(toy_folder, tmp_path):
    with pytest.raises(JobCancelled):
        train(toy_folder, tmp_path, reporter=Canceller(after=5), checkpoint_seconds=0)
    newest = sorted((tmp_path / "checkpoints").glob("step-*"))[-1]
    flip_a_byte(newest / "weights.safetensors")
    reporter = SilentReporter()
    train(toy_folder, tmp_path, reporter=reporter, checkpoint_seconds=0, resume=True)
    assert any("step-00000005 is damaged (weights.safetensors has changed)" in line for line in reporter.lines)
    assert any("Resuming from checkpoint step-00000004" in line for line in reporter.lines)
    assert len(losses(reporter)) == 4


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_run_killed_between_checkpoints_ends_like_one_that_was_not(toy_folder, tmp_path):
    """kill -9 in the middle of the steps, then resume: the same curve and the same weights."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    before = {}
    with subprocess.Popen(
        [sys.executable, train_toy.__file__, toy_folder, tmp_path / "killed"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as victim:
        for line in victim.stdout:
            told = json.loads(line)
            before |= {told["step"]: told["loss"]} if "loss" in told else {}
            if told["step"] == 7:
                victim.send_signal(signal.SIGKILL)
                break
    assert victim.returncode == -signal.SIGKILL

    after, whole = SilentReporter(), SilentReporter()
    resumed = train_toy.run(toy_folder, tmp_path / "killed", after, resume=True)
    expected = train_toy.run(toy_folder, tmp_path / "whole", whole)
    first = min(curve(after))
    assert first >= 7
    assert f"Resuming from checkpoint step-{first - 1:08d}." in after.lines
    assert before | curve(after) == pytest.approx(curve(whole), rel=1e-5)
    assert (resumed.steps, resumed.tokens) == (expected.steps, expected.tokens)
    assert_same_weights(resumed.path, expected.path)


def curve(reporter):
    return {step: values["loss"] for step, values in reporter.points if "loss" in values}
