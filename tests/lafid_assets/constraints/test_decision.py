"""Each rule from crafted scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.constraints.decision import decide_clips
from lafid_assets.constraints.policies import POLICIES, FacePolicy
from lafid_assets.ingest.openhumanvid import MEASURES
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, PICTURE_MEASURES, POSE_FILTERED_CLIPS
from model.face_engine.rotations import rotation_from_angles

RowOf = Callable[..., dict[str, Any]]
FRAMES = 10
SIDE_PX = 100


class Clip:
    """Ten frames with one good face that turns by 60 degrees; the test spoils what it is about."""

    def __init__(self, row_of: RowOf, clip_id: str = "a") -> None:
        self.row_of, self.clip_id = row_of, clip_id
        self.yaw_deg: list[float | None] = list(np.linspace(-30, 30, FRAMES))
        self.has_face = [True] * FRAMES
        self.height_px, self.sharpness = 40.0, 100.0
        self.size_px, self.step_s = (160, SIDE_PX), 0.0
        self.second_share: dict[int, float] = {}
        self.told: dict[str, float] = {}
        self.cuts = {"hard_cut_score": 0.0, "gradual_cut_score": 0.0}

    def faces(self) -> list[dict[str, Any]]:
        rows = []
        for frame in range(FRAMES):
            if self.has_face[frame]:
                rows.append(self._face(frame, 0, self.yaw_deg[frame], self.height_px * 30 / SIDE_PX**2))
            if frame in self.second_share:
                rows.append(self._face(frame, 1, None, self.second_share[frame]))
        return rows

    def _face(self, frame: int, index: int, yaw_deg: float | None, share: float) -> dict[str, Any]:
        pose: dict[str, Any] = {"yaw_deg": yaw_deg, "pitch_deg": yaw_deg and 0.0, "roll_deg": yaw_deg and 0.0}
        pose["rotation"] = None if yaw_deg is None else rotation_from_angles(yaw_deg, 0, 0).ravel().tolist()
        known = {"clip_id": self.clip_id, "frame_index": frame, "face_index": index, "frame_share": share}
        return self.row_of(FACE_INFO, **known, **pose, head_height_px=self.height_px, sharpness=self.sharpness)

    def frames(self) -> list[dict[str, Any]]:
        counts = [int(has) + (n in self.second_share) for n, has in enumerate(self.has_face)]
        width, height = self.size_px
        return [
            self.row_of(
                FACE_FRAMES,
                clip_id=self.clip_id,
                frame_index=n,
                time_s=n * self.step_s,
                width=width,
                height=height,
                face_count=count,
            )
            for n, count in enumerate(counts)
        ]


def _decide(row_of: RowOf, *clips: Clip, skipped: tuple[str, ...] = (), policy: FacePolicy | None = None) -> pl.DataFrame:
    endings = [row_of(FACE_CLIPS, clip_id=clip.clip_id, status="ok", **clip.cuts) for clip in clips]
    endings += [row_of(FACE_CLIPS, clip_id=name, status="error", reason="crashed") for name in skipped]
    decided = decide_clips(
        PICTURE_MEASURES.frame(row_of(PICTURE_MEASURES, clip_id=clip.clip_id, **clip.told) for clip in clips),
        FACE_CLIPS.frame(endings),
        FACE_INFO.frame(face for clip in clips for face in clip.faces()),
        FACE_FRAMES.frame(frame for clip in clips for frame in clip.frames()),
        policy or FacePolicy(),
    )
    assert POSE_FILTERED_CLIPS.violations(decided) == []
    assert decided["keep"].to_list() == (decided["status"] == "ok").to_list()
    return decided


def _row(row_of: RowOf, clip: Clip, **policy: Any) -> dict[str, Any]:
    return _decide(row_of, clip, policy=FacePolicy(**policy)).row(0, named=True)


def test_good_clip_is_kept_with_its_measures(row_of: RowOf) -> None:
    row = _row(row_of, Clip(row_of))
    assert (row["status"], row["reason"], row["reasons"]) == ("ok", None, [])
    assert (row["frames"], row["face_frame_share"], row["several_faces_share"], row["posed_frames"]) == (10, 1.0, 0.0, 10)
    assert (row["face_height_share"], row["posed_share"]) == (pytest.approx(0.4), 1.0)
    assert row["yaw_range_deg"] == pytest.approx(60 * 0.9, abs=0.01), "from the 5th to the 95th percentile"
    assert row["pose_variation_deg"] == pytest.approx(row["yaw_range_deg"])
    assert row["pose_spread_deg"] == pytest.approx(60, abs=0.01)
    assert row["policy"] == "cofe"


def test_a_kept_clip_that_is_longer_has_a_window(row_of: RowOf) -> None:
    """Frames half a second apart; the turn begins behind the first two seconds."""
    turning, small = Clip(row_of), Clip(row_of, "small")
    turning.yaw_deg = small.yaw_deg = [0.0, 0.0, 0.0, 0.0, 0.0, -30.0, 0.0, 30.0, 30.0, 30.0]
    _small(small)
    for clip in (turning, small):
        clip.step_s = 0.5
    windows = [(1.5, 3.5), (None, None)]
    decided = _decide(row_of, turning, small, policy=FacePolicy(window_s=2.0))
    assert decided.select("window_start_s", "window_end_s").rows() == windows
    assert _row(row_of, turning)["window_start_s"] is None, "4.5 s are no longer than 5"


def _without_face(clip: Clip) -> None:
    clip.has_face = [False] * FRAMES


def _rare(clip: Clip) -> None:
    clip.has_face = [n < 5 for n in range(FRAMES)]


def _crowded(clip: Clip) -> None:
    clip.second_share = {3: 0.1}


def _small(clip: Clip) -> None:
    clip.height_px = 17


def _blurred(clip: Clip) -> None:
    clip.sharpness = 19


def _poseless(clip: Clip) -> None:
    clip.yaw_deg = [None] * 8 + [-30.0, 30.0]


def _static(clip: Clip) -> None:
    clip.yaw_deg = list(np.linspace(-20, 20, FRAMES))


def _seldom_posed(clip: Clip) -> None:
    clip.yaw_deg = [None, None] * 3 + list(np.linspace(-10, 10, 4))


def _seen_late(clip: Clip) -> None:
    clip.has_face = [False] * 9 + [True]
    clip.yaw_deg = [None] * FRAMES


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (_without_face, ["no_face"]),
        (_rare, ["face_too_rare", "pose_variation_low"]),
        (_crowded, ["several_faces"]),
        (_small, ["face_too_small"]),
        (_blurred, ["face_blurred"]),
        (_poseless, ["pose_unknown"]),
        (_static, ["pose_variation_low"]),
        (_seldom_posed, ["pose_unknown"]),
        (_seen_late, ["face_too_rare", "pose_unknown"]),
    ],
)
def test_each_rule_rejects_with_its_reason(row_of: RowOf, spoil: Callable[[Clip], None], reasons: list[str]) -> None:
    clip = Clip(row_of)
    spoil(clip)
    row = _row(row_of, clip)
    assert row["reasons"] == reasons
    assert (row["status"], row["reason"], row["keep"]) == ("rejected", reasons[0], False)


def test_all_broken_rules_are_listed_in_the_policys_order(row_of: RowOf) -> None:
    clip = Clip(row_of)
    for spoil in (_static, _blurred, _small, _crowded, _rare):
        spoil(clip)
    assert _row(row_of, clip)["reasons"] == [
        "face_too_rare",
        "face_too_small",
        "several_faces",
        "face_blurred",
        "pose_variation_low",
    ]


def test_what_was_not_measured_is_null_and_breaks_no_rule(row_of: RowOf) -> None:
    clip = Clip(row_of)
    _without_face(clip)
    row = _row(row_of, clip)
    measures = ("face_height_share", "sharpness", "posed_frames", "yaw_range_deg", "pose_variation_deg", "pose_spread_deg")
    assert [row[name] for name in measures] == [None] * len(measures)
    unposed = Clip(row_of)
    unposed.yaw_deg = [None] * FRAMES
    row = _row(row_of, unposed)
    assert (row["posed_frames"], row["pose_variation_deg"], row["pose_spread_deg"]) == (0, None, None)
    assert row["reasons"] == ["pose_unknown"]


def test_a_head_that_turns_enough_where_its_pose_is_known_is_kept(row_of: RowOf) -> None:
    """Near profile an engine may know no pose: of the frames that have one, few are enough."""
    clip = Clip(row_of)
    clip.yaw_deg = [None] * 6 + [-30.0, -28.0, 28.0, 30.0]
    row = _row(row_of, clip)
    assert (row["keep"], row["posed_share"]) == (True, 0.4)
    assert _row(row_of, clip, pose_variation_min_deg=90)["reason"] == "pose_unknown"
    assert _row(row_of, clip, pose_variation_min_deg=90, posed_share_min=None)["reason"] == "pose_variation_low"


def test_ranges_that_add_up_while_the_head_hardly_turns_are_no_turn(row_of: RowOf) -> None:
    """Twenty degrees of yaw, of pitch and of roll, one after the other: 51 by the sum, 24 between any two poses."""
    clip = Clip(row_of)
    clip.yaw_deg = [0.0] * FRAMES
    faces = clip.faces()
    for n, face in enumerate(faces):
        angle = ("yaw_deg", "pitch_deg", "roll_deg")[n // 4]
        face |= {"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0} | {angle: 20.0 * (n % 4 > 1 or n > 8)}
    clip.faces = lambda: faces  # type: ignore[method-assign]
    row = _row(row_of, clip)
    assert row["pose_variation_deg"] > 45
    assert row["pose_spread_deg"] < 30
    assert row["reasons"] == ["pose_variation_low"]
    assert _row(row_of, clip, pose_spread_min_deg=None)["keep"]


@pytest.mark.parametrize(("size_px", "share"), [((90, 160), 0.4), ((160, 90), 0.4), ((900, 90), 0.4)])
def test_a_face_is_as_large_as_the_shorter_side_says(row_of: RowOf, size_px: tuple[int, int], share: float) -> None:
    clip = Clip(row_of)
    clip.size_px, clip.height_px = size_px, 36.0
    assert _row(row_of, clip)["face_height_share"] == pytest.approx(share)


def test_second_face_counts_from_a_quarter_of_the_first(row_of: RowOf) -> None:
    main = 40 * 30 / SIDE_PX**2
    for factor, rejected in ((0.2, False), (0.3, True)):
        clip = Clip(row_of)
        clip.second_share = dict.fromkeys(range(FRAMES), factor * main)
        assert (_row(row_of, clip)["reasons"] == ["several_faces"]) is rejected
        assert _row(row_of, clip)["several_faces_share"] == (1.0 if rejected else 0.0)


def test_thresholds_are_the_policys(row_of: RowOf) -> None:
    clip = Clip(row_of)
    assert _row(row_of, clip, pose_variation_min_deg=55)["reason"] == "pose_variation_low"
    assert _row(row_of, clip, face_height_share_min=0.41)["reason"] == "face_too_small"
    assert _row(row_of, clip, sharpness_min=101)["reason"] == "face_blurred"
    _crowded(clip)
    assert _row(row_of, clip, several_faces_share_max=0.1)["keep"]


def test_clips_that_did_not_come_so_far_are_skipped(row_of: RowOf) -> None:
    decided = _decide(row_of, Clip(row_of), skipped=("b", "c"))
    assert decided.select("clip_id", "status", "reason", "detail", "keep").rows() == [
        ("a", "ok", None, None, True),
        ("b", "skipped", "upstream", "face_info: crashed", False),
        ("c", "skipped", "upstream", "face_info: crashed", False),
    ]


def test_shard_in_which_every_clip_is_skipped(row_of: RowOf) -> None:
    assert _decide(row_of, skipped=("a", "b"))["status"].to_list() == ["skipped", "skipped"]


def test_clips_are_measured_apart(row_of: RowOf) -> None:
    good, static = Clip(row_of, "a"), Clip(row_of, "b")
    _static(static)
    assert _decide(row_of, good, static)["reason"].to_list() == [None, "pose_variation_low"]


def test_order_of_the_rows_does_not_matter(row_of: RowOf) -> None:
    clips = [Clip(row_of, name) for name in "abc"]
    _crowded(clips[1])
    faces = FACE_INFO.frame(face for clip in clips for face in clip.faces())
    frames = FACE_FRAMES.frame(frame for clip in clips for frame in clip.frames())
    raw = PICTURE_MEASURES.frame(row_of(PICTURE_MEASURES, clip_id=name) for name in "abc")
    endings = FACE_CLIPS.frame(row_of(FACE_CLIPS, clip_id=name, status="ok") for name in "abc")
    in_order = decide_clips(raw, endings, faces, frames, FacePolicy())
    shuffled = decide_clips(
        raw,
        endings,
        faces.sample(fraction=1, shuffle=True, seed=1),
        frames.sample(fraction=1, shuffle=True, seed=2),
        FacePolicy(),
    )
    assert in_order.sort("clip_id").equals(shuffled.sort("clip_id"))
    assert in_order.sort("clip_id")["reason"].to_list() == [None, "several_faces", None]


@pytest.mark.parametrize(
    ("released", "reason"),
    [
        ({"luminance_min": 9.0}, "luminance_outside"),
        ({"luminance_max": 211.0}, "luminance_outside"),
        ({"blur_min": 0.04}, "picture_blurred"),
        ({"aesthetic": 4.7}, "aesthetic_low"),
        ({"technical_score": 0.09}, "technical_low"),
        ({"global_motion": 0.4}, "motion_outside"),
        ({"global_motion": 20.1}, "motion_outside"),
        ({"measured_motion": 0.4}, "motion_outside"),
        ({"measured_motion": 20.1}, "motion_outside"),
        ({"duration_s": 1.9}, "duration_outside"),
        ({"duration_s": 20.1}, "duration_outside"),
    ],
)
def test_released_gates_are_rules_that_a_policy_may_have(row_of: RowOf, released: dict[str, float], reason: str) -> None:
    clip = Clip(row_of)
    clip.told = released
    gated = _decide(row_of, clip, policy=POLICIES["cofe_with_released_gates"])
    assert gated["reasons"].to_list() == [[reason]]
    assert _row(row_of, clip)["keep"], "the plain policy does not look at them"


def test_released_measures_at_their_gates_pass_and_absent_ones_break_nothing(row_of: RowOf) -> None:
    clip = Clip(row_of)
    clip.told = {"luminance_min": 10, "luminance_max": 210, "blur_min": 0.05, "aesthetic": 4.8, "technical_score": 0.091}
    clip.told |= {"global_motion": 0.5, "duration_s": 20}
    absent = Clip(row_of, "b")
    absent.told = dict.fromkeys(("duration_s", *MEASURES))
    decided = _decide(row_of, clip, absent, policy=POLICIES["cofe_with_released_gates"])
    assert decided["keep"].to_list() == [True, True]
    gates = ["duration_outside", "luminance_outside", "picture_blurred", "aesthetic_low", "technical_low", "motion_outside"]
    assert decided["unjudged"].to_list() == [[], gates]
    assert _row(row_of, absent)["unjudged"] == [], "rules that are off are not missed"


def test_a_reason_is_judged_where_one_of_its_measures_is_known(row_of: RowOf) -> None:
    clip = Clip(row_of)
    clip.told = {"measured_motion": 3.0, "luminance_min": 50.0, "duration_s": 4.0}
    decided = _decide(row_of, clip, policy=POLICIES["cofe_with_released_gates"])
    assert decided["unjudged"].to_list() == [["picture_blurred", "aesthetic_low", "technical_low"]]


def test_faithfulfaces_counts_faces_in_any_frame_and_asks_for_120_degrees(row_of: RowOf) -> None:
    policy = POLICIES["faithfulfaces"]
    turning, quiet, crowded, empty = (Clip(row_of, name) for name in "abcd")
    for clip in (turning, crowded):
        clip.yaw_deg = list(np.linspace(-60, 60, FRAMES))
    quiet.yaw_deg = list(np.linspace(-60, 59, FRAMES))
    _without_face(empty)
    rows = _decide(row_of, turning, quiet, crowded, empty, policy=policy)
    assert rows["reasons"].to_list() == [[], ["pose_variation_low"], [], ["no_face"]]
    turning.has_face[1:9] = [False] * 8
    assert _decide(row_of, turning, policy=policy)["keep"].to_list() == [True], "a face somewhere is enough"
    assert _row(row_of, crowded, **(policy.model_dump() | {"faces_in_frame_max": 1}))["keep"]
    crowded.second_share = {3: 0.0001}
    assert _row(row_of, crowded, **policy.model_dump())["keep"], "two faces may be in a frame"
    assert _row(row_of, crowded, **(policy.model_dump() | {"faces_in_frame_max": 1}))["reasons"] == ["several_faces"]


def test_spread_decides_where_the_policy_says_so(row_of: RowOf) -> None:
    clip = Clip(row_of)
    by_spread = {"pose_variation_min_deg": None, "pose_spread_min_deg": 61}
    assert _row(row_of, clip, **by_spread)["reasons"] == ["pose_variation_low"]
    assert _row(row_of, clip, **(by_spread | {"pose_spread_min_deg": 59}))["keep"]


@pytest.mark.parametrize("kind", ["hard", "gradual"])
def test_a_clip_with_a_cut_is_rejected_as_such_whatever_else_is_wrong_with_it(row_of: RowOf, kind: str) -> None:
    threshold = getattr(FacePolicy(), f"{kind}_cut_score_max")
    whole, cut = Clip(row_of, "whole"), Clip(row_of, "cut")
    whole.cuts, cut.cuts = {f"{kind}_cut_score": threshold}, {f"{kind}_cut_score": threshold + 0.01}
    cut.height_px = 5.0
    decided = _decide(row_of, whole, cut).sort("clip_id", descending=True)
    assert decided["keep"].to_list() == [True, False]
    assert decided["reason"].to_list() == [None, "cut"]
    assert decided["reasons"][1].to_list()[:2] == ["cut", "face_too_small"]
    assert decided[f"{kind}_cut_score"].to_list() == [threshold, threshold + 0.01]


def test_a_policy_may_allow_cuts(row_of: RowOf) -> None:
    clip = Clip(row_of)
    clip.cuts = {"hard_cut_score": 9.0, "gradual_cut_score": 9.0}
    allowing = FacePolicy(hard_cut_score_max=None, gradual_cut_score_max=None)
    assert _decide(row_of, clip, policy=allowing)["keep"].to_list() == [True]
