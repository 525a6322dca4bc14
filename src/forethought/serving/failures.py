"""Errors in the shape OpenAI's API uses, so that its clients raise the exceptions their users expect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from forethought.errors import ForethoughtError, NotFoundError, RecordError, UsageError

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal with its HTTP status. ``param`` names the request field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """``{"error": …}`` as the reply or the last event of a stream."""
        error = {"message": self.message, "type": _kind(self.status), "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The whole reply."""
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the caller should change the request."""
    return ApiError(400, message, param=param, code=code)


def as_api_error(error: Exception) -> ApiError:
    """Any error as one a caller may see. Unexpected ones are logged and say nothing of the inside."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, NotFoundError):
        return ApiError(404, str(error), param="model", code="model_not_found")
    if isinstance(error, UsageError | RecordError):
        return bad_request(str(error))
    if isinstance(error, ForethoughtError):
        log.error("A request failed: %s", error)
        return ApiError(500, str(error))
    log.error("A request failed unexpectedly.", exc_info=error)
    return ApiError(500, "The server failed to answer; its log says why.")


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status >= 500:
        return "server_error"
    return "invalid_request_error"
