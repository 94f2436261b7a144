"""`identity_clusters` on a lake: over all shards, with one engine only."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.identity.identity_clusters import identity_clusters
from lafid_assets.schemas import FACE_CLIPS, ID_CONSISTENT_CLIPS
from resources.lake.lake import Lake
from resources.settings import Settings

A, B = [1.0, 0.0], [0.0, 1.0]


@pytest.fixture
def run(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, str]]:
    """Shards as {shard: {clip: (centroid, engine)}}; a centroid of None is a clip that was not kept."""
    instance = dg.DagsterInstance.ephemeral()

    def materialize(shards: dict[str, dict[str, tuple[list[float] | None, str]]]) -> dict[str, str]:
        for shard, clips in shards.items():
            rows = []
            for clip, (centroid, _) in clips.items():
                ending = {"keep": True} if centroid else {"keep": False, "status": "skipped", "reason": "upstream"}
                rows.append(row_of(ID_CONSISTENT_CLIPS, clip_id=clip, shard=shard, centroid=centroid, **ending))
            engines = [row_of(FACE_CLIPS, clip_id=clip, shard=shard, engine=engine) for clip, (_, engine) in clips.items()]
            tables = {"id_consistent_clips": ID_CONSISTENT_CLIPS.frame(rows), "face_clips": FACE_CLIPS.frame(engines)}
            lake.put(tables, shard, "f")
        dg.materialize(
            [identity_clusters],
            instance=instance,
            resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake},
        )
        return dict(lake.read("identity_clusters", columns=["clip_id", "identity_id"]).iter_rows())

    return materialize


def test_persons_are_found_across_shards_and_keep_their_names(run: Callable[..., dict[str, str]]) -> None:
    first = {"s0": {"m": (A, "dlib"), "n": (B, "dlib"), "x": (None, "dlib")}}
    assert run(first) == {"m": "person-m", "n": "person-n"}
    assert run(first | {"s1": {"a": (A, "dlib")}}) == {"a": "person-m", "m": "person-m", "n": "person-n"}


def test_nothing_kept_is_nobody(run: Callable[..., dict[str, str]]) -> None:
    assert run({"s0": {"x": (None, "dlib")}}) == {}


def test_engines_are_never_mixed(run: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(
        dg.Failure, match=r"analysed by dlib \(x\) and insightface \(x\): materialize face_info of all shards with one engine"
    ):
        run({"s0": {"a": (A, "dlib")}, "s1": {"b": (A, "insightface")}})


def test_engine_of_a_clip_that_was_not_kept_does_not_matter(run: Callable[..., dict[str, str]]) -> None:
    assert run({"s0": {"a": (A, "dlib"), "b": (None, "insightface")}}) == {"a": "person-a"}


def test_edges_and_history_come_with_the_persons(run: Callable[..., dict[str, str]], lake: Lake) -> None:
    run({"s0": {"m": (A, "dlib"), "n": (B, "dlib")}})
    run({"s1": {"a": (A, "dlib")}})
    assert lake.read("identity_edges", columns=["clip_id_a", "clip_id_b", "verdict"]).rows() == [("a", "m", "joined")]
    assert lake.read("identity_history", columns=["clusters_version", "kind", "identity_id"]).rows() == [
        (1, "new", "person-m"),
        (1, "new", "person-n"),
    ]
