"""What the analysis of a shard may cost: children, deadlines, memory, and how many clips may fail.

Belongs here: the typed settings, none of which changes what is measured. Not here: what is measured (`settings`).
"""

from pydantic import Field

from lafid_assets.workers.pool import ChildLimits
from model.strict import StrictModel

MIB = 1 << 20
UNKNOWN_LENGTH_S = 30.0
"""What a clip whose header names no length is taken for: several times the mean of OpenHumanVid."""
RECYCLED_AT_SHARE_OF_LIMIT = 0.5


class ShardLimits(StrictModel):
    """How much time and memory clips get. Changing these measures nothing again, but tries failed clips again."""

    workers: int | None = Field(
        None, ge=1, description="Children at a time; when not given one a usable core, or one a GPU where the engine runs on GPUs"
    )
    least_deadline_s: float = Field(
        60.0, ge=30, description="Seconds of CPU time that every clip gets, the start of a child included"
    )
    deadline_s_per_s: float = Field(20.0, gt=0, description="Further seconds for each second of the clip")
    most_deadline_s: float = Field(
        1800.0, ge=30, description="Seconds of CPU time after which any clip is given up, however long it is"
    )
    search_s_per_s: float = Field(
        5.0,
        gt=0,
        description="Further seconds for each second of a file that is only decoded: to find its cuts, or on the way to a piece",
    )
    memory_limit_mib: int = Field(4096, ge=64, description="Resident memory at which a child is killed")
    clips_per_child: int = Field(200, ge=1, description="Clips after which a child is replaced")
    error_budget: float = Field(
        0.05, ge=0, le=1, description="Share of the clips tried in a shard that may end as error or timeout, or be quarantined"
    )
    errors_always_allowed: int = Field(3, ge=0, description="So many failed clips never fail a shard, however small it is")

    def deadline_s(self, duration_s: float | None) -> float:
        """Seconds for a clip of that length, without what is only decoded."""
        length_s = UNKNOWN_LENGTH_S if duration_s is None else duration_s
        return min(self.most_deadline_s, self.least_deadline_s + self.deadline_s_per_s * length_s)

    @property
    def of_child(self) -> ChildLimits:
        """The same as the workers want it."""
        memory_bytes = self.memory_limit_mib * MIB
        return ChildLimits(memory_bytes, int(memory_bytes * RECYCLED_AT_SHARE_OF_LIMIT), self.clips_per_child)

    @property
    def what_a_clip_gets(self) -> dict[str, float]:
        """The limits at which a clip fails."""
        deadlines = {"least_deadline_s", "deadline_s_per_s", "most_deadline_s", "search_s_per_s"}
        return self.model_dump(include=deadlines | {"memory_limit_mib"})
