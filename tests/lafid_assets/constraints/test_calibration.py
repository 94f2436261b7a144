"""Labels and the threshold curve."""

from pathlib import Path

import polars as pl
import pytest

from lafid_assets.constraints.calibration import LabelsUnusable, calibrate, read_labels

MEASURED = pl.DataFrame({"clip_id": list("abcdef"), "x": [10.0, 20.0, 30.0, 40.0, 50.0, None]})


def _labels(**good: int) -> pl.DataFrame:
    return pl.DataFrame({"clip_id": list(good), "good": [bool(value) for value in good.values()]})


def test_threshold_that_parts_good_from_bad_is_found() -> None:
    result = calibrate(_labels(a=0, b=0, c=1, d=1, e=1, f=1, z=0), MEASURED, "x")
    assert result.best == {"threshold": 30.0, "kept": 3, "precision": 1.0, "recall": 1.0, "accuracy": 1.0, "f1": 1.0}
    assert result.most_agreed == result.best
    assert (result.unmeasured, result.unknown) == (1, ["z"])
    assert result.curve["threshold"].to_list() == [10, 20, 30, 40, 50]
    assert result.curve["recall"].to_list() == pytest.approx([1, 1, 1, 2 / 3, 1 / 3])
    assert result.curve["precision"].to_list() == pytest.approx([3 / 5, 3 / 4, 1, 1, 1])
    assert result.curve["accuracy"].to_list() == pytest.approx([3 / 5, 4 / 5, 1, 4 / 5, 3 / 5])


def test_maximum_is_turned_round() -> None:
    result = calibrate(_labels(a=1, b=1, c=0, d=0), MEASURED, "x", higher_is_better=False)
    assert (result.best["threshold"], result.best["kept"], result.best["f1"]) == (20.0, 2, 1.0)


def test_the_threshold_that_most_agree_with_may_be_another_than_that_of_the_best_f1() -> None:
    result = calibrate(_labels(a=0, b=0, c=1, d=0, e=1), MEASURED, "x")
    assert (result.best["threshold"], result.best["accuracy"]) == (30.0, 0.8)
    assert (result.most_agreed["threshold"], result.most_agreed["accuracy"]) == (50.0, 0.8), "of equal ones the strictest"


def test_of_equally_good_thresholds_the_strictest_is_named() -> None:
    assert calibrate(_labels(a=1, b=0, c=1, d=0), MEASURED, "x").best["threshold"] == 10.0
    assert calibrate(_labels(d=1, e=0, c=0), MEASURED, "x").best["threshold"] == 40.0


@pytest.mark.parametrize("good", [{"a": 1, "b": 1}, {"f": 1}, {"z": 1}])
def test_labels_that_cannot_part_anything_are_refused(good: dict[str, int]) -> None:
    with pytest.raises(LabelsUnusable, match="labelled clips"):
        calibrate(_labels(**good), MEASURED, "x")


def test_file_of_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("clip_id,label,who\na,1,me\nb, No ,me\nc,KEEP,me\n")
    assert read_labels(file).rows() == [("a", True), ("b", False), ("c", True)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clip,label\na,1\n", "no column clip_id"),
        ("clip_id,label\na,perhaps\n", "clip a is labelled 'perhaps'"),
        ("clip_id,label\na,\n", "clip a is labelled None"),
        ("clip_id,label\na,1\na,0\n", "labelled twice"),
        ("", "cannot be read"),
    ],
)
def test_faulty_file_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    with pytest.raises(LabelsUnusable, match=rf"labels\.csv.*{message}"):
        read_labels(file)
