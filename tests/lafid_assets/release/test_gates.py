"""Each bound of the gate."""

import polars as pl
import pytest

from lafid_assets.release.gates import PASSED, ReleaseGate, judge

GOOD = {"flow_loss": 0.7, "first_frame_psnr_db": 35.0, "likeness": 0.1}


def _judge(
    measures: dict[str, float | None],
    *,
    before: float = 1.0,
    after: float = 0.5,
    split: str = "test",
    begins_with_picture: bool = True,
    **gate: float,
) -> str:
    evaluation = pl.DataFrame(
        [(split, name, value) for name, value in measures.items()],
        schema={"split": pl.String, "metric": pl.String, "value": pl.Float64},
        orient="row",
    )
    return judge(ReleaseGate(**gate), before, after, evaluation, begins_with_picture=begins_with_picture)


def test_good_checkpoint_passes() -> None:
    assert _judge(GOOD) == PASSED


def test_bounds_are_inclusive() -> None:
    assert (
        _judge(GOOD | {"flow_loss": 0.75, "first_frame_psnr_db": 30.0}, after=0.75, min_loss_fall=0.25, min_test_loss_fall=0.25)
        == PASSED
    )


@pytest.mark.parametrize(
    ("measures", "after", "sentence"),
    [
        (GOOD, 0.85, "the loss fell by 15%, not 20%"),
        (GOOD, 1.2, "the loss fell by -20%, not 20%"),
        (GOOD | {"flow_loss": 0.81}, 0.5, "flow loss on test identities is 0.81, not at most 0.8000"),
        (GOOD | {"flow_loss": None}, 0.5, "flow loss on test identities is None, not at most 0.8000"),
        (GOOD | {"first_frame_psnr_db": 29.9}, 0.5, "first frame PSNR is 29.9 dB, not at least 30.0"),
        ({"flow_loss": 0.7}, 0.5, "first frame PSNR is None dB, not at least 30.0"),
    ],
)
def test_each_bound_keeps_the_gate_shut(measures: dict[str, float | None], after: float, sentence: str) -> None:
    assert _judge(measures, after=after) == sentence


def test_a_base_without_a_first_frame_is_not_asked_for_its_fidelity() -> None:
    assert _judge({"flow_loss": 0.7, "first_frame_psnr_db": None}, begins_with_picture=False) == PASSED


def test_all_failures_are_named() -> None:
    assert len(_judge({}, after=0.9).split("; ")) == 3


def test_only_test_persons_count() -> None:
    assert _judge(GOOD, split="validation") != PASSED


@pytest.mark.parametrize(
    "wrong", [{"min_loss_fall": 1}, {"min_test_loss_fall": 1}, {"min_first_frame_psnr_db": -1}, {"other": 1}]
)
def test_bounds_have_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReleaseGate(**wrong)
