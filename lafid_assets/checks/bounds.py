"""`[checks]` of `lafid.toml`: from where on a figure of the dataset is worth a person's look.

Belongs here: the bounds, with the reason of each default. Not here: the figures, and how they are judged (beside this module).
"""

from typing import Annotated

from pydantic import Field

from model.strict import StrictModel

Hours = Annotated[float, Field(ge=0.1)]


class CheckBounds(StrictModel):
    """When a check warns. No bound ever stops a run or changes a table."""

    keep_rate_drift: float = Field(
        0.2,
        ge=0,
        description="Share of the last versions' keep rate by which it may differ; chance, three standard errors, is allowed "
        "beside it. A moved threshold or a broken engine changes it by more than a fifth",
    )
    versions_compared: int = Field(
        5, ge=1, description="Versions whose median keep rate counts: one odd version among them does not move it"
    )
    least_pose_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the kept clips that must show a face in each bin of yaw. Below one in fifty, most batches of 32 "
        "hold no clip with that pose",
    )
    least_expression_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the kept clips whose expression must change. Below one in ten, references differ in pose alone",
    )
    most_error_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the clips that may end as error or timeout, in all and in each step. Less than half of the error "
        "budget that fails a shard, so that it warns before",
    )
    longest_wait_hours: Hours = Field(
        36.0, description="Hours that new content may wait for a table. One nightly refresh may fail before it warns"
    )
    longest_wait_hours_of: dict[str, Hours] = Field(
        default_factory=dict, description="The same of single assets, such as { lafid_dataset = 12.0 }"
    )
    overdue_hours: dict[str, Hours] = Field(
        default_factory=dict,
        description="Asset to the hours after which Dagster calls it overdue, whether anything new has come or not. For what is "
        "made by the clock, such as { fusion_dit = 200.0 }; a table at rest is not old, and none is named here by default",
    )
