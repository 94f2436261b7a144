"""Groups out of pairs: which join, which must not, and what is written down about it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.identity.merging import VERDICTS, Groups, Verdict, merge
from lafid_assets.identity.neighbours import Pairs, mutual, nearest_pairs

CUT = 0.9


def _towards(*degrees: float) -> NDArray[np.float32]:
    """(N, 2) unit vectors; 25.8 degrees between two of them is a cosine of 0.9."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def _merge(*degrees: float, neighbours: int = 10, least: float = -1.0) -> tuple[Groups, Pairs]:
    vectors = _towards(*degrees)
    pairs = nearest_pairs(vectors, neighbours=neighbours, floor=0.5)
    return merge(vectors, pairs, mutual(pairs, len(vectors), neighbours), CUT, least), pairs


def _verdicts(groups: Groups, pairs: Pairs) -> dict[tuple[int, int], Verdict]:
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return {pair: VERDICTS[index] for pair, index in zip(ends, groups.verdict.tolist(), strict=True)}


def test_near_clips_join_and_far_ones_do_not() -> None:
    groups, pairs = _merge(0, 10, 50)
    assert groups.label.tolist() == [0, 0, 1]
    assert _verdicts(groups, pairs) == {(0, 1): Verdict.JOINED, (0, 2): Verdict.BELOW_THRESHOLD, (1, 2): Verdict.BELOW_THRESHOLD}


def test_similarity_of_the_groups_is_that_of_their_mean_directions() -> None:
    groups, pairs = _merge(0, 10, 29)
    joining = {pair: float(groups.group_similarity[index]) for index, pair in enumerate(_verdicts(groups, pairs))}
    assert groups.label.tolist() == [0, 0, 0]
    assert joining[1, 2] == pytest.approx(np.cos(np.radians(29 - 5)), abs=1e-6), "19 degrees from one clip, 24 from the group"


def test_chain_of_lookalikes_does_not_become_one_person() -> None:
    groups, _ = _merge(*range(0, 181, 20))
    assert len(set(groups.label.tolist())) > 3


def test_diameter_is_capped() -> None:
    assert _merge(0, 12, 24, 36)[0].label.tolist() == [0, 0, 0, 0]
    groups, pairs = _merge(0, 12, 24, 36, least=float(np.cos(np.radians(30))))
    for label in set(groups.label.tolist()):
        own = _towards(*np.array([0, 12, 24, 36])[groups.label == label])
        assert (own @ own.T).min() > np.cos(np.radians(30)) - 1e-6
    assert len(set(groups.label.tolist())) == 2
    assert Verdict.TOO_WIDE in _verdicts(groups, pairs).values()


def test_joined_pairs_are_a_tree_of_each_person() -> None:
    """So that following them explains every merge, and nothing else is claimed."""
    random = np.random.default_rng(0)
    degrees = np.concatenate([start + random.uniform(0, 18, 8) for start in (0, 90, 180, 270)])
    groups, pairs = _merge(*degrees, neighbours=4)
    joined = groups.verdict == VERDICTS.index(Verdict.JOINED)
    assert joined.sum() == len(degrees) - len(set(groups.label.tolist())) == 28
    same = groups.label[pairs.first] == groups.label[pairs.second]
    inside = groups.verdict == VERDICTS.index(Verdict.INSIDE)
    assert (same == (joined | inside)).all()
    assert (groups.group_similarity[joined] >= CUT).all()


def test_clip_that_is_in_nobodys_list_still_finds_its_person() -> None:
    """A large person whose clips list only each other: the poor clip's own list is enough."""
    degrees = (*np.linspace(0, 4, 12), 20)
    vectors = _towards(*degrees)
    pairs = nearest_pairs(vectors, neighbours=3, floor=0.5)
    assert not mutual(pairs, len(vectors), 3)[pairs.second == 12].any()
    assert set(_merge(*degrees, neighbours=3)[0].label.tolist()) == {0}


def test_every_group_knows_its_least_similarity() -> None:
    degrees = (0, 90, 12, 24, 95, 180)
    groups, _ = _merge(*degrees)
    assert groups.label.tolist() == [0, 1, 0, 0, 1, 2]
    assert groups.least_similarity.tolist() == pytest.approx([np.cos(np.radians(24)), np.cos(np.radians(5)), 1.0])


def test_labels_count_by_first_appearance() -> None:
    assert _merge(100, 0, 101, 1)[0].label.tolist() == [0, 1, 0, 1]
    assert _merge(0)[0].label.tolist() == [0]
