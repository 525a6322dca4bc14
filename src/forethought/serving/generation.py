"""Runs the answers of one request in threads and hands their pieces to the event loop.

Engines batch what runs at the same time, so every answer simply streams in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from forethought.core.flow import Rollout, sample_sampling, stream_out
from forethought.core.seams import Delta, Style
from forethought.serving.failures import ApiError
from forethought.serving.hub import Lease
from forethought.serving.protocol import Ask


@dataclass(frozen=True)
class Piece:
    """A delta of one answer, the finished answer, or what broke it."""

    choice: int
    what: Delta | Rollout | Exception


class Slots:
    """How many answers may be running or waiting. Used from the event loop only."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.used = 0

    def take(self, count: int) -> None:
        """ApiError 429 when there is no room: a caller learns at once rather than after a long wait."""
        if self.used + count > self._capacity:
            raise ApiError(
                429,
                "The server is busy: too many answers are being written or waiting. Try again shortly.",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        self.used += count

    def give_back(self, count: int) -> None:
        self.used -= count


class Generation:
    """The answers to one request. ``pieces`` ends when all are complete; ``cancel`` stops them at their next token."""

    def __init__(self, lease: Lease, style: Style, ask: Ask, executor: Executor, on_over: Callable[[], None]) -> None:
        """Starts at once. ``on_over`` is called in the event loop when the last thread is done with the model."""
        self._lease = lease
        self._style = style
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._cancelled = threading.Event()
        jobs = [self._loop.run_in_executor(executor, self._write, choice) for choice in range(ask.choices)]
        self.over = asyncio.gather(*jobs, return_exceptions=True)
        self.over.add_done_callback(lambda _: on_over())

    def cancel(self) -> None:
        self._cancelled.set()

    async def pieces(self) -> AsyncIterator[Piece]:
        """As they come, choices interleaved. Ends with the last choice's rollout or error."""
        open_choices = self._ask.choices
        while open_choices:
            piece = await self._pieces.get()
            open_choices -= not isinstance(piece.what, Delta)
            yield piece

    def _write(self, choice: int) -> None:
        try:
            self._stop_if_cancelled()
            rollout = stream_out(
                self._lease.chat,
                self._style,
                self._ask.prompt,
                self._ask.input,
                sampling=sample_sampling(self._ask.sampling, choice),
                json_schema=self._ask.json_schema,
                history=self._ask.history,
            )
            with contextlib.closing(rollout):
                for what in rollout:
                    self._stop_if_cancelled()
                    self._tell(Piece(choice, what))
        except Exception as error:
            self._tell(Piece(choice, error))

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise ApiError(503, "The answer was stopped before it was complete.", code="stopped")

    def _tell(self, piece: Piece) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
