"""Which clips of many are drawn where only a few can be: persons take turns, and what was taken least so far is taken.

Belongs here: the order. The only such code: whoever lets persons take turns takes it from here. Not here: which clips come into
question, and by what they are told apart.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from model.likeness import YAW_BINS

_FARTHER_FIRST = (*reversed(YAW_BINS[:-1]), YAW_BINS[-1])


class Candidate(NamedTuple):
    """A clip that may be drawn.

    Attributes:
        strata: what it shows, name by name; the first is the yaw bin, of which the farther one comes first among equals.
    """

    clip_id: str
    identity_id: str
    strata: tuple[str, ...]


class Chosen(NamedTuple):
    """A clip that is drawn, and why."""

    clip_id: str
    why: str


def take_turns(candidates: Iterable[Candidate], most: int) -> list[Chosen]:
    """The first clips of an order in which no person comes again before all others who have clips left.

    Of those whose turn it is comes first what shows the yaw bin that was taken least so far, then the least of each further
    stratum; of equals who turns farther; then in the order that was given. A smaller `most` gives the first of them.
    """
    waiting: dict[str, dict[tuple[str, ...], list[str]]] = defaultdict(dict)
    for clip_id, person, strata in candidates:
        waiting[person].setdefault(strata, []).append(clip_id)
    place = {person: index for index, person in enumerate(waiting)}
    taken, given = Counter[tuple[int, str]](), Counter[str]()
    chosen: list[Chosen] = []
    while waiting and len(chosen) < most:
        turn = min(given[person] for person in waiting)
        person, strata = min(
            ((person, strata) for person, clips in waiting.items() if given[person] == turn for strata in clips),
            key=lambda one: (*(taken[stratum] for stratum in enumerate(one[1])), _FARTHER_FIRST.index(one[1][0]), place[one[0]]),
        )
        told = ", ".join(f"{name} was taken {taken[index, name]} times" for index, name in enumerate(strata))
        chosen.append(Chosen(waiting[person][strata].pop(0), f"clip {turn + 1} of its person; before it {told}"))
        taken.update(enumerate(strata))
        given[person] += 1
        if not waiting[person][strata]:
            del waiting[person][strata]
        if not waiting[person]:
            del waiting[person]
    return chosen
