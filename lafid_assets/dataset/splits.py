"""Train, validation and test: whole persons only, and nobody changes sides when clips are added, as far as that is possible.

Belongs here: persons -> splits. Not here: who is the same person (`identity`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

TEST_SHARE = 0.10
VALIDATION_SHARE = 0.10
FEWEST_FOR_VALIDATION = 3
_MOST_EXPOSED_FIRST = ("train", "validation", "test")


def split_identities(split_keys: Iterable[str], earlier: Mapping[str, str] | None = None) -> dict[str, str]:
    """Split key of a person to split, by the hash of the key: the lowest tenth tests, the next validates, the rest trains.

    Small datasets: where a split would be empty, the smallest hashes fill test first, then validation (from three persons
    on), and one person always trains. A single person trains and nothing is tested.

    Args:
        earlier: the sides of the last version. Whoever had one keeps it, and persons without one fill an empty split first.
    """
    ranked = sorted(set(split_keys), key=_position)
    kept = {key: earlier[key] for key in ranked if key in earlier} if earlier else {}
    splits = {key: kept.get(key) or _by_hash(_position(key)) for key in ranked}
    if len(ranked) < FEWEST_FOR_VALIDATION:
        splits = {key: kept.get(key, "train") for key in ranked}
    if ranked and "train" not in splits.values():
        splits[max(ranked, key=lambda key: (key not in kept, _position(key)))] = "train"
    for split in ("test", "validation")[: max(len(ranked) - 1, 0)]:
        if split not in splits.values():
            splits[_spare(ranked, splits, kept)] = split
    return splits


def inherited_key(votes: Mapping[str, int]) -> str:
    """The key of a person whose clips carried several: one that trains before one that validates before one that tests, so that
    nobody on whom a model was trained is tested later; among these the most frequent.

    Args:
        votes: split key to number of clips, at least one.
    """
    return min(votes, key=lambda key: (_MOST_EXPOSED_FIRST.index(_by_hash(_position(key))), -votes[key], key))


def _spare(ranked: list[str], splits: dict[str, str], kept: Mapping[str, str]) -> str:
    """The smallest hash that trains, unless it is the last one to train: then the smallest of a split that can do without it."""
    sizes = Counter(splits.values())
    return min(
        (key for key in ranked if sizes[splits[key]] > 1), key=lambda key: (key in kept, splits[key] != "train", _position(key))
    )


def _position(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def _by_hash(position: float) -> str:
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + VALIDATION_SHARE else "train"
