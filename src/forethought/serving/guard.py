"""Keeps web pages and strangers out of a server on this machine.

A page in the user's browser can reach loopback. It cannot forge ``Host`` (so DNS rebinding shows there) nor
``Origin``; callers that are no browsers send no ``Origin``.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forethought.serving.failures import ApiError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI middleware: unknown Host -> 400, foreign Origin or cross-site fetch -> 403, stalled readers are dropped."""

    def __init__(self, app: ASGIApp, *, send_seconds: float) -> None:
        self._app = app
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def patient_send(message: Message) -> None:
            await asyncio.wait_for(send(message), self._send_seconds)

        refusal = refuse_stranger(Headers(scope=scope))
        if refusal is not None:
            await refusal.response()(scope, receive, patient_send)
            return
        await self._app(scope, receive, patient_send)


def refuse_stranger(headers: Headers) -> ApiError | None:
    """Why a request may not come in, None if it may."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _host_name(hosts[0]) not in LOOPBACK_NAMES:
        return ApiError(400, "The Host header does not name this machine; use 127.0.0.1 or localhost.")
    origins = headers.getlist("origin")
    if any(urlsplit_or_none(origin) != hosts[0].lower() for origin in origins):
        return ApiError(403, "Requests from other sites are refused.")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return ApiError(403, "Requests from other sites are refused.")
    return None


def urlsplit_or_none(origin: str) -> str | None:
    """The host and port of an origin, lower case; None if it is not one."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return None
    is_plain = parts.netloc == host and "@" not in host and port_is_valid
    return parts.hostname if is_plain else None
