"""Which clips show the same person, and that persons keep their names."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.identity.clustering import cluster_clips
from lafid_assets.schemas import IDENTITY_CLUSTERS

CUT = 0.9


def _towards(*degrees: float) -> NDArray[np.float64]:
    """(N, 2) unit vectors; 25.8 degrees between two of them is a cosine of 0.9."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def _persons(ids: str, *degrees: float, earlier: dict[str, str] | None = None) -> dict[str, str]:
    found = cluster_clips(list(ids), _towards(*degrees), CUT, earlier or {})
    assert IDENTITY_CLUSTERS.violations(found) == {"schema": [], "unique_key": [], "values": []}
    return dict(found.select("clip_id", "identity_id").iter_rows())


def test_near_clips_are_one_person_and_far_ones_two() -> None:
    assert _persons("abc", 0, 10, 90) == {"a": "person-a", "b": "person-a", "c": "person-c"}


def test_size_and_nearest_clip_are_told() -> None:
    found = cluster_clips(list("abc"), _towards(0, 10, 90), CUT, {})
    assert found["cluster_size"].to_list() == [2, 2, 1]
    assert found["nearest_clip_id"].to_list() == ["b", "a", "b"]
    assert found["nearest_similarity"].to_list() == pytest.approx(np.cos(np.radians([10, 10, 80])))


def test_single_clip_has_no_neighbour() -> None:
    found = cluster_clips(["a"], _towards(0), CUT, {})
    assert found.select("identity_id", "cluster_size", "nearest_clip_id", "nearest_similarity").rows() == [
        ("person-a", 1, None, None)
    ]


def test_no_clips_are_no_persons() -> None:
    assert cluster_clips([], np.empty((0, 0)), CUT, {}).equals(IDENTITY_CLUSTERS.frame([]))


def test_chain_of_lookalikes_does_not_make_two_persons_one() -> None:
    """Each is like its neighbours; single linkage would make all six one person, though the ends are 100 degrees apart."""
    persons = _persons("abcdef", 0, 20, 40, 60, 80, 100)
    assert len(set(persons.values())) > 1
    assert persons["a"] != persons["f"]


def test_persons_keep_their_names_when_clips_are_added() -> None:
    first = _persons("bd", 0, 90)
    assert first == {"b": "person-b", "d": "person-d"}
    later = _persons("abcd", 5, 0, 85, 90, earlier=first)
    assert later == {"a": "person-b", "b": "person-b", "c": "person-d", "d": "person-d"}


def test_most_frequent_name_wins_when_two_persons_turn_out_one() -> None:
    earlier = {"a": "person-a", "b": "person-b", "c": "person-b"}
    assert set(_persons("abc", 0, 1, 2, earlier=earlier).values()) == {"person-b"}


@pytest.mark.parametrize("degrees", [(0, 90, 91), (90, 0, 91), (90, 91, 0), (0, 60, 120)])
def test_person_split_in_two_leaves_two_different_names(degrees: tuple[float, ...]) -> None:
    earlier = dict.fromkeys("abc", "person-a")
    persons = _persons("abc", *degrees, earlier=earlier)
    clusters = 3 if degrees == (0, 60, 120) else 2
    assert len(set(persons.values())) == clusters
    assert "person-a" in persons.values(), "the larger part keeps the name"


def test_order_of_the_clips_does_not_matter() -> None:
    degrees = {"a": 0, "b": 10, "c": 90, "d": 95, "e": 45}
    forward = _persons("abcde", *degrees.values())
    backward = _persons("edcba", *reversed(degrees.values()))
    assert forward == backward


def test_rows_are_sorted() -> None:
    assert cluster_clips(list("ba"), _towards(0, 90), CUT, {})["clip_id"].to_list() == ["a", "b"]
    assert isinstance(cluster_clips(["a"], _towards(0), CUT, {}), pl.DataFrame)
