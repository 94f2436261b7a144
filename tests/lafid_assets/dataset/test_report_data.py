"""What the report draws, counted in SQL."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import POLICIES, RULES, FacePolicy
from lafid_assets.constraints.threshold_margins import miss_share
from lafid_assets.dataset import report_data
from lafid_assets.dataset.contact_sheet import MOST_STRIPS
from lafid_assets.schemas import (
    CLIPS,
    FACE_CLIPS,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    LAFID_DATASET,
    PIECES,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    REFERENCE_CROPS,
    SIMILARITY_BY_POSE_GAP,
    SPEECH_TAGGED_CLIPS,
)
from resources.lake.reader import Reader

RowOf = Callable[..., dict[str, Any]]
ReaderOf = Callable[[dict[str, pl.DataFrame]], Reader]


@pytest.fixture
def asked(reader_of: ReaderOf, row_of: RowOf) -> Callable[..., Reader]:
    """A reader of tables that are given as (table, values of its rows)."""

    def make(*tables: tuple[Any, list[dict[str, Any]]]) -> Reader:
        return reader_of({table.name: table.frame(row_of(table, **values) for values in rows) for table, rows in tables})

    return make


Asked = Callable[..., Reader]


def test_poses_of_main_faces_are_counted_in_bins_of_ten_degrees(asked: Asked) -> None:
    level = {"pitch_deg": 0.0, "roll_deg": 0.0}
    faces = [
        *(
            {"clip_id": "a", "frame_index": n, "face_index": 0, "yaw_deg": yaw} | level
            for n, yaw in enumerate((-90, -0.5, 90, 91))
        ),
        {"clip_id": "b", "frame_index": 0, "face_index": 0, "yaw_deg": 0.0} | level,
        {"clip_id": "b", "frame_index": 0, "face_index": 1, "yaw_deg": 0.0} | level,
        {"clip_id": "b", "frame_index": 1, "face_index": 0},
    ]
    found = report_data.pose_histogram(asked((FACE_INFO, faces), (LAFID_DATASET, [{"clip_id": "b"}])))
    assert found.filter(angle="yaw").select("from_deg", "faces", "kept").rows() == [
        (-90, 1, 0),
        (-10, 1, 0),
        (0, 1, 1),
        (80, 1, 0),
    ]
    assert found.filter(angle="roll").select("from_deg", "faces", "kept").rows() == [(0, 5, 1)]


def test_expressions_of_main_faces_are_counted_in_bins(asked: Asked) -> None:
    faces = [
        {"clip_id": clip, "frame_index": n, "face_index": index, "mouth_opening": opening, "brow_height": 0.21}
        for n, (clip, index, opening) in enumerate(
            (("a", 0, -0.01), ("a", 0, 0.05), ("b", 0, 0.051), ("b", 1, 0.3), ("b", 0, None))
        )
    ]
    found = report_data.expression_histogram(asked((FACE_INFO, faces), (LAFID_DATASET, [{"clip_id": "b"}])))
    rows = found.select("measure", pl.col("from_share").cast(pl.Float64).round(3), "faces", "kept").rows()
    assert rows == [("brow_height", 0.2, 4, 2), ("mouth_opening", -0.02, 1, 0), ("mouth_opening", 0.04, 2, 1)]


def test_references_tell_what_each_adds(asked: Asked) -> None:
    crops = [
        {"clip_id": clip, "reference_index": index, "pose_gap_deg": gap, "expression_gap": gap and gap / 100}
        for clip, gaps in (("a", (None, 40.0)), ("b", (None, 20.0, 10.0)))
        for index, gap in enumerate(gaps)
    ]
    found = report_data.reference_gaps(asked((REFERENCE_CROPS, crops)))
    assert found.filter(gap="pose_gap_deg").drop("gap").rows() == [(1, 25.0, 30.0, 35.0), (2, 10.0, 10.0, 10.0)]
    assert found.filter(gap="expression_gap")["median"].to_list() == pytest.approx([0.3, 0.1])


def test_curves_of_all_shards_are_pooled_by_pairs(asked: Asked) -> None:
    known = {"engine": "dlib", "gap_from_deg": 0.0, "gap_to_deg": 10.0, "spread": 0.1}
    curves = [
        known | {"shard": "a", "pairs": 1, "measured": 0.5, "expected": 0.8, "strangers": 0.3},
        known | {"shard": "b", "pairs": 3, "measured": 0.9, "expected": 0.6, "strangers": 0.4},
        known | {"shard": "c", "pairs": 9, "expected": 0.7, "strangers": 0.2},
    ]
    [row] = report_data.similarity_curves(asked((SIMILARITY_BY_POSE_GAP, curves))).rows(named=True)
    assert (row["engine"], row["gap"], row["strangers"]) == ("dlib", 5.0, 0.4)
    assert (row["expected"], row["spread"], row["measured"]) == pytest.approx((0.7, 0.1, 0.8))


@pytest.mark.parametrize("policy", [*POLICIES.values(), FacePolicy(name="two", pose_spread_min_deg=30.0)], ids=lambda p: p.name)
def test_misses_are_those_of_the_rules(asked: Asked, policy: FacePolicy) -> None:
    """The SQL gives what `_miss_shares` computes."""
    measures = {rule.measure for rule in RULES} & set(POSE_FILTERED_CLIPS.dtypes)
    rows = [
        {
            "clip_id": f"{index}-{share}",
            "policy_sha256": "sha",
            "status": "rejected",
            "reason": rule.reason,
            "reasons": [str(rule.reason), "several_faces"],
            **dict.fromkeys(measures, (rule.threshold_in(policy) or 1.0) * share),
        }
        for index, rule in enumerate(RULES)
        for share in (0.5, 1.0, 1.5)
    ]
    settings = {"policy_sha256": "sha", "settings": policy.model_dump_json()}
    reader = asked((POSE_FILTERED_CLIPS, rows), (POLICY_SETTINGS, [settings]))
    decided = reader.sql("SELECT * FROM pose_filtered_clips")
    found = reader.sql(f"SELECT clip_id, {miss_share(policy)} AS miss FROM pose_filtered_clips ORDER BY clip_id")
    expected = _miss_shares(decided, policy).sort("clip_id")
    assert found["clip_id"].to_list() == expected["clip_id"].to_list()
    assert found["miss"].to_list() == pytest.approx(expected["miss"].to_list())


def _miss_shares(measured: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`clip_id` and `miss`: the distance to the threshold as a share of it, of the rule that is missed by most."""
    misses = []
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold is None or rule.measure not in measured.columns:
            continue
        beyond = pl.col(rule.measure) - threshold
        missed = beyond if rule.bound == "max" else -beyond
        listed = pl.col("reasons").list.contains(str(rule.reason))
        share = missed / threshold if threshold else pl.lit(1.0)
        misses.append(pl.when(listed & (missed >= 0)).then(share))
    rejected = measured.filter(status="rejected")
    return rejected.select("clip_id", miss=pl.max_horizontal(misses).cast(pl.Float64))


def _rejected(clip: str, frame_share: float, policy: str = "cofe") -> dict[str, Any]:
    said = {"clip_id": clip, "policy_sha256": policy, "face_frame_share": frame_share, "reasons": ["face_too_rare"]}
    return said | {"status": "rejected", "reason": "face_too_rare"}


def test_narrowest_misses_are_shown_by_the_policy_that_decided_each(asked: Asked) -> None:
    policies = [
        {"policy_sha256": "cofe", "settings": FacePolicy().model_dump_json()},
        {"policy_sha256": "lax", "settings": FacePolicy(name="lax", face_frame_share_min=0.31).model_dump_json()},
    ]
    decided = [_rejected("1", 0.3), _rejected("2", 0.59), _rejected("3", 0.3, "lax"), {"clip_id": "4"}]
    elsewhere = [{"clip_id": "4", "status": "rejected", "reason": "identity_change"}]
    clips = [{"clip_id": clip, "duration_s": 2.0} for clip in "1234"]
    reader = asked((POLICY_SETTINGS, policies), (POSE_FILTERED_CLIPS, decided), (ID_CONSISTENT_CLIPS, elsewhere), (CLIPS, clips))
    rows = report_data.rejected_to_show(reader)
    assert rows["clip_id"].to_list() == ["2", "3", "1", "4"]
    assert rows["miss"].to_list()[:3] == pytest.approx([0.01 / 0.6, 0.01 / 0.31, 0.5])
    assert rows["reason"].to_list()[3] == "identity_change"


def test_no_more_clips_come_than_the_sheet_shows_and_none_of_unknown_length(asked: Asked) -> None:
    policies = [{"policy_sha256": "cofe", "settings": FacePolicy().model_dump_json()}]
    decided = [_rejected(f"{n:03}", n / 1000) for n in range(200)]
    clips = [{"clip_id": f"{n:03}", "duration_s": 2.0 if n < 190 else None} for n in range(200)]
    rows = report_data.rejected_to_show(asked((POLICY_SETTINGS, policies), (POSE_FILTERED_CLIPS, decided), (CLIPS, clips)))
    assert rows["clip_id"].to_list() == [f"{n:03}" for n in range(189, 189 - MOST_STRIPS, -1)]
    kept = [{"clip_id": f"{n:03}", "identity_id": f"{n % 2}"} for n in range(100)]
    shown = report_data.kept_to_show(asked((LAFID_DATASET, kept)))
    assert shown["clip_id"].is_sorted() is False, "by person"
    assert dict(shown.group_by("identity_id").len().iter_rows()) == {"0": MOST_STRIPS // 2 + 2, "1": MOST_STRIPS // 2 - 2}


def test_shots_are_counted_apart_from_what_cannot_be_decoded(asked: Asked) -> None:
    pieces = [
        {"clip_id": clip, "recording_id": "film", "status": status, "reason": reason}
        for clip, status, reason in (
            ("a", "ok", None),
            ("b", "ok", None),
            ("c", "skipped", "too_short"),
            ("d", "error", "decode_failed"),
        )
    ]
    reader = asked((CLIPS, [{"clip_id": "film"}]), (PIECES, pieces), (LAFID_DATASET, [{"clip_id": "a"}]))
    counted = report_data.shots_of_recordings(reader)
    assert counted == {"recordings": 1, "shots": 3, "kept": 1, "too_short": 1, "broken": 1}


def test_policies_engines_and_sources_are_counted(asked: Asked) -> None:
    reader = asked(
        (POLICY_SETTINGS, [{"policy_sha256": "sha", "settings": "{}"}, {"policy_sha256": "of speech", "settings": "{}"}]),
        (
            POSE_FILTERED_CLIPS,
            [{"clip_id": clip, "frames": frames, "policy_sha256": "sha"} for clip, frames in (("a", 9), ("b", 11))],
        ),
        (FACE_CLIPS, [{"clip_id": clip, "engine": "dlib", "engine_version": "20", "engine_licence": "NC"} for clip in "ab"]),
        (LAFID_DATASET, [{"clip_id": "a", "source": "a film", "licence": "CC0-1.0"}]),
    )
    assert report_data.face_policies(reader).rows() == [("sha", "{}", 10.0)]
    assert report_data.face_engines(reader).rows() == [("dlib 20", "NC", 2)]
    assert report_data.kept_sources(reader).rows() == [("a film", "CC0-1.0", 1)]


def test_speech_of_kept_clips_is_counted_by_the_evidence_that_decided(asked: Asked) -> None:
    said = {
        "a": ("on_screen", "lips_follow_voice"),
        "b": ("undecidable", "not_in_sync"),
        "c": ("undecidable", "profile"),
        "d": ("undecidable", "not_in_sync"),
        "rejected": ("silent", "no_voice"),
    }
    tagged = [{"clip_id": clip, "speaking_status": status, "speaking_reason": why} for clip, (status, why) in said.items()]
    kept = [{"clip_id": clip} for clip in "abcd"]
    found = report_data.speech_by_evidence(asked((SPEECH_TAGGED_CLIPS, tagged), (LAFID_DATASET, kept)))
    assert found.rows() == [
        ("on_screen", "lips_follow_voice", 1),
        ("undecidable", "not_in_sync", 2),
        ("undecidable", "profile", 1),
    ]
