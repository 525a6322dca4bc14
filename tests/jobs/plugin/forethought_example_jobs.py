"""Job bodies for the tests, found as any other package's would be: by the entry point ``forethought.job``."""

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

from forethought.errors import DataError
from forethought.jobs.context import JobContext, JobResult


def count(context: JobContext) -> JobResult:
    """Counts to ``steps``; goes on from its checkpoint; at step ``pause_at`` it waits for a file called ``go``."""
    steps, pause_at = context.run.config["steps"], context.run.config.get("pause_at")
    checkpoint = context.folder / "checkpoint"
    done = int(checkpoint.read_text()) if context.resuming and checkpoint.exists() else 0
    context.reporter.log(f"from {done}")
    first = done
    while done < steps:
        context.reporter.check()
        if done == pause_at and not (context.folder / "go").exists():
            (context.folder / "paused").touch()
            time.sleep(0.02)
            continue
        done += 1
        temporary = checkpoint.with_suffix(".tmp")
        temporary.write_text(str(done))
        temporary.replace(checkpoint)
        context.reporter.progress(done, steps)
        context.reporter.metrics(done, {"loss": 1 / done, "odd": float("nan")})
    context.reporter.sample(done, {"answer": "<b>yes</b>\x00"})
    return JobResult(metrics={"first": first, "last": done}, artefacts={"count": "checkpoint"})


def raise_error(context: JobContext) -> JobResult:
    context.reporter.log("about to fail")
    if context.run.config.get("ours"):
        raise DataError("The file is empty.", hint="Add a line.")
    raise ValueError("first line\nsecond line")


def signal_itself(context: JobContext) -> JobResult:
    context.reporter.log("about to die")
    os.kill(os.getpid(), context.run.config["number"])
    time.sleep(60)
    return JobResult()


def deaf(context: JobContext) -> JobResult:
    """Never asks whether it should stop."""
    (context.folder / "paused").touch()
    time.sleep(600)
    return JobResult()


def parent(context: JobContext) -> JobResult:
    """Has a child of its own and waits for it."""
    child = subprocess.Popen(["sleep", "600"])
    (context.folder / "pids.tmp").write_text(f"{os.getpid()} {child.pid}")
    (context.folder / "pids.tmp").rename(context.folder / "pids")
    child.wait()
    return JobResult()


def leak(context: JobContext) -> JobResult:
    key = os.environ["EXAMPLE_API_KEY"]
    print(f"printed {key}", flush=True)
    context.reporter.log(f"logged {key}")
    context.reporter.progress(1, 2, message=f"shown {key}")
    raise RuntimeError(f"raised {key}")


def full(context: JobContext) -> JobResult:
    Path("/dev/full").write_text("x" * 100_000)
    return JobResult()


def fill(context: JobContext) -> JobResult:
    """Fills the disk to its last byte, then goes on reporting; when resumed it does nothing."""
    if context.resuming:
        return JobResult()
    with (context.folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    step = 0
    while True:
        step += 1
        context.reporter.metrics(step, {"loss": 1.0})
        context.reporter.log("x" * 2000)
        time.sleep(0.01)


def linger(context: JobContext) -> JobResult:
    """Leaves a thread behind that keeps its process from ending."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return JobResult()


def alone(context: JobContext) -> JobResult:
    """Fails when another one runs at the same time."""
    busy = context.workspace.root / "busy"
    busy.touch(exist_ok=False)
    until = time.monotonic() + context.run.config["seconds"]
    while time.monotonic() < until:
        context.reporter.check()
        time.sleep(0.02)
    busy.unlink()
    return JobResult()


def wrong(context: JobContext) -> JobResult | dict:
    return JobResult(metrics={"loss": object()}) if context.run.config.get("metrics") else {"not": "a result"}
