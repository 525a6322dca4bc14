"""The routes: ``/v1/chat/completions``, ``/v1/models`` and ``/health``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from forethought.core.flow import Rollout
from forethought.core.records import Model
from forethought.core.seams import Delta
from forethought.errors import ForethoughtError
from forethought.serving.failures import ApiError, as_api_error
from forethought.serving.generation import Generation, Piece, Slots
from forethought.serving.guard import Guard
from forethought.serving.hub import Hub, Lease
from forethought.serving.protocol import Ask, ChatBody, read_ask, read_body
from forethought.serving.replies import DONE, Reply, event, raise_if_broken
from forethought.serving.settings import DEFAULT_SETTINGS, ServingSettings


def create_app(hub: Hub, settings: ServingSettings = DEFAULT_SETTINGS) -> FastAPI:
    """The server as an ASGI app. Closing it (lifespan) stops what runs and unloads the hub's models;
    ``app.state.stop_answers()`` ends the running answers with an error their callers can read."""
    desk = _Desk(hub, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.close()

    app = FastAPI(title="Forethought", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, send_seconds=settings.send_seconds)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(ForethoughtError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _api_error)
    app.state.stop_answers = desk.stop_answers
    app.add_api_route("/v1/chat/completions", desk.chat, methods=["POST"])
    app.add_api_route("/v1/models", desk.models, methods=["GET"])
    app.add_api_route("/v1/models/{name}", desk.model, methods=["GET"])
    app.add_api_route("/health", desk.health, methods=["GET"])
    return app


class _Desk:
    """Takes requests in, gives replies out."""

    def __init__(self, hub: Hub, settings: ServingSettings) -> None:
        self._hub = hub
        self._settings = settings
        self._slots = Slots(settings.max_running + settings.max_queued)
        self._writers = ThreadPoolExecutor(settings.max_running, thread_name_prefix="writer")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._running: set[Generation] = set()

    def stop_answers(self) -> None:
        for generation in self._running:
            generation.cancel()

    async def close(self) -> None:
        self.stop_answers()
        await asyncio.to_thread(self._writers.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._loader.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._hub.close)

    async def chat(self, request: Request) -> Response:
        body = read_body(await _received(request, self._settings), self._settings)
        model = await asyncio.to_thread(self._hub.find, body.model)
        task = await asyncio.to_thread(self._hub.task, model)
        ask = await asyncio.to_thread(read_ask, body, model, self._hub.style(model), task, self._settings)
        generation = await self._start(model, ask)
        pieces = generation.pieces()
        try:
            if body.stream:
                return await self._streamed(body, model, ask, generation, pieces)
            return await self._whole(request, model, ask, pieces)
        except BaseException:
            generation.cancel()
            raise

    async def models(self) -> dict[str, Any]:
        served = await asyncio.to_thread(self._hub.names)
        return {"object": "list", "data": [_model_card(name, model) for name, model in served.items()]}

    async def model(self, name: str) -> dict[str, Any]:
        return _model_card(name, await asyncio.to_thread(self._hub.find, name))

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "loaded": self._hub.loaded(), "answers_in_progress": self._slots.used}

    async def _start(self, model: Model, ask: Ask) -> Generation:
        """A generation that holds its slots and its model until its last thread is done, whoever listens."""
        self._slots.take(ask.choices)
        try:
            lease = await self._lease(model)
        except BaseException:
            self._slots.give_back(ask.choices)
            raise

        def over() -> None:
            self._running.discard(generation)
            self._slots.give_back(ask.choices)
            lease.close()

        generation = Generation(lease, self._hub.style(model), ask, self._writers, over)
        self._running.add(generation)
        return generation

    async def _lease(self, model: Model) -> Lease:
        """The loaded model. Loads wait in line behind one thread; requests for loaded models never wait."""
        lease = self._hub.lease(model)
        if lease is not None:
            return lease
        loading = asyncio.get_running_loop().run_in_executor(self._loader, self._hub.load, model)
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_close_unwanted)
            raise

    async def _whole(self, request: Request, model: Model, ask: Ask, pieces: AsyncIterator[Piece]) -> Response:
        collecting = asyncio.create_task(_collect(pieces, ask.choices))
        leaving = asyncio.create_task(_caller_left(request))
        try:
            await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not collecting.done():
                raise _caller_gone()
            reply = Reply(model).whole(collecting.result(), ask.warnings)
        finally:
            collecting.cancel()
            leaving.cancel()
        return JSONResponse(reply, headers=_warning_header(ask))

    async def _streamed(
        self, body: ChatBody, model: Model, ask: Ask, generation: Generation, pieces: AsyncIterator[Piece]
    ) -> Response:
        """Waits for the first piece, so that what fails at once is an HTTP error and not a broken stream."""
        first = await anext(pieces)
        _raise_if_error(first)
        wants_usage = bool(body.stream_options and body.stream_options.include_usage)
        events = _events(Reply(model), ask, first, pieces, wants_usage=wants_usage)
        return _EventStream(events, _warning_header(ask), on_end=generation.cancel)


class _EventStream(StreamingResponse):
    """Server-sent events. ``on_end`` is called however the stream ends, even before it began."""

    def __init__(self, events: AsyncIterator[bytes], headers: dict[str, str], on_end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache", **headers})
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _events(
    reply: Reply, ask: Ask, first: Piece, pieces: AsyncIterator[Piece], *, wants_usage: bool
) -> AsyncIterator[bytes]:
    rollouts: list[Rollout] = []
    try:
        for choice in range(ask.choices):
            yield event(reply.opening(choice, ask.warnings if choice == 0 else ()))
        async for piece in _chain(first, pieces):
            _raise_if_error(piece)
            if isinstance(piece.what, Delta):
                yield event(reply.delta(piece.choice, piece.what))
            elif isinstance(piece.what, Rollout):
                rollouts.append(piece.what)
                yield event(reply.closing(piece.choice, piece.what))
        if wants_usage:
            yield event(reply.usage_chunk(rollouts))
        yield DONE
    except Exception as error:
        yield event(as_api_error(error).body())


async def _chain(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


async def _collect(pieces: AsyncIterator[Piece], choices: int) -> list[Rollout]:
    rollouts: dict[int, Rollout] = {}
    async for piece in pieces:
        _raise_if_error(piece)
        if isinstance(piece.what, Rollout):
            rollouts[piece.choice] = piece.what
    return [rollouts[choice] for choice in range(choices)]


def _raise_if_error(piece: Piece) -> None:
    if isinstance(piece.what, Exception):
        raise as_api_error(piece.what)
    if isinstance(piece.what, Rollout):
        raise_if_broken(piece.what)


async def _received(request: Request, settings: ServingSettings) -> bytes:
    """The body, if it is JSON, small enough and arrives in time. Reading stops at the limit."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"The body must be application/json, found '{kind[:80]}'.")
    too_large = ApiError(
        413,
        f"The body is larger than {settings.max_body_bytes} bytes.",
        code="request_too_large",
        headers={"Connection": "close"},
    )
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.request_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
    except ClientDisconnect:
        raise _caller_gone() from None
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time.", headers={"Connection": "close"}) from None
    return bytes(body)


async def _caller_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _caller_gone() -> ApiError:
    return ApiError(499, "The caller left.")


def _close_unwanted(loading: asyncio.Future[Lease]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _warning_header(ask: Ask) -> dict[str, str]:
    return {"X-Forethought-Warning": " ".join(ask.warnings)} if ask.warnings else {}


def _model_card(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "forethought",
        "root": model.name,
        "style": model.style,
    }


async def _api_error(_: Request, error: Exception) -> Response:
    return as_api_error(error).response()


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    messages = {404: "There is no such path here.", 405: "This path does not take that method."}
    return ApiError(status, messages.get(status, "The request was refused.")).response()
