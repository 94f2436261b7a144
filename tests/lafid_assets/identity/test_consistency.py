"""One person all along, from crafted faces."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.identity.consistency import decide_clips, explain_identity, similarity_to_medoid
from lafid_assets.identity.policies import ConsistencyPolicy, EngineUncalibrated
from lafid_assets.schemas import BY_NAME, ID_CONSISTENT_CLIPS, POSE_FILTERED_CLIPS

RowOf = Callable[..., dict[str, Any]]
SWING = [0, 12, 24, 36, 48, 36, 24, 12, 0, -12, -24, -36, -48, -36, -24, -12]


@pytest.fixture
def decide(row_of: RowOf, clip_of: Callable[..., Any], shard_of: Callable[..., Any]) -> Callable[..., pl.DataFrame]:
    """Decisions about clips, each given by the arguments of `clip_of` but the id."""

    def make(clips: dict[str, dict[str, Any]], *, dropped: tuple[str, ...] = (), **policy: Any) -> pl.DataFrame:
        kept = [row_of(POSE_FILTERED_CLIPS, clip_id=name, keep=True, status="ok") for name in clips]
        lost = [row_of(POSE_FILTERED_CLIPS, clip_id=n, keep=False, status="rejected", reason="no_face") for n in dropped]
        shard = shard_of(*(clip_of(name, **clip) for name, clip in clips.items()))
        tables = decide_clips(POSE_FILTERED_CLIPS.frame([*kept, *lost]), *shard, ConsistencyPolicy(**policy))
        for name, frame in tables.items():
            assert BY_NAME[name].violations(frame) == []
        decided = tables["id_consistent_clips"]
        assert decided["keep"].to_list() == (decided["status"] == "ok").to_list()
        assert set(decided["policy_sha256"]) <= set(tables["policy_settings"]["policy_sha256"])
        return decided

    return make


def _first(decided: pl.DataFrame) -> dict[str, Any]:
    return decided.row(0, named=True)


def test_one_person_is_kept_with_a_centroid_of_unit_length(decide: Callable[..., pl.DataFrame]) -> None:
    row = _first(decide({"a": {"persons": [0] * 8}}))
    assert (row["status"], row["embedded_frames"], row["outlier_share"]) == ("ok", 8, 0.0)
    assert (row["identity_break"], row["identity_break_frame"], row["hidden_frames"]) == ("none", None, 0)
    assert row["similarity_mean"] >= row["similarity_min"] > 0.8
    assert np.linalg.norm(row["centroid"]) == pytest.approx(1, abs=1e-5)
    assert row["centroid"][0] > 0.95


def test_turning_head_is_kept_where_a_plain_cut_throws_it_away(decide: Callable[..., pl.DataFrame]) -> None:
    """The best clips of all: their lowest cosine is that of a stranger's better frames."""
    clip = {"a": {"persons": [0] * 16, "yaws_deg": SWING}}
    turning = _first(decide(clip))
    assert turning["similarity_min"] < 0.6
    assert turning["pose_gap_max_deg"] == pytest.approx(60, abs=0.01), "from the medoid at 12 degrees to -48"
    assert turning["residual_min"] > -2
    assert (turning["keep"], turning["outlier_share"]) == (True, 0.0)
    assert not _first(decide(clip, name="medoid", min_similarity={"insightface": 0.85}))["keep"]


def test_drop_that_no_turn_explains_is_an_outlier(decide: Callable[..., pl.DataFrame]) -> None:
    """The same cosines without the turn."""
    still = {frame: {"rotation": np.eye(3).ravel().tolist()} for frame in range(16)}
    row = _first(decide({"a": {"persons": [0] * 16, "yaws_deg": SWING, "changes": still}}, max_outlier_share=0.05))
    assert row["residual_min"] < -3
    assert (row["status"], row["reason"]) == ("rejected", "identity_change")


def test_person_who_changes_mid_clip_is_rejected(decide: Callable[..., pl.DataFrame]) -> None:
    row = _first(decide({"a": {"persons": [0] * 6 + [1] * 5}}))
    assert (row["status"], row["reason"], row["outlier_share"]) == ("rejected", "identity_change", pytest.approx(5 / 11))
    assert (row["identity_break"], row["identity_break_frame"]) == ("second_person", 6)
    assert row["detail"] == "another person leads from frame 6"


def test_cut_to_another_person_is_called_a_cut(decide: Callable[..., pl.DataFrame]) -> None:
    moved = {"box_x1": 300.0, "box_x2": 400.0}
    cut = {"persons": [0] * 6 + [1] * 5, "luminance": [100.0] * 6 + [140.0] * 5, "changes": {n: moved for n in range(6, 11)}}
    row = _first(decide({"a": cut}))
    assert (row["identity_break"], row["identity_break_frame"], row["reason"]) == ("hard_cut", 6, "identity_change")
    assert row["detail"] == "a cut to another person at frame 6"
    one_sign = cut | {"changes": {}}
    assert _first(decide({"a": one_sign}))["identity_break"] == "second_person"


def test_clip_that_begins_with_the_other_person_breaks_where_the_person_comes(decide: Callable[..., pl.DataFrame]) -> None:
    assert _first(decide({"a": {"persons": [1] * 4 + [0] * 7}}))["identity_break_frame"] == 4


@pytest.mark.parametrize("how", ["no_face_before", "blurred", "low_score"])
def test_hidden_face_is_not_another_person(how: str, decide: Callable[..., pl.DataFrame]) -> None:
    """Three frames that look like nobody, each like another nobody."""
    persons: list[int | None] = [0, 0, 0, 0, 2, 3, 4, 0, 0, 0]
    changes: dict[int, dict[str, Any]] = {}
    if how == "no_face_before":
        persons = [0, 0, 0, 0, None, 2, 3, 4, 0, 0]
    else:
        bad = {"blurred": {"sharpness": 20.0}, "low_score": {"score": 0.4}}[how]
        changes = {frame: bad for frame in (4, 5, 6)}
    row = _first(decide({"a": {"persons": persons, "changes": changes}}))
    assert (row["identity_break"], row["hidden_frames"], row["outlier_share"], row["keep"]) == ("hidden_face", 3, 0.0, True)
    seen_well = _first(decide({"a": {"persons": [0, 0, 0, 0, 2, 3, 4, 0, 0, 0]}}))
    assert (seen_well["identity_break"], seen_well["hidden_frames"], seen_well["keep"]) == ("unclear", 0, False)


def test_second_person_stays_one_although_poorly_seen(decide: Callable[..., pl.DataFrame]) -> None:
    blurred = {frame: {"sharpness": 20.0, "score": 0.4} for frame in range(6, 10)}
    row = _first(decide({"a": {"persons": [0] * 6 + [1] * 4, "changes": blurred}}))
    assert (row["identity_break"], row["keep"]) == ("second_person", False)


def test_few_outliers_are_forgiven(decide: Callable[..., pl.DataFrame]) -> None:
    mixed = {"a": {"persons": [0] * 9 + [1]}}
    assert decide(mixed)["keep"].to_list() == [True]
    assert decide(mixed, max_outlier_share=0.05)["keep"].to_list() == [False]


def test_plain_rules(decide: Callable[..., pl.DataFrame]) -> None:
    mixed = {"a": {"persons": [0] * 9 + [1]}}
    figure = {"min_similarity": {"insightface": 0.5}}
    rules = {name: decide(mixed, name=name, **figure) for name in ("mean", "minimum", "medoid")}
    assert {name: decided["keep"][0] for name, decided in rules.items()} == {"mean": True, "minimum": False, "medoid": True}
    assert {name: decided["policy"][0] for name, decided in rules.items()} == {name: name for name in rules}


def test_the_settings_are_told_without_the_shipped_curves(shard_of: Callable[..., Any], clip_of: Callable[..., Any]) -> None:
    policy = ConsistencyPolicy(min_similarity={"insightface": 0.5})
    [settings] = decide_clips(POSE_FILTERED_CLIPS.frame([]), *shard_of(clip_of("a", [0])), policy)["policy_settings"]["settings"]
    assert json.loads(settings)["min_similarity"] == {"insightface": 0.5}
    assert "pose_gap" not in json.loads(settings)


def test_too_few_embeddings_are_no_judgement(decide: Callable[..., pl.DataFrame]) -> None:
    decided = decide({"a": {"persons": [0] * 2}, "b": {"persons": [None] * 3}})
    columns = ("reason", "embedded_frames", "similarity_mean", "centroid")
    assert decided.select(columns).rows() == [("identity_unknown", 2, None, None), ("identity_unknown", 0, None, None)]


def test_single_face_can_be_enough_where_the_policy_says_so(decide: Callable[..., pl.DataFrame]) -> None:
    row = _first(decide({"a": {"persons": [0]}}, min_embedded_frames=1))
    assert (row["keep"], row["similarity_min"], row["residual_min"]) == (True, pytest.approx(1), None)


def test_clip_that_is_nearly_all_hidden_is_no_judgement(decide: Callable[..., pl.DataFrame]) -> None:
    persons = [0, 0, None, 2, 3, 4, 5, 6]
    row = _first(decide({"a": {"persons": persons}}))
    assert (row["reason"], row["hidden_frames"], row["centroid"]) == ("identity_unknown", 5, None)


def test_centroid_leaves_strangers_out_and_favours_sharp_frontal_faces(decide: Callable[..., pl.DataFrame]) -> None:
    row = _first(decide({"a": {"persons": [0] * 9 + [1], "wobble": 0.0}}))
    assert row["centroid"][0] == pytest.approx(1, abs=1e-6)
    yaws = [0, 40] * 4
    plain = _first(decide({"a": {"persons": [0] * 8, "yaws_deg": yaws, "wobble": 0.0}}))["centroid"]
    blurred = {frame: {"sharpness": 5.0} for frame in range(1, 8, 2)}
    sharp = _first(decide({"a": {"persons": [0] * 8, "yaws_deg": yaws, "wobble": 0.0, "changes": blurred}}))["centroid"]
    mean = np.array([1 + 0.64, np.sqrt(1 - 0.64**2)])
    assert sharp[0] > plain[0] > mean[0] / np.linalg.norm(mean) + 0.005


def test_medoid_has_a_pose_where_any_frame_has(decide: Callable[..., pl.DataFrame]) -> None:
    without = {frame: {"rotation": None} for frame in range(7)}
    row = _first(decide({"a": {"persons": [0] * 8, "changes": without}}))
    assert (row["pose_gap_max_deg"], row["keep"]) == (0.0, True)


def test_dropped_clips_are_skipped(decide: Callable[..., pl.DataFrame]) -> None:
    decided = decide({"a": {"persons": [0] * 4}}, dropped=("b",))
    assert decided.select("clip_id", "status", "reason", "detail").rows()[1] == (
        "b",
        "skipped",
        "upstream",
        "pose_filtered_clips: no_face",
    )
    assert decide({}, dropped=("b", "c"))["status"].to_list() == ["skipped"] * 2


def test_curve_that_judged_is_told(row_of: RowOf, clip_of: Callable[..., Any], shard_of: Callable[..., Any]) -> None:
    clips = POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id=name, shard="s") for name in "ab"])
    shard = shard_of(clip_of("a", [0] * 16, SWING), clip_of("b", [1] * 16, SWING, engine="dlib"))
    curve = decide_clips(clips, *shard, ConsistencyPolicy(shipped_weight=1))["similarity_by_pose_gap"]
    assert curve.select("shard", "engine").unique().sort("engine").rows() == [("s", "dlib"), ("s", "insightface")]
    assert curve.filter(engine="insightface")["pairs"].sum() > 50
    measured = dict(curve.filter(engine="insightface").select("gap_from_deg", "measured").iter_rows())
    assert measured[10.0] > measured[40.0] > measured[75.0] > 0.2


def test_engine_without_a_figure_is_named(decide: Callable[..., pl.DataFrame]) -> None:
    clip = {"a": {"persons": [0] * 4, "engine": "magic"}}
    with pytest.raises(EngineUncalibrated, match="pose_gap has no figure for the engine magic: add one to the asset's config"):
        decide(clip)
    with pytest.raises(EngineUncalibrated, match="min_similarity has no figure for the engine magic"):
        decide(clip, name="medoid")
    row = _first(decide(clip, name="medoid", min_similarity={"magic": 0.5}))
    assert (row["keep"], row["residual_mean"], row["identity_break"]) == (True, None, None)


def test_medoid_is_the_frame_most_like_all_others() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    medoid, similarity = similarity_to_medoid(vectors, np.ones(3, np.bool_))
    assert (medoid, similarity.tolist()) == (1, pytest.approx([0.8, 1.0, 0.96]))
    assert similarity_to_medoid(vectors, np.array([True, False, False]))[0] == 0


MEASURES = {"embedded_frames": 9, "outlier_share": 0.4, "similarity_mean": 0.8, "similarity_min": 0.3}


@pytest.mark.parametrize(
    ("rule", "measure", "measured", "demand"),
    [
        ("pose_gap", "outlier_share", 0.4, "at most 0.2"),
        ("medoid", "outlier_share", 0.4, "at most 0.2"),
        ("mean", "similarity_mean", 0.8, "at least 0.35"),
        ("minimum", "similarity_min", 0.3, "at least 0.35"),
    ],
)
def test_rule_of_the_policy(row_of: RowOf, rule: Any, measure: str, measured: float, demand: str) -> None:
    row = row_of(ID_CONSISTENT_CLIPS, **MEASURES, status="rejected", reason="identity_change")
    policy = ConsistencyPolicy(name=rule, max_outlier_share=0.2)
    enough, line = explain_identity(row, "insightface/buffalo_l", policy)
    assert (enough.measured, enough.demand, enough.broken) == (9, "at least 3", False)
    assert (line.rule, line.measure, line.measured, line.demand, line.broken) == (
        "identity_change",
        measure,
        measured,
        demand,
        True,
    )


def test_too_few_frames_and_no_judgement(row_of: RowOf) -> None:
    few = row_of(ID_CONSISTENT_CLIPS, embedded_frames=2, outlier_share=None, status="rejected", reason="identity_unknown")
    assert [line.broken for line in explain_identity(few, "dlib", ConsistencyPolicy())] == [True, False]
    skipped = row_of(ID_CONSISTENT_CLIPS, embedded_frames=None, status="skipped", reason="upstream")
    assert explain_identity(skipped, "dlib", ConsistencyPolicy()) == []
