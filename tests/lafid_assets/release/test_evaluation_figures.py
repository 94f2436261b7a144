"""Charts of an evaluation: what they draw of bounds, intervals and gaps."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lafid_assets.release.evaluation_page import by_yaw_png, frames_png
from lafid_assets.schemas import EVALUATED_FRAMES, MODEL_EVALUATION
from model.evaluation.bench import BinBounds
from tests.model.evaluation.benches import BOUNDS

MODELS = {"ours": "a", "theirs": "b"}


def _pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)))


def _measures(row_of: Any, values: dict[str, float | None], spread: float | None) -> Any:
    rows = []
    for checkpoint in MODELS.values():
        for name, value in values.items():
            ends = {"low": value - spread, "high": value + spread} if value is not None and spread is not None else {}
            known = {"checkpoint_sha256": checkpoint, "bench_version": "v", "split": "test", "metric": f"likeness_{name}"}
            rows.append(row_of(MODEL_EVALUATION, **known, value=value, **ends))
    return MODEL_EVALUATION.frame(rows)


def test_curves_by_yaw_show_bounds_and_intervals(row_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them changes the picture; what is not measured is left out; all of it is grey."""
    values = {"yaw_0_20": 0.7, "yaw_20_40": 0.5, "yaw_40_60": None}
    whole = _pixels(by_yaw_png(_measures(row_of, values, 0.1), BOUNDS, MODELS))
    assert whole.ndim == 2, "grey"
    no_intervals = by_yaw_png(_measures(row_of, values, None), BOUNDS, MODELS)
    missing = {"yaw_0_20": BinBounds(stranger_floor=None, same_person_ceiling=0.8, stranger_pairs=0, same_person_pairs=1)}
    no_floor = by_yaw_png(_measures(row_of, values, 0.1), BOUNDS | missing, MODELS)
    alone = by_yaw_png(_measures(row_of, values, 0.1), BOUNDS, {"ours": "a"})
    for other in (no_intervals, no_floor, alone):
        assert not np.array_equal(_pixels(other), whole)
    assert by_yaw_png(_measures(row_of, {}, None), {}, MODELS), "nothing is measured, nothing is bounded"


def test_frames_of_a_case_show_gaps_and_the_real_clips_yaw(row_of: Any) -> None:
    def frames(hidden: int | None) -> Any:
        rows = []
        for checkpoint in MODELS.values():
            for index in range(1, 9):
                seen = {} if index == hidden else {"similarity": 0.5, "yaw_deg": 5.0 * index}
                known = {"checkpoint_sha256": checkpoint, "bench_version": "v", "case_id": "c", "seed": 0}
                rows.append(row_of(EVALUATED_FRAMES, **known, frame_index=index, **seen))
        return EVALUATED_FRAMES.frame(rows)

    whole = _pixels(frames_png(frames(None), MODELS, (0.0, 40.0)))
    assert not np.array_equal(_pixels(frames_png(frames(4), MODELS, (0.0, 40.0))), whole)
    assert not np.array_equal(_pixels(frames_png(frames(None), MODELS, ())), whole)
