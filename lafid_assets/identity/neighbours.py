"""Which clips are nearest to which: exact cosines, block by block.

Belongs here: unit vectors -> pairs of near neighbours. Not here: which of these pairs are one person (`merging`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Indices = NDArray[np.int32]

BLOCK_ROWS = 4096
BLOCK_COLUMNS = 8192
MOST_PAIRS_HELD = 24_000_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of N vectors, the smaller index first; each is among the nearest of at least one of the two.

    Attributes:
        first, second: (P,) indices.
        similarity: (P,) cosines.
    """

    first: Indices
    second: Indices
    similarity: Vectors

    def __len__(self) -> int:
        return len(self.similarity)

    def where(self, kept: NDArray[np.bool_]) -> "Pairs":
        """The pairs for which `kept` (P,) holds."""
        return Pairs(self.first[kept], self.second[kept], self.similarity[kept])

    @classmethod
    def together(cls, parts: "list[Pairs]") -> "Pairs":
        """All pairs of several lists, which share none."""
        if not parts:
            return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        return cls(
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.second for part in parts]),
            np.concatenate([part.similarity for part in parts]),
        )


def nearest_pairs(
    vectors: Vectors, *, neighbours: int, floor: float, searched: NDArray[np.bool_] | None = None, known: Pairs | None = None
) -> Pairs:
    """Every pair from `floor` up that is among the `neighbours` nearest of one of its two ends, by exact cosine.

    One triangle of the cosine matrix is computed, in float32 by BLAS, and scanned a block at a time; pairs that have fallen out
    of both lists are dropped on the way, so that memory grows with N, not with the number of similar pairs.

    Args:
        vectors: (N, D), unit length.
        floor: lowest cosine of interest, above 0.
        searched: (N,), the vectors whose neighbours are not known yet; all of them where it is None.
        known: the pairs among the others, as an earlier call gave them.
    """
    count = len(vectors)
    order = np.arange(count) if searched is None else np.concatenate([np.flatnonzero(searched), np.flatnonzero(~searched)])
    rows = count if searched is None else int(searched.sum())
    laid_out = vectors if searched is None else vectors[order]
    held = [known] if known is not None else []
    cut = np.full(count, floor, np.float32)
    block = np.empty(BLOCK_ROWS * BLOCK_COLUMNS, np.float32)
    for top in range(0, rows, BLOCK_ROWS):
        bottom = min(top + BLOCK_ROWS, rows)
        for left in range(top, count, BLOCK_COLUMNS):
            right = min(left + BLOCK_COLUMNS, count)
            cosine = block[: (bottom - top) * (right - left)].reshape(bottom - top, right - left)
            np.matmul(laid_out[top:bottom], laid_out[left:right].T, out=cosine)
            held.append(_found(cosine, order[top:bottom], order[left:right], left - top, floor, cut))
        if sum(map(len, held)) > MOST_PAIRS_HELD:
            held = [_nearest_of_either(Pairs.together(held), count, neighbours, cut)]
    return _nearest_of_either(Pairs.together(held), count, neighbours, cut)


def mutual(pairs: Pairs, count: int, neighbours: int) -> NDArray[np.bool_]:
    """(P,), whether each end is among the nearest of the other."""
    of_first, of_second = _in_lists(pairs, count, neighbours)
    return of_first & of_second


def least_cosine(ones: Vectors, others: Vectors) -> float:
    """Lowest cosine between two sets of unit vectors, (M, D) and (N, D)."""
    if len(ones) <= BLOCK_ROWS:
        return float((ones @ others.T).min())
    return min(float((ones[start : start + BLOCK_ROWS] @ others.T).min()) for start in range(0, len(ones), BLOCK_ROWS))


def _found(cosine: Vectors, rows: NDArray[np.intp], columns: NDArray[np.intp], offset: int, floor: float, cut: Vectors) -> Pairs:
    """Pairs of one block above the diagonal; `cut` is what a vector's list has reached, so that most of them end here."""
    places = np.flatnonzero(cosine.reshape(-1) >= floor)
    row, column = np.divmod(places, cosine.shape[1])
    similarity = cosine.reshape(-1)[places]
    one, other = rows[row], columns[column]
    wanted = (column + offset > row) & ((similarity >= cut[one]) | (similarity >= cut[other]))
    one, other = one[wanted].astype(np.int32), other[wanted].astype(np.int32)
    return Pairs(np.minimum(one, other), np.maximum(one, other), similarity[wanted])


def _nearest_of_either(pairs: Pairs, count: int, neighbours: int, cut: Vectors) -> Pairs:
    """The pairs that stand in one of the two lists; `cut` is raised in place to the last place of every full list."""
    of_first, of_second = _in_lists(pairs, count, neighbours)
    ends = np.concatenate([pairs.first[of_first], pairs.second[of_second]])
    similarity = np.concatenate([pairs.similarity[of_first], pairs.similarity[of_second]])
    lowest = np.full(count, np.inf, np.float32)
    np.minimum.at(lowest, ends, similarity)
    full = np.bincount(ends, minlength=count) >= neighbours
    cut[full] = np.maximum(cut[full], lowest[full])
    return pairs.where(of_first | of_second)


def _in_lists(pairs: Pairs, count: int, neighbours: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the pair is among the nearest of its first end, and of its second; equal cosines go by the other end's index."""
    tidy = np.lexsort((pairs.second, pairs.first))
    first, second, similarity = pairs.first[tidy], pairs.second[tidy], pairs.similarity[tidy]
    ends = np.concatenate([second, first]).astype(np.uint64)
    # Bits of positive floats sort like the floats: one stable sort of one key instead of two.
    bits = np.maximum(np.concatenate([similarity, similarity]), 0).view(np.uint32).astype(np.uint64)
    order = np.argsort((ends << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - bits), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends.astype(np.intp), minlength=count))])
    place = np.arange(len(order)) - starts[ends[order].astype(np.intp)]
    listed = np.empty(len(order), np.bool_)
    listed[order] = place < neighbours
    untidied = np.empty((2, len(pairs)), np.bool_)
    untidied[:, tidy] = listed.reshape(2, -1)
    return untidied[1], untidied[0]
