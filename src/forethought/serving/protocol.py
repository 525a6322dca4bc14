"""Reads a chat completion request: OpenAI's JSON in, what a model is to be asked out. Nothing is ignored silently
that would change the answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forethought.core import strict_json
from forethought.core.records import Json, Message, Model, Prompt, Sampling, Task
from forethought.core.seams import Style
from forethought.errors import EngineError
from forethought.serving.failures import ApiError, bad_request
from forethought.serving.settings import ServingSettings
from forethought.verifiers.json_schema import fault_of_schema

OVERRIDE_WARNING = "The system message replaces the prompt this model was trained with; expect worse answers."
HISTORY_WARNING = (
    "This model was trained on single problems; earlier turns are shown to it but it never learnt from any."
)

_WITHOUT_EFFECT = {"user", "metadata", "store", "service_tier", "safety_identifier"} | {
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "parallel_tool_calls",
}
_SCHEMA = "response_format.json_schema.schema"
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "modalities": (["text"],),
}
"""Fields that are not supported, with the values that ask for nothing."""


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    def extras(self) -> dict[str, Any]:
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class TextPart(_Body):
    """A piece of a message; text is the only kind."""

    type: Literal["text"]
    text: str


class BodyMessage(_Body):
    """One message as a caller sends it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class JsonSchemaFormat(_Body):
    """The named schema inside a response format."""

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None
    """False lets keywords pass that an answer cannot be bound to while it is written."""
    description: str | None = None


class ResponseFormat(_Body):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Body):
    """Options of a streamed reply."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(_Body):
    """The request body. Fields not listed are refused unless they have no effect."""

    model: str = Field(min_length=1, max_length=256)
    messages: list[BodyMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    min_thinking_tokens: int | None = Field(default=None, ge=0)
    max_thinking_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    response_format: ResponseFormat | None = None

    @field_validator("stop")
    @classmethod
    def _few_and_short(cls, stop: str | list[str] | None) -> str | list[str] | None:
        stops = [stop] if isinstance(stop, str) else stop or []
        if len(stops) > 4 or any(not 1 <= len(text) <= 200 for text in stops):
            raise ValueError("up to 4 texts of 1 to 200 characters are allowed")
        return stop


@dataclass(frozen=True)
class Ask:
    """A request in our terms."""

    prompt: Prompt
    input: Json
    history: tuple[Message, ...]
    sampling: Sampling
    json_schema: dict[str, Any] | None
    choices: int
    warnings: tuple[str, ...]


def read_body(body: bytes, settings: ServingSettings) -> ChatBody:
    """The request, within the server's limits; ApiError 400 names the field at fault."""
    try:
        request = ChatBody.model_validate_json(body)
    except ValidationError as error:
        raise _first_fault(error) from error
    _refuse_unsupported(request)
    _refuse_excess(request, settings)
    return request


def read_ask(request: ChatBody, model: Model, style: Style, task: Task | None, settings: ServingSettings) -> Ask:
    """What the model is asked: always with the prompt it was trained with, unless the caller sends a system message."""
    system, history, question = _conversation(request.messages)
    prompt, is_overridden = _prompt(model, style, system)
    was_trained = model.task_id is not None or model.prompt != Prompt()
    warnings = [OVERRIDE_WARNING] * is_overridden + [HISTORY_WARNING] * bool(history) if was_trained else []
    return Ask(
        prompt=prompt,
        input=_as_trained(question, task),
        history=history,
        sampling=_sampling(request, settings),
        json_schema=_answer_schema(request.response_format, task, settings),
        choices=request.n or 1,
        warnings=tuple(warnings),
    )


def _conversation(messages: list[BodyMessage]) -> tuple[str | None, tuple[Message, ...], str]:
    """The caller's system text if any, the earlier turns, and the question."""
    leading = 0
    while leading < len(messages) and messages[leading].role in ("system", "developer"):
        leading += 1
    system = "\n\n".join(message.text for message in messages[:leading]) if leading else None
    turns: list[Message] = []
    for position, message in enumerate(messages[leading:], start=leading):
        if message.role == "system" or message.role == "developer":
            raise bad_request("System messages must come first.", param=f"messages.{position}")
        turns.append(Message(role=message.role, content=message.text))
    if not turns or turns[-1].role != "user":
        raise bad_request("The last message must be the user's: it is the problem to solve.", param="messages")
    return system, tuple(turns[:-1]), turns[-1].content


def _prompt(model: Model, style: Style, system: str | None) -> tuple[Prompt, bool]:
    """The prompt to use and whether it is not the trained one. A caller may repeat the trained system message."""
    if system is None:
        return model.prompt, False
    own = style.messages(model.prompt, "")[0]
    if system == model.prompt.instructions or (own.role == "system" and system == own.content):
        return model.prompt, False
    return Prompt(instructions=system, answer_cue=model.prompt.answer_cue), True


def _as_trained(question: str, task: Task | None) -> Json:
    """The input as the training data held it: where the task's inputs are JSON, callers' spacing must not matter."""
    if task is None or task.input_schema is None:
        return question
    try:
        return strict_json.loads(question)
    except ValueError:
        return question


def _sampling(request: ChatBody, settings: ServingSettings) -> Sampling:
    """Greedy unless asked otherwise: how the model was evaluated."""
    asked = {
        "max_tokens": request.max_completion_tokens or request.max_tokens or settings.default_max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": None if request.seed is None else request.seed & (2**63 - 1),
        "min_thinking_tokens": request.min_thinking_tokens,
        "max_thinking_tokens": request.max_thinking_tokens,
        "stop": (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
    }
    return Sampling.model_validate({name: value for name, value in asked.items() if value is not None})


def _answer_schema(
    wanted: ResponseFormat | None, task: Task | None, settings: ServingSettings
) -> dict[str, Any] | None:
    """The caller's schema; without a wish, the one the task's answers always had."""
    if wanted is None:
        return dict(task.output_schema) if task is not None and task.output_schema is not None else None
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise bad_request("A json_schema response format needs its schema.", param="response_format.json_schema")
    schema = wanted.json_schema.schema_
    _refuse_unsound_schema(schema, settings)
    if wanted.json_schema.strict is not False:
        _refuse_unenforced_schema(schema)
    return schema


def _refuse_unsound_schema(schema: dict[str, Any], settings: ServingSettings) -> None:
    length = len(json.dumps(schema))
    if length > settings.max_schema_chars:
        raise bad_request(
            f"The schema has {length} characters, at most {settings.max_schema_chars} are read.", param=_SCHEMA
        )
    fault = fault_of_schema(schema)
    if fault:
        raise bad_request(f"The schema cannot be used: {fault}.", param=_SCHEMA)


def _refuse_unenforced_schema(schema: dict[str, Any]) -> None:
    from forethought.engine.schema import unenforced

    try:
        found = unenforced(schema)
    except EngineError as error:
        raise bad_request(str(error), param=_SCHEMA) from error
    if found:
        raise bad_request(
            f"Not all of the schema can be enforced: {found[0]}. With strict set to false the rest of it is.",
            param=_SCHEMA,
        )


def _refuse_unsupported(request: ChatBody) -> None:
    for name, value in request.extras().items():
        if name in _WITHOUT_EFFECT or value in _NEUTRAL.get(name, ()):
            continue
        if name in _NEUTRAL:
            raise bad_request(f"'{name}' is not supported by this server.", param=name, code="unsupported_parameter")
        raise bad_request(f"Unknown parameter: '{name[:80]}'.", param=name[:80], code="unknown_parameter")
    for position, message in enumerate(request.messages):
        ignored = {"name", "reasoning_content", "refusal", "annotations"}
        unknown = sorted(name for name, value in message.extras().items() if name not in ignored and value != [])
        if unknown:
            raise bad_request(
                f"'{unknown[0][:80]}' in a message is not supported by this server.",
                param=f"messages.{position}",
                code="unsupported_parameter",
            )


def _refuse_excess(request: ChatBody, settings: ServingSettings) -> None:
    if (request.n or 1) > settings.max_choices:
        raise bad_request(f"'n' may be at most {settings.max_choices}, found {request.n}.", param="n")
    for name in ("max_tokens", "max_completion_tokens", "min_thinking_tokens", "max_thinking_tokens"):
        value = getattr(request, name)
        if value is not None and value > settings.max_tokens:
            raise bad_request(f"'{name}' may be at most {settings.max_tokens}, found {value}.", param=name)
    least, most = request.min_thinking_tokens, request.max_thinking_tokens
    if least is not None and most is not None and least > most:
        raise bad_request(
            f"'min_thinking_tokens' is {least}, more than 'max_thinking_tokens', {most}.", param="min_thinking_tokens"
        )
    length = sum(len(message.text) for message in request.messages)
    if length > settings.max_prompt_chars:
        raise bad_request(
            f"The messages have {length} characters together, at most {settings.max_prompt_chars} are read.",
            param="messages",
            code="context_length_exceeded",
        )


def _first_fault(error: ValidationError) -> ApiError:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in fault["loc"])[:200]
    if fault["type"] == "json_invalid":
        return bad_request(f"The body is not JSON: {fault['msg'][:200]}.")
    return bad_request(f"'{path}': {fault['msg'][:300]}.", param=path or None)
