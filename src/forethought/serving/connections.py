"""Caps connections and drops slow ones, so that a thousand idle sockets cannot lock others out.

uvicorn has no time limit for a request that never ends, and counts idle connections against its own limit.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from forethought.serving.settings import ServingSettings

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error": {"message": "Too many connections.", "type": "server_error", "param": null, "code": null}}'
)


def capped_protocol(settings: ServingSettings) -> type[H11Protocol]:
    """A protocol class for uvicorn with this server's limits."""

    class CappedProtocol(H11Protocol):
        """A connection that is not *at work* (its request has not arrived completely) has a deadline, and is the
        first to go, oldest first, when there are too many."""

        _deadline: asyncio.TimerHandle | None = None

        @property
        def is_at_work(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            self._watch()
            others = [c for c in self.connections if isinstance(c, CappedProtocol) and c is not self]
            if len(others) >= settings.max_connections:
                self._make_room(others)

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.is_at_work:
                self._unwatch()
            elif self._deadline is None and not self.transport.is_closing():
                self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.is_at_work and self._deadline is None and not self.transport.is_closing():
                self._watch()

        def _make_room(self, others: list[CappedProtocol]) -> None:
            waiting = [c for c in others if c._deadline is not None]
            if waiting:
                min(waiting, key=lambda c: c._deadline.when() if c._deadline else 0.0).transport.abort()
                return
            self.transport.write(_FULL)
            self.transport.close()

        def _watch(self) -> None:
            self._deadline = self.loop.call_later(settings.request_seconds + 1, self._too_slow)

        def _unwatch(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._deadline = None
            self.transport.abort()

    return CappedProtocol
