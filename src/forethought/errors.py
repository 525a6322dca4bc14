"""Every error Forethought raises on purpose, named by the boundary that was crossed.

A message says what was wrong and what was found; ``hint`` says what to do next. Each class also inherits the
standard exception a Python reader would expect, so ``except KeyError`` style code keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ForethoughtError(Exception):
    """Root of all deliberate errors. ``exit_code`` is what the command line exits with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(ForethoughtError, ValueError):
    """What the caller asked for makes no sense as asked."""

    exit_code = 2


class NotFoundError(ForethoughtError, LookupError):
    """A name or id that nothing answers to."""

    exit_code = 2


class MissingExtraError(ForethoughtError, ImportError):
    """An optional part of the installation is needed and absent."""

    exit_code = 2


class RecordError(ForethoughtError, ValueError):
    """A record breaks a rule of its own."""


class StoreError(ForethoughtError, RuntimeError):
    """The database or the workspace folder refused."""


class ConflictError(StoreError):
    """Somebody else changed the thing first."""


class DataError(ForethoughtError, ValueError):
    """Data that cannot be read, frozen or trained on as it is."""


class VerifierError(ForethoughtError, RuntimeError):
    """A verifier could not judge. The attempt is *not* wrong because of it."""


class UnsolvableError(ForethoughtError, ValueError):
    """A solver met a problem outside what it can solve."""


class ModelFileError(ForethoughtError, ValueError):
    """Model files that are missing, unsafe or not what they say."""


class EngineError(ForethoughtError, RuntimeError):
    """Local generation failed."""


class ProviderError(ForethoughtError, RuntimeError):
    """A remote model failed to answer."""


class TrainingError(ForethoughtError, RuntimeError):
    """Training cannot start or cannot go on."""


class JobError(ForethoughtError, RuntimeError):
    """Durable work was lost, cancelled or refused."""


class JobCancelled(JobError):
    """Somebody asked the work to stop. Not a failure."""


class ServingError(ForethoughtError, RuntimeError):
    """The server cannot start or cannot answer."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or the list of all."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names)}." if names else "There is none yet."
