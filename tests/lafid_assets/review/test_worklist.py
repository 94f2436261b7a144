"""Which clips are listed, in which order, and how many are done."""

from collections.abc import Callable

import pytest

from lafid_assets.review.clip_facts import ClipTables, decision_of
from lafid_assets.review.marks import put_mark
from lafid_assets.review.worklist import Wanted, Worklist, decisions_now, read_worklist
from resources.lake.lake import Lake
from tests.lafid_assets.review.five_clips import BROKEN, CHANGES, FAR, KEPT, NARROW, SHARD

ALL = [NARROW, KEPT, FAR, CHANGES]
"""By distance: 1/45, min(15/45, 10/30), 36/45 of the pose, and 0.15/0.15 of the outliers."""


def _listed(lake: Lake, marker: str = "ada", **wanted: object) -> Worklist:
    with lake.snapshot() as reader:
        return read_worklist(reader, Wanted(**wanted), marker)  # type: ignore[arg-type]


def _ids(found: Worklist) -> list[object]:
    return [clip["clip_id"] for clip in found.clips]


def _mark(lake: Lake, clip: str, verdict: str, marker: str) -> None:
    with lake.snapshot() as reader:
        seen = decision_of(ClipTables(reader, clip, SHARD).outcomes())
    assert seen is not None
    put_mark(lake, SHARD, clip, seen, verdict, marker)  # type: ignore[arg-type]


def test_decided_clips_the_nearest_to_a_threshold_first(curated: Lake) -> None:
    found = _listed(curated)
    assert (_ids(found), found.total, found.marked) == (ALL, 4, 0)
    assert [clip["distance"] for clip in found.clips] == pytest.approx([1 / 45, 15 / 45, 36 / 45, 1.0])
    assert found.clips[0] | {"distance": None} == {
        **{"clip_id": NARROW, "shard": SHARD, "step": "pose_filtered_clips", "status": "rejected"},
        **{"reason": "pose_variation_low", "distance": None, "verdict": None},
    }


def test_filters(curated: Lake) -> None:
    for wanted, clips in (
        ({"status": "kept"}, [KEPT]),
        ({"reason": "pose_variation_low"}, [NARROW, FAR]),
        ({"within": 0.35}, [NARROW, KEPT]),
        ({"measure": "pose_variation_deg"}, [NARROW, KEPT, FAR]),
        ({"measure": "pose_spread_deg", "within": 0.34}, [FAR, KEPT, NARROW]),
        ({"measure": "outlier_share"}, [KEPT, CHANGES]),
        ({"source": "OpenHumanVid"}, [FAR]),
        ({"source": "who's? nobody's"}, []),
        ({"person": "person"}, [KEPT]),
        ({"shard": SHARD}, ALL),
        ({"shard": "another"}, []),
        ({"first": 3}, [CHANGES]),
    ):
        assert _ids(_listed(curated, **wanted)) == clips, wanted


def test_own_marks_count_as_done_until_the_decision_changes(curated: Lake, decide_anew: Callable[[str, str], None]) -> None:
    _mark(curated, NARROW, "wrong", "ada")
    _mark(curated, KEPT, "right", "bob")
    found = _listed(curated)
    assert (found.total, found.marked, found.clips[0]["verdict"]) == (4, 1, "wrong")
    assert _ids(_listed(curated, marks="none")) == [KEPT, FAR, CHANGES]
    assert _ids(_listed(curated, marks="mine")) == _ids(_listed(curated, marks="wrong")) == [NARROW]
    assert _ids(_listed(curated, marks="right")) == []
    decide_anew(NARROW, "reason = 'several_faces'")
    assert _ids(_listed(curated, marks="outdated")) == [NARROW]
    assert _listed(curated).marked == 0


def test_how_clips_are_decided_now(curated: Lake) -> None:
    with curated.snapshot() as reader:
        found = decisions_now(reader, [KEPT, CHANGES, BROKEN, "nobody"])
    assert found.rows() == [
        (CHANGES, "rejected", "id_consistent_clips", "identity_change"),
        (KEPT, "kept", "duplicate_clips", None),
    ]
