"""Train, validation and test: whole persons only, and nobody changes sides when clips are added, as far as that is possible.

Belongs here: identities -> splits. Not here: who is the same person (`identity.clustering`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

TEST_SHARE = 0.10
VALIDATION_SHARE = 0.10
FEWEST_FOR_VALIDATION = 3


def split_identities(identities: Iterable[str]) -> dict[str, str]:
    """Identity to split, by the hash of its name: the lowest tenth tests, the next validates, the rest trains.

    Small datasets: where a split would be empty, the smallest hashes fill test first, then validation (from three identities
    on), and one identity always trains. A single identity trains and nothing is tested.
    """
    ranked = sorted(set(identities), key=_position)
    splits = {name: _by_hash(_position(name)) for name in ranked}
    if len(ranked) < FEWEST_FOR_VALIDATION:
        splits = dict.fromkeys(ranked, "train")
    if ranked and "train" not in splits.values():
        splits[ranked[-1]] = "train"
    for split in ("test", "validation")[: max(len(ranked) - 1, 0)]:
        if split not in splits.values():
            splits[_spare(ranked, splits)] = split
    return splits


def _spare(ranked: list[str], splits: dict[str, str]) -> str:
    """The smallest hash that trains, unless it is the last one to train: then the smallest of a split that can do without it."""
    sizes = Counter(splits.values())
    return min((name for name in ranked if sizes[splits[name]] > 1), key=lambda name: (splits[name] != "train", _position(name)))


def _position(identity: str) -> float:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64


def _by_hash(position: float) -> str:
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + VALIDATION_SHARE else "train"
