"""Persons keep their names, and their side of the split, from version to version.

Belongs here: groups of clips -> names, split keys, and what changed. Not here: the groups (`merging`), the sides
(`dataset.splits`).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from lafid_assets.dataset.splits import inherited_key

NAME_CHARS = 12


class Known(NamedTuple):
    """What a clip's person was called the last time, and what its split was drawn from."""

    identity_id: str
    split_key: str


@dataclass(frozen=True)
class Named:
    """The names and split keys of G groups."""

    identity_ids: tuple[str, ...]
    split_keys: tuple[str, ...]


def name_groups(members: Sequence[Sequence[str]], earlier: Mapping[str, Known]) -> Named:
    """A group keeps the most frequent earlier name of its clips, unless a larger group took it; else its smallest clip names it.

    Its split key comes from the keys of its clips (`inherited_key`): whoever has been trained on stays in training when two
    persons turn out to be one, and both parts of a person that falls apart stay on their side.

    Args:
        members: clip ids of every group.
        earlier: what is known of the clips that the last version had.
    """
    names, keys = [""] * len(members), [""] * len(members)
    fresh = _FreshNames({known.identity_id for known in earlier.values()})
    taken = set[str]()
    for group in sorted(range(len(members)), key=lambda group: (-len(members[group]), min(members[group]))):
        known = [earlier[clip] for clip in members[group] if clip in earlier]
        votes = Counter(clip.identity_id for clip in known)
        ranked = sorted(votes, key=lambda name: (-votes[name], name))
        names[group] = next((name for name in ranked if name not in taken), None) or fresh.by(min(members[group]))
        taken.add(names[group])
        keys[group] = inherited_key(Counter(clip.split_key for clip in known)) if known else names[group]
    return Named(tuple(names), tuple(keys))


def name_after(clip_id: str) -> str:
    """What a person is called whom this clip named, but for a number that may follow; `lafid forget` looks for it."""
    return f"person-{clip_id[:NAME_CHARS]}"


class _FreshNames:
    """Names that nobody has had: after the smallest clip, with a number where that is not enough."""

    def __init__(self, used: set[str]) -> None:
        self._used = set(used)
        self._next = defaultdict[str, count](lambda: count(2))

    def by(self, clip_id: str) -> str:
        stem = name = name_after(clip_id)
        while name in self._used:
            name = f"{stem}-{next(self._next[stem])}"
        self._used.add(name)
        return name


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of `identity_history` without their version: every person that did not simply stay.

    Args:
        before, after: clip id to identity id.
    """
    moved = Counter((before[clip], name) for clip, name in after.items() if clip in before)
    targets, sources = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for old, new in moved:
        targets[old].add(new)
        sources[new].add(old)
    rows = []
    for (old, new), clips in moved.items():
        kind = "split" if len(targets[old]) > 1 else "merged" if len(sources[new]) > 1 else "renamed" if old != new else None
        if kind is not None:
            rows.append({"kind": kind, "earlier_id": old, "identity_id": new, "clips": clips})
    for new, clips in Counter(after.values()).items():
        if new not in sources:
            rows.append({"kind": "new", "earlier_id": new, "identity_id": new, "clips": clips})
    for old, clips in Counter(before.values()).items():
        if old not in targets:
            rows.append({"kind": "gone", "earlier_id": old, "identity_id": old, "clips": clips})
    return rows
