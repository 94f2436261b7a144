"""Near pairs, against all cosines written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lafid_assets.identity import neighbours as module
from lafid_assets.identity.neighbours import Pairs, least_cosine, mutual, nearest_pairs


def _vectors(count: int, seed: int = 0, width: int = 8) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _by_hand(vectors: NDArray[np.float32], neighbours: int, floor: float) -> dict[tuple[int, int], bool]:
    """Pair to whether it is mutual."""
    cosine = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosine, -2)
    lists = [[int(j) for j in np.argsort(-row)[:neighbours] if row[j] >= floor] for row in cosine]
    listed = {(i, j) for i, row in enumerate(lists) for j in row}
    return {(min(i, j), max(i, j)): (j, i) in listed and (i, j) in listed for i, j in listed}


def _found(pairs: Pairs, count: int, neighbours: int) -> dict[tuple[int, int], bool]:
    both = mutual(pairs, count, neighbours).tolist()
    return dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), both, strict=True))


@pytest.mark.parametrize("held", [1, 10_000])
def test_pairs_are_those_of_the_whole_matrix_however_it_is_cut(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    monkeypatch.setattr(module, "BLOCK_COLUMNS", 11)
    monkeypatch.setattr(module, "MOST_PAIRS_HELD", held)
    vectors = _vectors(60)
    pairs = nearest_pairs(vectors, neighbours=4, floor=0.2)
    expected = _by_hand(vectors, 4, 0.2)
    assert _found(pairs, 60, 4) == expected
    assert 0 < sum(expected.values()) < len(expected)
    assert pairs.similarity == pytest.approx(np.sum(vectors[pairs.first] * vectors[pairs.second], axis=1), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 39), st.integers(1, 6))
def test_adding_vectors_finds_what_a_fresh_search_finds(seed: int, old: int, neighbours: int) -> None:
    vectors = _vectors(40, seed)
    known = nearest_pairs(vectors[:old], neighbours=neighbours, floor=0.1)
    searched = np.arange(40) >= old
    grown = nearest_pairs(vectors, neighbours=neighbours, floor=0.1, searched=searched, known=known)
    assert _found(grown, 40, neighbours) == _by_hand(vectors, neighbours, 0.1)


def test_only_the_searched_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a shard that arrives is new x all."""
    computed: list[int] = []
    matmul = np.matmul

    def counted(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        computed.append(out.size)
        matmul(a, b, out=out)

    monkeypatch.setattr(module.np, "matmul", counted)
    vectors = _vectors(100)
    known = nearest_pairs(vectors[:97], neighbours=4, floor=0.2)
    computed.clear()
    nearest_pairs(vectors, neighbours=4, floor=0.2, searched=np.arange(100) >= 97, known=known)
    assert sum(computed) == 3 * 100


def test_equal_vectors_keep_their_order() -> None:
    pairs = nearest_pairs(np.ones((5, 1), np.float32), neighbours=2, floor=0.5)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [
        (0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4),
    ]  # fmt: skip


def test_nothing_near_is_no_pair() -> None:
    assert len(nearest_pairs(np.eye(3, dtype=np.float32), neighbours=2, floor=0.5)) == 0
    assert len(nearest_pairs(np.eye(1, dtype=np.float32), neighbours=2, floor=0.5)) == 0


def test_least_cosine_looks_at_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    vectors = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    assert least_cosine(vectors, vectors[:1]) == 0
    assert least_cosine(vectors[:4], vectors[:1]) == 1
