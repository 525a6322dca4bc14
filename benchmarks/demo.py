"""The demonstration of each example task, from an empty workspace: minutes, peak memory, accuracy of every arm.

Usage: python benchmarks/demo.py [TASK ...] [--keep FOLDER]      without names: syllogism, loan, arithmetic
The reports stay in FOLDER.
Targets on two cores: syllogism within 12 minutes, reasoning >= 0.85 and 0.30 above answer; loan and arithmetic within
30 minutes each, reasoning >= 0.80; peak memory of the whole process tree <= 6 GB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"
TASKS = ("syllogism", "loan", "arithmetic")


def main() -> None:
    """Writes one result file a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="*")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    for task in args.task or TASKS:
        result = measure(task, args.keep)
        (RESULTS / f"demo-{task}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))


def measure(task: str, keep: Path | None = None) -> dict[str, object]:
    """One demonstration in a fresh workspace; its report is copied to ``keep / task``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-c", "from forethought.cli import main; main()"]
        command += ["--workspace", str(Path(folder) / "workspace"), "demo", "--task", task, "--out", str(out)]
        began = time.monotonic()
        process = subprocess.Popen(command)
        peak = PeakMemory(process.pid, str(Path(folder).resolve()))
        peak.start()
        code = process.wait()
        minutes = (time.monotonic() - began) / 60
        peak_gb = peak.stop()
        if code:
            raise SystemExit(f"the demonstration of {task} ended with {code}")
        report = json.loads((out / "report.json").read_text())
        if keep is not None:
            shutil.copytree(out, keep / task, dirs_exist_ok=True)
    return {
        "command": f"python benchmarks/demo.py {task}",
        "task": task,
        "cores": psutil.cpu_count(),
        "minutes": round(minutes, 2),
        "peak_memory_gb": round(peak_gb, 2),
        "chance_level": report["chance_level"],
        "verdict": report["verdict"],
        "arms": [
            {key: arm[key] for key in ("name", "n", "accuracy", "ci_low", "ci_high", "verified_accuracy", "seconds")}
            for arm in report["arms"]
        ],
    }


class PeakMemory(threading.Thread):
    """Samples the proportional memory (PSS) of a process, of the workers whose command names its folder, and of all
    that these started: shared pages count once."""

    def __init__(self, pid: int, folder: str) -> None:
        super().__init__(daemon=True)
        self._pid, self._folder = pid, folder
        self._peak = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(1.0):
            self._peak = max(self._peak, sum(_pss(process) for process in self._tree()))

    def stop(self) -> float:
        """Peak in GB (10^9 bytes)."""
        self._done.set()
        self.join()
        return self._peak / 1e9

    def _tree(self) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for process in psutil.process_iter(["cmdline"]):
            if process.pid == self._pid or any(self._folder in word for word in process.info["cmdline"] or []):
                found.add(process)
                with suppress(psutil.Error):
                    found |= set(process.children(recursive=True))
        return found


def _pss(process: psutil.Process) -> int:
    try:
        return int(getattr(process.memory_full_info(), "pss", 0))
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
