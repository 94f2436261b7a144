"""The embedded engine judged by other models on real clips (../shared/testdata), a few frames of a few clips.

The bars on all clips are measured by `python -m benchmarks.head_pose`.
"""

import pytest

from benchmarks.head_pose import BARS, TESTDATA, Timings, judge_clip, load_judges, summarise
from model.face_engine.dlib_engine import DlibEngine

CLIPS = ("intel_gaze_demo.mp4", "intel_head-pose-face-detection-female.gif", "liveportrait_d12.mp4", "latentsync_demo1.mp4")


@pytest.mark.long
@pytest.mark.skipif(not (TESTDATA / "verify.py").is_file(), reason="../shared/testdata is not beside this checkout")
def test_pose_agrees_with_fsanet_on_real_clips() -> None:
    for library in ("cv2", "insightface", "onnxruntime"):
        pytest.importorskip(library, reason=f"the judges need {library} (the extra 'data')")
    judges, models = load_judges(TESTDATA)
    engine, timings = DlibEngine(), Timings()
    summary = summarise(
        [frame for clip in CLIPS for frame in judge_clip(TESTDATA / "clips" / clip, engine, judges, models, 8, timings)]
    )
    assert summary["clips"] == len(CLIPS)
    assert summary["found_share"] >= BARS["found_share"]
    assert summary["pose_share_of_found_yaw_to_45"] > 0.9
    assert summary["yaw_mae_deg"] < 1.5 * BARS["yaw_mae_deg"]
    assert summary["pitch_mae_deg"] < 1.5 * BARS["pitch_mae_deg"]
    assert summary["roll_mae_deg"] < 1.5 * BARS["roll_mae_deg"]
    assert summary["yaw_correlation"] > 0.9
    assert summary["roll_correlation"] > 0.8
