"""From examples to token sequences whose labels are proven before the first step.

Every assistant turn is the prompt's ids (style messages through the chat template, generation prompt added), then the
completion's ids (the turn's text and the end-of-turn token as the template writes it). Prompt and completion are
tokenised apart, by the renderer that generation uses: a foreign template meets the same limits, and text that would
become a control token is refused here as there. Only completions carry a label.

``encode`` then reads the labels back: decoded and parsed by the style they must give the attempt again, and every turn
must end in a token generation stops at. Chat templates that drop reasoning, and limits that cut the end of a trace,
lose ``</think>``, the answer and the stop token silently; here they are errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING

from forethought.core.records import Attempt, Message, Prompt
from forethought.core.seams import Example, Style
from forethought.engine.templates import ChatTemplate
from forethought.errors import DataError, EngineError, RecordError, TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100
"""Label of a position that carries no loss."""

_PROBE = "Forethought"


@dataclass(frozen=True)
class TokenSequence:
    """One row of training data. ``labels`` equal ``input_ids`` on completion tokens and are ``IGNORE`` elsewhere."""

    example_id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORE for label in self.labels)


@dataclass(frozen=True)
class Turn:
    """One assistant turn as ids."""

    prompt: list[int]
    completion: list[int]


@dataclass(frozen=True)
class TokenStatistics:
    """What a set of sequences weighs, in tokens."""

    examples: int
    sequences: int
    tokens: int
    trained_tokens: int
    shortest: int
    mean: float
    median: float
    longest: int
    longest_example: str


def encode(
    examples: Sequence[Example],
    style: Style,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    stop_ids: Collection[int],
) -> list[TokenSequence]:
    """The checked token sequences of all examples, in order; one a turn where turns cannot share a sequence.

    Raises DataError for an empty set and for examples that cannot be written or are too long (none is ever cut),
    TrainingError for labels that do not read back as the attempt, ModelFileError for a template that fails.
    """
    if not examples:
        raise DataError("There are no examples to train on.", hint="Loosen the filter or generate more data.")
    sequences: list[TokenSequence] = []
    unwritable: list[str] = []
    with closing(ChatTemplate(tokenizer)) as template:
        _refuse_prompt(style, prompt, template)
        writer = TurnWriter(template, tokenizer, stop_ids)
        for example in examples:
            try:
                turns = writer.turns(example, style, prompt)
            except (RecordError, EngineError) as error:
                unwritable.append(f"{example.id} ({error.message})")
                continue
            rows = join_turns(example.id, turns)
            check_labels(rows, example, style, tokenizer, stop_ids)
            sequences += rows
    if unwritable:
        raise DataError(
            f"{len(unwritable)} of {len(examples)} examples cannot be written in the style '{style.name}' for this "
            f"model: {', '.join(unwritable[:3])}.",
            hint="Repair them, leave them out, or choose another style.",
        )
    refuse_long(sequences, max_length)
    return sequences


def _refuse_prompt(style: Style, prompt: Prompt, template: ChatTemplate) -> None:
    """DataError when the prompt itself cannot be written, which would be the fault of no example."""
    try:
        for turn in range(style.turns):
            template.render(style.messages(prompt, _PROBE, [_PROBE] * turn))
    except (RecordError, EngineError) as error:
        raise DataError(
            f"The prompt cannot be written in the style '{style.name}' for this model: {error.message}",
            hint=error.hint,
        ) from error


class TurnWriter:
    """Writes assistant turns as ids the way the model will see them."""

    def __init__(self, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase, stop_ids: Collection[int]) -> None:
        self._template = template
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._ends: dict[int, list[int]] = {}

    def turns(self, example: Example, style: Style, prompt: Prompt) -> list[Turn]:
        """All turns of an example. RecordError where the style cannot write it, EngineError for control tokens."""
        said = style.render(example.attempt)
        return [
            self.turn(style.messages(prompt, example.input, said[:index]), text, index)
            for index, text in enumerate(said)
        ]

    def turn(self, messages: Sequence[Message], text: str, index: int) -> Turn:
        """Prompt ids of the conversation so far, and completion ids of ``text`` as the next assistant turn."""
        asked = self._template.render(messages)
        if asked.rstrip().endswith("<think>") and text.lstrip().startswith("<think>"):
            raise TrainingError(
                "The chat template opens the think block itself, and the style writes it again.",
                hint="Use a chat template whose generation prompt does not end in <think>.",
            )
        if index not in self._ends:
            self._ends[index] = self._end_of_turn(messages)
        return Turn(self._ids(asked), self._template.turn_ids(text) + self._ends[index])

    def _end_of_turn(self, messages: Sequence[Message]) -> list[int]:
        """What the template writes after an assistant turn, up to the token generation stops at."""
        probe = [*messages, Message(role="assistant", content=_PROBE)]
        written = self._template.render(probe, add_generation_prompt=False)
        end = self._ids(written[written.rfind(_PROBE) + len(_PROBE) :])
        for position, token in enumerate(end):
            if token in self._stop_ids:
                return end[: position + 1]
        raise TrainingError(
            "The chat template ends an assistant turn without a token that generation stops at, so the model would "
            "never learn to stop.",
            hint=f"It writes {self._tokenizer.decode(end)!r}; generation stops at token ids {sorted(self._stop_ids)}.",
        )

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def join_turns(example_id: str, turns: Sequence[Turn]) -> list[TokenSequence]:
    """One sequence where each turn's prompt extends everything before it; a new sequence where it does not.

    A template that rewrites earlier turns (drops their thinking, say) shows the later turn another history, and that
    history is what it must be trained on.
    """
    rows: list[TokenSequence] = []
    ids: list[int] = []
    labels: list[int] = []
    for turn in turns:
        if ids and turn.prompt[: len(ids)] != ids:
            rows.append(TokenSequence(example_id, tuple(ids), tuple(labels)))
            ids, labels = [], []
        ids = [*turn.prompt, *turn.completion]
        labels = labels + [IGNORE] * (len(turn.prompt) - len(labels)) + turn.completion
    return [*rows, TokenSequence(example_id, tuple(ids), tuple(labels))]


def check_labels(
    rows: Sequence[TokenSequence],
    example: Example,
    style: Style,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: Collection[int],
) -> None:
    """TrainingError unless the labels, decoded, are the attempt: reasoning, tags, answer and end of every turn."""
    said: list[str] = []
    for run in _label_runs(rows):
        if run[-1] not in stop_ids:
            raise _unlearnable(example, "a turn's labels do not end in the end-of-turn token")
        said.append(tokenizer.decode(run[:-1], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    parsed = style.parse(said)
    if parsed.failure is not None:
        raise _unlearnable(example, f"the labels do not parse ({parsed.failure})")
    expected = example.attempt if style.writes_reasoning else Attempt(answer=example.attempt.answer)
    if parsed.attempt != expected:
        part = "answer" if parsed.attempt.answer != expected.answer else "reasoning"
        raise _unlearnable(example, f"the {part} read back from the labels is not the example's {part}")


def refuse_long(sequences: Sequence[TokenSequence], max_length: int) -> None:
    """DataError that names the first three sequences over ``max_length`` tokens."""
    long = [row for row in sequences if len(row.input_ids) > max_length]
    if long:
        named = ", ".join(f"{row.example_id} ({len(row.input_ids)} tokens)" for row in long[:3])
        raise DataError(
            f"{len(long)} of {len(sequences)} sequences are longer than max_length={max_length}: {named}.",
            hint="Cutting would lose the answer. Raise max_length, shorten the prompt, or leave these examples out.",
        )


def statistics(sequences: Sequence[TokenSequence]) -> TokenStatistics:
    """Token counts of at least one sequence."""
    lengths = [len(row.input_ids) for row in sequences]
    longest = max(sequences, key=lambda row: len(row.input_ids))
    return TokenStatistics(
        examples=len({row.example_id for row in sequences}),
        sequences=len(sequences),
        tokens=sum(lengths),
        trained_tokens=sum(row.trained_tokens for row in sequences),
        shortest=min(lengths),
        mean=round(mean(lengths), 1),
        median=float(median(lengths)),
        longest=len(longest.input_ids),
        longest_example=longest.example_id,
    )


def fingerprint(sequences: Sequence[TokenSequence]) -> str:
    """SHA-256 over ids and labels in order: a run resumes only on the data it began with."""
    digest = hashlib.sha256()
    for row in sequences:
        digest.update(repr((row.example_id, row.input_ids, row.labels)).encode())
    return digest.hexdigest()


def _label_runs(rows: Sequence[TokenSequence]) -> list[list[int]]:
    """The label tokens of each turn: maximal runs of labelled positions."""
    runs: list[list[int]] = []
    for row in rows:
        inside = False
        for label in row.labels:
            if label == IGNORE:
                inside = False
                continue
            if not inside:
                runs.append([])
                inside = True
            runs[-1].append(label)
    return runs


def _unlearnable(example: Example, what: str) -> TrainingError:
    return TrainingError(
        f"Example {example.id} would teach something else than it says: {what}.",
        hint="Nothing was trained. The chat template or tokenizer of this model does not fit the style.",
    )
