"""Runs every benchmark, one after another, each in a process of its own, and says where the figures are.

Usage: python benchmarks/run_all.py [NAME ...]      without names: all of them
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPTS = ("store", "generation", "sft", "demo")


def main() -> int:
    """Exit code 0 when every benchmark ran."""
    chosen = sys.argv[1:] or SCRIPTS
    unknown = [name for name in chosen if name not in SCRIPTS]
    if unknown:
        print(f"error: there is no benchmark '{unknown[0]}'. Known: {', '.join(SCRIPTS)}.", file=sys.stderr)
        return 2
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        began = time.monotonic()
        code = subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], check=False).returncode
        print(
            f"== {name}: {'done' if code == 0 else f'failed ({code})'} in {time.monotonic() - began:.0f} s", flush=True
        )
        if code:
            failed.append(name)
    print(f"figures: {FOLDER / 'results'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
