"""From near neighbours to persons.

Belongs here: pairs of clips -> groups, and what became of every pair. Not here: finding the pairs (`neighbours`), names
(`naming`).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from lafid_assets.identity.neighbours import Pairs, Vectors, least_cosine


class Verdict(StrEnum):
    """What became of a pair of neighbours."""

    JOINED = "joined"
    INSIDE = "inside"
    BELOW_THRESHOLD = "below_threshold"
    TOO_WIDE = "too_wide"


VERDICTS = tuple(Verdict)


@dataclass(frozen=True, eq=False)
class Groups:
    """N clips in groups, and the fate of P pairs.

    Attributes:
        label: (N,) group of every clip, numbered by first appearance.
        verdict: (P,) index into `VERDICTS`.
        group_similarity: (P,) cosine of the two groups' mean directions when the pair joined them or last failed to; NaN for
            pairs that never had a say.
        least_similarity: (groups,) lowest cosine of two clips of the group; 1 of a single clip.
    """

    label: NDArray[np.int32]
    verdict: NDArray[np.int8]
    group_similarity: Vectors
    least_similarity: Vectors


def merge(vectors: Vectors, pairs: Pairs, is_mutual: NDArray[np.bool_], threshold: float, least_similarity: float) -> Groups:
    """Join groups along pairs, the most similar groups first: along mutual pairs until none joins anything, then along all.

    Two groups become one when the cosine of their mean directions reaches `threshold` and no two of their clips are less alike
    than `least_similarity` (the cap on the diameter). Mean directions of more clips carry less noise than single clips, so a poor
    clip joins a large group although it resembles none of its clips well, and a lookalike of one clip does not. Mutual pairs come
    first because they make the cores; a poor clip is in nobody's list, so it finds its core by its own list only.

    Args:
        vectors: (N, D), unit length.
        is_mutual: (P,), the pairs whose ends are in each other's lists.
    """
    forest = _Forest(vectors)
    verdict = np.full(len(pairs), VERDICTS.index(Verdict.BELOW_THRESHOLD), np.int8)
    group_similarity = np.full(len(pairs), np.nan, np.float32)
    for stage in (is_mutual, np.ones(len(pairs), np.bool_)):
        remaining = np.flatnonzero(stage & (verdict != VERDICTS.index(Verdict.JOINED)))
        joined = True
        while joined:
            remaining = _apart(forest, pairs, remaining, verdict)
            joined = _one_pass(forest, pairs, remaining, verdict, group_similarity, threshold, least_similarity)
    roots, first_seen, numbers = np.unique(forest.roots(), return_index=True, return_inverse=True)
    order = np.argsort(first_seen)
    rank = np.empty(len(first_seen), np.int32)
    rank[order] = np.arange(len(first_seen), dtype=np.int32)
    return Groups(rank[numbers.reshape(-1)], verdict, group_similarity, forest.least[roots[order]])


def _apart(forest: "_Forest", pairs: Pairs, remaining: NDArray[np.intp], verdict: NDArray[np.int8]) -> NDArray[np.intp]:
    """The remaining pairs whose ends are still in different groups; the others are marked."""
    roots = forest.roots()
    apart = roots[pairs.first[remaining]] != roots[pairs.second[remaining]]
    within = remaining[~apart]
    verdict[within[verdict[within] != VERDICTS.index(Verdict.JOINED)]] = VERDICTS.index(Verdict.INSIDE)
    return remaining[apart]


def _one_pass(
    forest: "_Forest",
    pairs: Pairs,
    remaining: NDArray[np.intp],
    verdict: NDArray[np.int8],
    group_similarity: Vectors,
    threshold: float,
    least_similarity: float,
) -> bool:
    """Try every remaining pair once, by the similarity that its groups have at the beginning; whether any joined two groups."""
    roots = forest.roots()
    cosine = forest.cosines(roots[pairs.first[remaining]], roots[pairs.second[remaining]])
    group_similarity[remaining] = cosine
    verdict[remaining] = VERDICTS.index(Verdict.BELOW_THRESHOLD)
    promising = remaining[cosine >= threshold]
    promising = promising[np.lexsort((pairs.second[promising], pairs.first[promising], -group_similarity[promising]))]
    refused: set[tuple[int, int]] = set()
    joined = False
    for pair in promising.tolist():
        one, other = forest.find(int(pairs.first[pair])), forest.find(int(pairs.second[pair]))
        if one == other:
            continue
        if (one, other) in refused:
            verdict[pair] = VERDICTS.index(Verdict.TOO_WIDE)
            continue
        reached = forest.cosine(one, other)
        group_similarity[pair] = reached
        if reached < threshold:
            continue
        least = forest.least_between(one, other)
        if least < least_similarity:
            refused |= {(one, other), (other, one)}
            verdict[pair] = VERDICTS.index(Verdict.TOO_WIDE)
            continue
        forest.join(one, other, least)
        verdict[pair] = VERDICTS.index(Verdict.JOINED)
        joined = True
    return joined


class _Forest:
    """Union-find over clips that also knows the sum of every group's vectors, the vectors themselves, and how alike they are.

    Attributes:
        least: (N,) of every root the lowest cosine of two of its clips.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._own = list(vectors[:, None])
        self._sums = vectors.copy()
        self._lengths = np.linalg.norm(vectors, axis=1)
        self._parent = list(range(len(vectors)))
        self.least = np.ones(len(vectors), np.float32)

    def find(self, clip: int) -> int:
        parent = self._parent
        while parent[clip] != clip:
            parent[clip] = parent[parent[clip]]
            clip = parent[clip]
        return clip

    def roots(self) -> NDArray[np.intp]:
        """(N,) root of every clip."""
        roots = np.asarray(self._parent)
        while True:
            above = roots[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def cosine(self, one: int, other: int) -> float:
        return float(self._sums[one] @ self._sums[other]) / float(self._lengths[one] * self._lengths[other])

    def cosines(self, ones: NDArray[np.intp], others: NDArray[np.intp]) -> Vectors:
        """(P,) cosines of P pairs of roots, in slices that stay small."""
        cosine = np.empty(len(ones), np.float32)
        for start in range(0, len(ones), 32_768):
            part = slice(start, start + 32_768)
            dots = np.einsum("pd,pd->p", self._sums[ones[part]], self._sums[others[part]])
            cosine[part] = dots / (self._lengths[ones[part]] * self._lengths[others[part]])
        return cosine

    def least_between(self, one: int, other: int) -> float:
        """Lowest cosine of a clip of one group to a clip of the other."""
        return least_cosine(self._own[one], self._own[other])

    def join(self, one: int, other: int, least: float) -> None:
        """The larger group swallows the smaller one; of equal ones, that of the smaller root.

        Args:
            least: as `least_between` gives it.
        """
        if (len(self._own[one]), -one) < (len(self._own[other]), -other):
            one, other = other, one
        self._parent[other] = one
        self._sums[one] += self._sums[other]
        self._lengths[one] = sqrt(self._sums[one] @ self._sums[one])
        self._own[one] = np.concatenate([self._own[one], self._own[other]])
        self._own[other] = self._own[other][:0]
        self.least[one] = min(self.least[one], self.least[other], least)
