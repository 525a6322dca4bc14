"""Listens on a loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable

import uvicorn

from forethought.errors import ServingError
from forethought.serving.app import create_app
from forethought.serving.connections import capped_protocol
from forethought.serving.hub import Hub
from forethought.serving.settings import DEFAULT_SETTINGS, ServingSettings

_STOPPING_SECONDS = 5
"""What a stopped answer gets to reach its next token and tell its caller, before its connection is cut."""


def serve(
    hub: Hub,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    settings: ServingSettings = DEFAULT_SETTINGS,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answers until interrupted. ``on_ready`` gets the base URL; port 0 takes a free one.

    ServingError in one line for an address that is not loopback or a port that cannot be had.
    """
    listener = listen(host, port)
    server = make_server(hub, settings)
    if on_ready is not None:
        on_ready(f"{base_url(listener)}/v1")
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly end
            server.run(sockets=[listener])
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound loopback socket. There are no accounts, so nobody else on the network may come in."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ServingError(
            f"'{host[:80]}' is not a loopback address, and this server has no accounts.",
            hint="Use 127.0.0.1, and a tunnel or an authenticating proxy for access from elsewhere.",
        )
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        is_busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        problem = f"Port {port} of {address} is already in use." if is_busy else f"Cannot listen on {address}: {error}."
        raise ServingError(problem, hint="Choose another with --port.") from error
    return listener


def make_server(hub: Hub, settings: ServingSettings = DEFAULT_SETTINGS) -> uvicorn.Server:
    """A uvicorn server that has yet to be run on a socket."""
    app = create_app(hub, settings)
    config = uvicorn.Config(
        app,
        http=capped_protocol(settings),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_seconds + _STOPPING_SECONDS,
    )
    return _Server(config, app.state.stop_answers, settings.shutdown_seconds)


class _Server(uvicorn.Server):
    """When asked to stop, running answers may finish for a while; then they end with an error, not a broken stream."""

    def __init__(self, config: uvicorn.Config, stop_answers: Callable[[], None], grace_seconds: int) -> None:
        super().__init__(config)
        self._stop_answers = stop_answers
        self._grace_seconds = grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(self._grace_seconds, self._stop_answers)
        await super().shutdown(sockets)


def base_url(listener: socket.socket) -> str:
    """``http://address:port`` of a bound socket."""
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
