"""Invented words, in two stocks that share none: ``train`` and ``heldout``.

A word is two syllables (``lob`` + ``rel``). The syllables are chosen so that a word and its plural take few tokens
of a byte-pair vocabulary; which words fall into which stock is fixed once and for all by a seeded shuffle.
"""

from __future__ import annotations

import random
from functools import cache

from forethought.errors import UsageError

_OPEN = "blo bri bru cha chi cle cli cro dri dro fle fri gra gri gro gru qui sla sle spe tri tro"
_CLOSED = (
    "bir bul dar dol fen fer fib gaz gir gul haz hor hun jun kil lam lim lob lun mol mul mun nex nod nor pil pul rap "
    "sor sul tex til tur vas vin vir vol wal wil wor zen"
)
_AFTER_ANY = (
    "ber bie bon bug der dim fit gan get ken ker ket kin ler lie lin mer min mit mon nel net nie nut per pie pot ral "
    "rel rick rop rum tag tie ton val var ven ver zen zer"
)
_AFTER_CLOSED = "ick ig ink ock ook ug ump unk"
_REAL = (
    "brunet bullie chimer chiton clever croton darken darker driven driver drover fender fibber girder grader graven "
    "graver groper gruber hornet hunker killer lamber limber lobber molder molie molten mulder quiver rapper slaver "
    "sorrel sulker tiller trimer triton walker wallie walnut wilder willie worker"
)
_TRAIN_SHARE = 0.7


def plural(noun: str) -> str:
    """The regular English plural: wug -> wugs, dax -> daxes, razzy -> razzies."""
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


@cache
def stock(vocabulary: str) -> tuple[str, ...]:
    """All plurals of one stock. UsageError for a stock that does not exist."""
    if vocabulary not in ("train", "heldout"):
        raise UsageError(f"There is no word stock '{vocabulary}'.", hint="Known: train, heldout.")
    after_any, after_closed = _AFTER_ANY.split(), _AFTER_CLOSED.split()
    nouns = {first + second for first in _OPEN.split() for second in after_any}
    nouns |= {first + second for first in _CLOSED.split() for second in (*after_any, *after_closed)}
    words = sorted(plural(noun) for noun in nouns - set(_REAL.split()))
    random.Random(20).shuffle(words)
    cut = int(len(words) * _TRAIN_SHARE)
    return tuple(words[:cut] if vocabulary == "train" else words[cut:])


def draw(rng: random.Random, vocabulary: str, count: int) -> list[str]:
    """So many words that start differently, so that none is taken for another."""
    chosen: dict[str, str] = {}
    words = stock(vocabulary)
    while len(chosen) < count:
        word = rng.choice(words)
        chosen.setdefault(word[:3], word)
    return list(chosen.values())
