"""Charts about thresholds."""

import io

import polars as pl
from PIL import Image

from lafid_assets.constraints.figures import LINES, histogram_lines, measure_png

VALUES = pl.Series("degrees", [0.0, 1.0, 1.0, 16.0, None])


def test_lines_hold_every_value_and_every_threshold() -> None:
    lines = histogram_lines(VALUES, {"now": 1.5, "then": 16.0})
    assert len(lines) == LINES
    assert [int(line.split("  now")[0].split("  then")[0].split()[-1]) for line in lines] == [1, 2, *[0] * 13, 1]
    assert lines[1].endswith("now: 1.5")
    assert lines[-1].endswith("then: 16"), "the last bin holds its upper bound"
    assert "now" not in "".join(histogram_lines(VALUES, {"now": None, "then": 3.0}))
    assert histogram_lines(VALUES.clear(), {"now": 1.0}) == ["not measured in any clip"]


def test_picture_is_grey() -> None:
    assert Image.open(io.BytesIO(measure_png(VALUES, {"now": 1.0, "then": None}))).mode == "L"
