"""Marks as labels of one measure."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.calibration import LabelsUnusable
from lafid_assets.review.labels import MarkedClips, labels_of_marks
from lafid_assets.schemas import MARKS

POSE = ["pose_variation_low"]


@pytest.fixture
def marks(row_of: Callable[..., dict[str, Any]]) -> Callable[..., pl.DataFrame]:
    """Marks of one person on clips whose content is their id: `clip=(status, verdict, fault)`."""

    def made(marker: str = "ada", **said: tuple[str, str, str | None]) -> pl.DataFrame:
        return MARKS.frame(
            row_of(
                MARKS,
                **{"mark_id": f"{marker} {clip}", "clip_id": clip, "content_sha256": clip, "marker": marker, "status": status},
                **{"reason": None if status == "kept" else "pose_variation_low", "verdict": verdict, "fault": fault},
            )
            for clip, (status, verdict, fault) in said.items()
        )

    return made


def _enough(marks: Any, **more: tuple[str, str, str | None]) -> pl.DataFrame:
    """Ten clips: six good, four bad for their poses; and more."""
    good = {f"g{n}": ("kept", "right", None) for n in range(6)}
    bad = {f"b{n}": ("rejected", "right", "pose_variation_low") for n in range(4)}
    return marks(**good, **bad, **more)


def _labels(marks: pl.DataFrame, now: dict[str, str] | None = None, faults: list[str] = POSE) -> MarkedClips:
    ids = marks["clip_id"].unique().to_list()
    now = {clip: "kept" for clip in ids} if now is None else now
    decided = [(clip, status, None if status == "kept" else "pose_variation_low") for clip, status in now.items()]
    schema = {"clip_id": pl.String, "status": pl.String, "reason": pl.String}
    contents = pl.DataFrame({"clip_id": ids, "content_sha256": ids})
    return labels_of_marks(marks, contents, pl.DataFrame(decided, schema=schema, orient="row"), faults)


def test_what_should_be_kept_is_good_and_what_has_the_fault_is_bad(marks: Any) -> None:
    more = {"w": ("rejected", "wrong", None), "x": ("kept", "wrong", "pose_variation_low"), "y": ("kept", "wrong", None)}
    found = _labels(_enough(marks, **more, z=("rejected", "right", "several_faces")))
    good = dict(found.labels.iter_rows())
    assert {clip for clip, is_good in good.items() if is_good} == {"w", *(f"g{n}" for n in range(6))}
    assert {clip for clip, is_good in good.items() if not is_good} == {"x", *(f"b{n}" for n in range(4))}
    assert (found.no_fault, found.other_fault, found.contested, found.other_content, found.markers) == (1, 1, 0, 0, 1)


def test_agreement_with_what_is_decided_today(marks: Any) -> None:
    now = {f"g{n}": "kept" for n in range(6)} | {"b0": "rejected", "b1": "rejected", "b2": "kept"}
    found = _labels(_enough(marks), now)
    assert (found.decided, found.agreeing, found.changed) == (9, 8, 1), "b2 was rejected when it was marked; b3 is not decided"


def test_clips_on_which_persons_disagree_tell_nothing(marks: Any) -> None:
    bob = marks("bob", g0=("kept", "wrong", "pose_variation_low"), g1=("kept", "right", None))
    found = _labels(pl.concat([_enough(marks, more=("kept", "right", None)), bob]))
    assert (found.contested, found.markers, "g0" in found.labels["clip_id"], "g1" in found.labels["clip_id"]) == (
        1,
        2,
        False,
        True,
    )


def test_marks_on_another_file_are_left_out(marks: Any) -> None:
    changed = _enough(marks, c=("kept", "right", None)).with_columns(
        content_sha256=pl.when(pl.col("clip_id") == "c").then(pl.lit("before")).otherwise("content_sha256")
    )
    found = _labels(changed)
    assert (found.other_content, "c" in found.labels["clip_id"]) == (1, False)


@pytest.mark.parametrize("kept", [5, 12])
def test_too_few_or_one_sided_marks_are_refused(marks: Any, kept: int) -> None:
    one_sided = marks(**{f"g{n}": ("kept", "right", None) for n in range(kept)}, x=("kept", "wrong", None))
    message = f"too few marks: {kept} clips should be kept and 0 should not for pose_variation_low .1 more .*10 are needed"
    with pytest.raises(LabelsUnusable, match=message):
        _labels(one_sided)
