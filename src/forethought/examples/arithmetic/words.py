"""Invented first names and everyday things, each in two stocks that share none: ``train`` and ``heldout``."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from forethought.errors import UsageError

_FIRST = (
    "Al Bel Bri Cal Cor Dal Dar Del Dor El Fen Fin Gal Gar Han Hel Il Jar Jo Kal Kel Kir Lan Lor Lu Mal Mar Mel Mir "
    "Nel Nor Ol Or Pel Per Quin Ral Ren Ro Sal Sel Sor Tal Tor Ul Val Ver Vin Wil Yor Zan"
)
_SECOND = "a ad an ar ben bo da dan den dy en eth ia id ik in ina io la len li lon mi na nik o on ra rik sa ta va"
_THINGS = (
    "apples beads bells blocks books bottles bowls bricks brushes buttons candles caps cards carrots chairs cherries "
    "clips coins cones cookies cups dolls eggs envelopes erasers feathers figs flags flowers forks gloves grapes "
    "hammers hats jars keys kites lamps lemons letters lids magnets maps marbles masks melons mugs muffins nails "
    "napkins nuts olives onions oranges pans peaches pearls pears pebbles pegs pencils pens photos pies pillows pins "
    "plants plates plums poppies posters pots puzzles ribbons rings ropes roses rugs rulers scarves seeds shells "
    "shirts socks spoons stamps stars stickers stones straws tickets tiles tomatoes towels toys tubs tulips vases"
)
_TRAIN_SHARE = 0.7


@dataclass(frozen=True)
class Stock:
    """Words of one vocabulary."""

    names: tuple[str, ...]
    things: tuple[str, ...]


@cache
def stock(vocabulary: str) -> Stock:
    """One of the two stocks. UsageError for one that does not exist."""
    if vocabulary not in ("train", "heldout"):
        raise UsageError(f"There is no word stock '{vocabulary}'.", hint="Known: train, heldout.")
    return Stock(
        _share((a + b for a in _FIRST.split() for b in _SECOND.split()), vocabulary),
        _share(_THINGS.split(), vocabulary),
    )


def _share(words: Iterable[str], vocabulary: str) -> tuple[str, ...]:
    everything = sorted(set(words))
    random.Random(20).shuffle(everything)
    cut = int(len(everything) * _TRAIN_SHARE)
    return tuple(everything[:cut] if vocabulary == "train" else everything[cut:])
