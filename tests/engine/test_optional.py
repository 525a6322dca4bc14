"""The libraries are asked for in one place and say nothing there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from peft import LoraConfig, get_peft_model

from forethought.engine import optional
from forethought.engine.loading import load
from forethought.errors import MissingExtraError

MERGE = """
import sys, warnings
from pathlib import Path
from forethought.engine.loading import load
from forethought.engine.local import LocalModel
from forethought.engine.merging import load_merged, save

base, adapter, merged = sys.argv[1:]
save(load_merged(base, [Path(adapter)]), Path(merged))
LocalModel(load(merged)).close()
import huggingface_hub.constants
assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
warnings.warn("the sky falls", UserWarning)
"""


def test_loading_and_merging_print_no_bars_and_report_nothing_but_real_warnings_come_through(toy_folder, tmp_path):
    adapted = get_peft_model(load(str(toy_folder)).model, LoraConfig(r=2, target_modules="all-linear"))
    adapted.save_pretrained(tmp_path / "adapter")
    command = [sys.executable, "-c", MERGE, toy_folder, tmp_path / "adapter", tmp_path / "merged"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "<string>:13: UserWarning: the sky falls\n"


def test_what_is_missing_is_named_with_what_brings_it(monkeypatch):
    optional.refuse_without_extra()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"'peft'.*forethought\[train\]"):
        optional.refuse_without_extra()
    with pytest.raises(MissingExtraError, match=r"'peft'.*forethought\[train\]"):
        optional.require("peft")
