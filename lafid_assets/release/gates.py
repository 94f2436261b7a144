"""What a checkpoint must reach before an alias points to it. The figures are ours.

Belongs here: measures -> passed, or what failed. Not here: measuring (`evaluation`).
"""

import polars as pl
from pydantic import BaseModel, ConfigDict, Field


class ReleaseGate(BaseModel):
    """Bounds on measures; a measure that is missing fails its bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_loss_fall: float = Field(0.2, ge=0, lt=1, description="Share by which training lowered the loss on its fixed triples")
    min_test_loss_fall: float = Field(
        0.2, lt=1, description="Share by which the flow loss on test identities lies below the loss before training"
    )
    min_first_frame_psnr_db: float = Field(30.0, ge=0, description="Fidelity of the first generated frame to the given image")


PASSED = "passed"


def judge(
    gate: ReleaseGate, loss_before: float, loss_after: float, evaluation: pl.DataFrame, *, begins_with_picture: bool
) -> str:
    """`passed`, or a sentence that names every bound which was not met.

    Args:
        evaluation: rows of `model_evaluation`.
        begins_with_picture: whether the base can be given a first frame; without, its fidelity is not asked for.
    """
    test = dict(evaluation.filter(pl.col("split") == "test").select("metric", "value").iter_rows())
    fall = 1 - loss_after / loss_before
    flow_loss, psnr = test.get("flow_loss"), test.get("first_frame_psnr_db")
    failed = []
    if fall < gate.min_loss_fall:
        failed.append(f"the loss fell by {fall:.0%}, not {gate.min_loss_fall:.0%}")
    highest = (1 - gate.min_test_loss_fall) * loss_before
    if flow_loss is None or flow_loss > highest:
        failed.append(f"flow loss on test identities is {flow_loss}, not at most {highest:.4f}")
    if begins_with_picture and (psnr is None or psnr < gate.min_first_frame_psnr_db):
        failed.append(f"first frame PSNR is {psnr} dB, not at least {gate.min_first_frame_psnr_db}")
    return "; ".join(failed) or PASSED
