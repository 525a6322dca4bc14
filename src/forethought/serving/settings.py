"""What the server allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServingSettings:
    """Limits of one server. Times are seconds, sizes as named."""

    max_body_bytes: int = 1_000_000
    max_prompt_chars: int = 100_000
    """All messages of a request together."""
    max_schema_chars: int = 50_000
    """A caller's JSON Schema; checking one this long takes a quarter of a second."""
    max_tokens: int = 4_096
    """Most new tokens a caller may ask for, in each turn of the model."""
    default_max_tokens: int = 512
    max_choices: int = 8
    """Most answers (``n``) to one request."""
    max_running: int = 32
    """Answers written at the same time; the engine batches them."""
    max_queued: int = 64
    """Answers waiting for their turn; beyond it callers get 429."""
    max_connections: int = 256
    request_seconds: float = 20.0
    """A request must have arrived completely within it."""
    send_seconds: float = 60.0
    """A caller that reads nothing for so long is cut off."""
    shutdown_seconds: int = 5


DEFAULT_SETTINGS = ServingSettings()
