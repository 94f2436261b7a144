"""Which clips show the same person, that persons keep their names, and that shards may arrive one by one."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafid_assets.identity import clustering as module
from lafid_assets.identity.clustering import NOTHING, MixedEngines, cluster_clips
from lafid_assets.identity.policies import ClusterPolicy, EngineUncalibrated
from lafid_assets.schemas import BY_NAME

FIGURES = {
    "strangers_mean": 0.0,
    "strangers_spread": 0.1,
    "threshold_floor": 0.9,
    "threshold_ceiling": 0.9,
    "edge_floor": 0.5,
    "least_similarity": 0.3,
}
POLICY = ClusterPolicy(figures={"toy": FIGURES}, neighbours=4)
Tables = Mapping[str, pl.DataFrame]


def _clips(degrees: Mapping[str, float], engine: str = "toy", version: str = "1") -> pl.DataFrame:
    """Unit vectors in a plane; 25.8 degrees between two of them is a cosine of 0.9."""
    towards = [[np.cos(np.radians(degree)), np.sin(np.radians(degree))] for degree in degrees.values()]
    centroids = pl.Series(towards, dtype=pl.List(pl.Float32))
    return pl.DataFrame({"clip_id": pl.Series(list(degrees), dtype=pl.String), "centroid": centroids}).with_columns(
        engine=pl.lit(engine), engine_version=pl.lit(version)
    )


def _cluster(degrees: Mapping[str, float], earlier: Tables = NOTHING, policy: ClusterPolicy = POLICY) -> dict[str, pl.DataFrame]:
    tables = cluster_clips(_clips(degrees), policy, earlier)
    for name, frame in tables.items():
        assert BY_NAME[name].violations(frame) == [], name
    return tables


def _persons(tables: Tables) -> dict[str, str]:
    return dict(tables["identity_clusters"].select("clip_id", "identity_id").iter_rows())


def test_near_clips_are_one_person_and_far_ones_two() -> None:
    tables = _cluster({"a": 0, "b": 10, "c": 90})
    assert _persons(tables) == {"a": "person-a", "b": "person-a", "c": "person-c"}
    columns = ("cluster_size", "nearest_clip_id", "threshold", "threshold_origin", "clusters_version")
    assert tables["identity_clusters"].select(columns).rows() == [
        (2, "b", 0.9, "shipped", 1),
        (2, "a", 0.9, "shipped", 1),
        (1, None, 0.9, "shipped", 1),
    ]
    assert tables["identity_clusters"]["least_similarity"].to_list() == pytest.approx([np.cos(np.radians(10))] * 2 + [None])
    assert tables["identity_clusters"]["nearest_similarity"].to_list() == pytest.approx([np.cos(np.radians(10))] * 2 + [None])


def test_edges_say_what_became_of_every_near_pair() -> None:
    edges = _cluster({"a": 0, "b": 10, "c": 50})["identity_edges"]
    assert edges.select("clip_id_a", "clip_id_b", "mutual", "verdict").rows() == [
        ("a", "b", True, "joined"),
        ("a", "c", True, "below_threshold"),
        ("b", "c", True, "below_threshold"),
    ]
    assert edges["similarity"].to_list() == pytest.approx(np.cos(np.radians([10, 50, 40])))
    assert edges["group_similarity"].to_list() == pytest.approx(np.cos(np.radians([10, 45, 45])))


def test_no_clips_are_no_persons() -> None:
    assert all(frame.height == 0 for frame in _cluster({}).values())
    gone = _cluster({}, _cluster({"a": 0}))
    assert gone["identity_history"].filter(kind="gone").rows() == [(2, "gone", "person-a", "person-a", 1)]


def test_persons_keep_their_names_when_clips_are_added() -> None:
    first = _cluster({"b": 0, "d": 90})
    later = _cluster({"a": 5, "b": 0, "c": 85, "d": 90}, first)
    assert _persons(later) == {"a": "person-b", "b": "person-b", "c": "person-d", "d": "person-d"}
    assert later["identity_clusters"]["clusters_version"].unique().to_list() == [1]
    assert later["identity_history"].equals(first["identity_history"])


def test_merge_leads_from_the_old_names_to_the_new_one() -> None:
    first = _cluster({"a": 0, "c": 40})
    later = _cluster({"a": 0, "b": 20, "c": 40, "d": 20, "e": 20}, first)
    assert set(_persons(later).values()) == {"person-a"}
    assert later["identity_history"].filter(clusters_version=2).rows() == [
        (2, "merged", "person-a", "person-a", 1),
        (2, "merged", "person-c", "person-a", 1),
    ]


def test_engines_and_versions_are_never_mixed() -> None:
    two = _clips({"b": 0}, version="2")
    with pytest.raises(MixedEngines, match=r"analysed by toy \(1\) and toy \(2\): materialize face_info of all shards"):
        cluster_clips(pl.concat([_clips({"a": 0}), two]), POLICY, NOTHING)
    with pytest.raises(EngineUncalibrated, match="figures has no figure for the engine magic"):
        cluster_clips(_clips({"a": 0}, "magic"), POLICY, NOTHING)
    assert cluster_clips(_clips({"a": 0}, "toy/model"), POLICY, NOTHING)["identity_clusters"].height == 1


def test_order_of_the_clips_does_not_matter() -> None:
    degrees = {"a": 0.0, "b": 10.0, "c": 90.0, "d": 95.0, "e": 45.0}
    forward, backward = _cluster(degrees), _cluster(dict(reversed(degrees.items())))
    assert all(forward[name].equals(backward[name]) for name in forward)


angles = st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.integers(0, 359).map(float), max_size=16)


@settings(deadline=None, max_examples=60)
@given(angles, angles)
def test_clips_that_come_go_and_change_leave_what_a_fresh_start_gives(first: dict[str, float], then: dict[str, float]) -> None:
    """Names apart, which are older."""
    grown, fresh = _cluster(then, _cluster(first)), _cluster(then)
    tied = fresh["identity_edges"]["similarity"].round(5).is_duplicated().any()
    if not tied:  # equal cosines differ in their last bits by the block in which they are computed
        pairs = ("clip_id_a", "clip_id_b", "mutual", "verdict")
        assert grown["identity_edges"].select(pairs).equals(fresh["identity_edges"].select(pairs))
    parts = [
        {frozenset(clip for clip, own in _persons(tables).items() if own == name) for name in _persons(tables).values()}
        for tables in (grown, fresh)
    ]
    assert tied or parts[0] == parts[1]


def test_only_what_is_new_or_bereft_is_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[list[bool]] = []
    nearest_pairs = module.nearest_pairs

    def spy(*args: object, **kwargs: object) -> object:
        searched.append(kwargs["searched"].tolist())  # type: ignore[attr-defined]
        return nearest_pairs(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "nearest_pairs", spy)
    first = _cluster({"a": 0, "b": 10, "d": 90})
    _cluster({"a": 0, "b": 10, "c": 5, "d": 90}, first)
    _cluster({"a": 0, "b": 11, "d": 90}, first)
    _cluster({"a": 0, "b": 10, "d": 90}, first, POLICY.model_copy(update={"neighbours": 3}))
    assert searched == [[True] * 3, [False, False, True, False], [True, True, False], [True] * 3]
