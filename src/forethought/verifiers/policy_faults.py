"""What is wrong with a policy file, said to the person who wrote it: which entry, counted from 1, and its name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from forethought.errors import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOWN = 80
_MUST = {
    "string_type": "must be text in quotes",
    "string_too_short": "may not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "must begin with a letter and go on with up to 39 letters, digits, '_' or (not in the "
    "name of an input or a quantity) '-'",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "dict_type": "must be sections such as [inputs.amount]",
    "model_type": "must be a section with fields",
    "too_short": "has too few entries, at least {min_length} are needed",
    "too_long": "has over {max_length} entries",
}
"""What each kind of fault breaks; any other is told in pydantic's words."""


def in_plain_words(content: object, fault: ErrorDetails, fields: Mapping[str, Iterable[str]]) -> str:
    """One sentence about pydantic's first complaint of ``content``.

    ``fields`` are those of the whole, under ``policy``, and of the entries of each section, under its name.
    """
    section, owner, field = _place(content, fault["loc"])
    context = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return f"{owner} has no '{field}'."
        case "extra_forbidden":
            return f"{owner} has '{field[:_SHOWN]}', which means nothing there. {did_you_mean(field, fields[section])}"
        case "value_error" if not field:
            said = str(context["error"])
            return _sentence(said if section == "policy" else f"{owner}: {said}")
        case "value_error":
            return _sentence(f"{owner}, '{field}': {context['error']}")
        case kind:
            said = _MUST[kind].format(**context) if kind in _MUST else fault["msg"]
            if kind == "tuple_type" and field in ("rules", "derived"):
                said += f" of entries that each begin with [[{field}]]"
            what = f"{owner}, '{field}'," if field else owner
            return f"{what} {said}; found {_shown(fault['input'])}."


def _place(content: object, loc: tuple[int | str, ...]) -> tuple[str, str, str]:
    """The section, whose entry it is in words, and the field; the last is empty for the entry itself."""
    if len(loc) < 2 or loc[0] not in ("rules", "derived", "inputs"):
        return "policy", "The policy", str(loc[0]) if loc else ""
    section, key = str(loc[0]), loc[1]
    field = str(loc[2]) if len(loc) > 2 and loc[2] != "[key]" else ""
    if section == "inputs":
        return section, f"Input '{str(key)[:_SHOWN]}'", field
    name = _entry_name(content, section, key)
    owner = f"{'Rule' if section == 'rules' else 'Derived quantity'} {int(key) + 1}"
    return section, owner + (f" ('{name}')" if name else ""), field


def _entry_name(content: object, section: str, key: int | str) -> str:
    entries: Any = content[section] if isinstance(content, Mapping) else ()
    name = entries[key].get("name") if isinstance(entries[key], Mapping) else None
    return name[:_SHOWN] if isinstance(name, str) else ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")
