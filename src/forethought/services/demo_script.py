"""What a demonstration makes: how much, under which names, and the commands that make the same."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from shutil import which
from typing import Any
from zlib import crc32

from forethought.core.records import Json
from forethought.services.workbench import BASE
from forethought.settings import Settings


@dataclass(frozen=True)
class Plan:
    """How much data and training a demonstration takes."""

    train: int
    """Problems to learn from."""
    heldout: int
    """Problems of unseen words to be judged on."""
    max_tokens: int
    """Longest completion in the evaluation."""
    level: int | None = None
    sft: dict[str, Json] = field(default_factory=dict)


PLANS = {
    "syllogism": Plan(train=700, heldout=200, max_tokens=192, sft={"batch_size": 8}),
    "loan": Plan(train=1000, heldout=200, max_tokens=224, sft={"batch_size": 8}),
    "arithmetic": Plan(train=2200, heldout=200, max_tokens=192, sft={"batch_size": 8}),
}
FAST = {
    "syllogism": Plan(train=240, heldout=40, max_tokens=96, level=2, sft={"batch_size": 6}),
    "loan": Plan(train=200, heldout=40, max_tokens=192, level=1, sft={"batch_size": 4}),
    "arithmetic": Plan(train=240, heldout=40, max_tokens=128, level=2, sft={"batch_size": 6}),
}


@dataclass(frozen=True)
class Script:
    """Names, options and command lines of one demonstration. ``part`` is ``train`` or ``heldout``."""

    task: str
    plan: Plan
    alias: str
    """The name the best model gets. A first look has one of its own, so that it never takes a better model's."""
    prefix: str
    """Beginning of the names of everything made."""
    workspace: Path
    out: Path

    def named(self, part: str) -> str:
        """The dataset, model or tag of that part."""
        return f"{self.prefix}-{part}"

    # --- options of the service calls -----------------------------------------------------------------------------

    def generate_options(self, part: str) -> dict[str, Any]:
        """Of ``data.generate``."""
        options: dict[str, Any] = {"count": self.plan.train, "seed": self._seed(part), "tags": (self.named(part),)}
        if self.plan.level is not None:
            options["level"] = self.plan.level
        if part == "heldout":
            options |= {"count": self.plan.heldout, "vocabulary": "heldout", "solve": False}
        return options

    def freeze_options(self, part: str) -> dict[str, Any]:
        """Of ``datasets.create``."""
        where = f"tag:{self.named(part)}"
        if part == "heldout":
            return {"where": where, "kind": "problems", "split": "test=1"}
        return {"where": f"{where} verified:yes", "split": "train=0.95,val=0.05"}

    def arms(self) -> list[str]:
        """Of ``evaluations.submit``."""
        return [
            f"base={BASE}@answer",
            f"few-shot={BASE}+few-shot@reasoning",
            f"answer={self.named('answer')}",
            f"reasoning={self.named('reasoning')}",
        ]

    # --- the commands that do the same ----------------------------------------------------------------------------

    def make_task(self) -> str:
        return self.command("task", "example", self.task)

    def generate(self, part: str) -> str:
        options = self.generate_options(part)
        given = [key for key in ("count", "seed", "level", "vocabulary") if key in options]
        words = [word for key in given for word in (f"--{key}", str(options[key]))]
        words += [] if options.get("solve", True) else ["--no-solve"]
        return self.command("data", "generate", "--task", self.task, *words, "--tag", *options["tags"])

    def freeze(self, part: str) -> str:
        options = self.freeze_options(part)
        kind = ["--kind", options["kind"]] if "kind" in options else []
        return self.command(
            "dataset", "create", self.named(part), "--task", self.task,
            "--filter", options["where"], *kind, "--split", options["split"],
        )  # fmt: skip

    def train(self, style: str) -> str:
        options = [word for key, value in self.plan.sft.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        return self.command(
            "train", "sft", "--dataset", self.named("train"), "--style", style, "--name", self.named(style), *options
        )

    def evaluate(self) -> str:
        arms = [word for arm in self.arms() for word in ("--arm", arm)]
        return self.command(
            "eval", "run", "--dataset", self.named("heldout"), *arms, "--shots-from", self.named("train"),
            "--max-tokens", str(self.plan.max_tokens), "--out", str(self.out),
        )  # fmt: skip

    def promote(self, model: str) -> str:
        return self.command("models", "promote", model, self.alias)

    def command(self, *words: str) -> str:
        """A command line that works on this very workspace."""
        elsewhere = (
            [] if self.workspace == Settings.read().workspace.resolve() else ["--workspace", str(self.workspace)]
        )
        return join([_program(), *elsewhere, *words])

    def _seed(self, part: str) -> int:
        """Of its own for every demonstration, so that none finds its problems under another one's tag."""
        return crc32(self.named(part).encode()) % 100_000


def _program() -> str:
    """``forethought`` where a shell finds it, else the path of the one in this virtual environment."""
    if which("forethought"):
        return "forethought"
    beside = Path(sys.executable).with_name("forethought")
    if not beside.exists():
        return "forethought"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
