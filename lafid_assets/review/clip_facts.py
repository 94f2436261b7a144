"""What the tables say of one clip: its rows, every rule that was applied to it, and how it ended.

Belongs here: what `lafid explain` and the review page read alike. Not here: showing it, which rule applies (each chapter's
`explanation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets import schemas
from lafid_assets.constraints.explanation import RuleLine, explain_rules
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.identity.consistency import explain_identity
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.outcomes import KEPT, Reason, Status
from lafid_assets.speech.clip_window import measures_between
from lafid_assets.speech.explanation import explain_speech
from lafid_assets.speech.tagging import read_settings
from resources.lake.lake import UNPARTITIONED
from resources.lake.reader import Reader

Row = dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """Where the clip's way ended: the step that did not pass it on, or `kept` at the last one that there is."""

    status: str
    step: str
    row: Row


@dataclass(frozen=True)
class Decision:
    """What a mark is about.

    Attributes:
        step, status, reason: as in `marks`.
        policy_sha256: the policy that decided; of a kept clip that of the face constraints.
        content_sha256: of the clip's file.
    """

    step: str
    status: str
    reason: str | None
    policy_sha256: str | None
    content_sha256: str | None


class ClipTables:
    """What the tables hold of one clip. Its shard comes first: a table's files of other shards are not opened."""

    def __init__(self, reader: Reader, clip_id: str, shard: str) -> None:
        self._reader, self._clip_id, self._shard = reader, clip_id, shard
        self.written = {table for table, _ in reader.stamps(partitions=[shard, UNPARTITIONED])}

    def rows(self, table: str) -> pl.DataFrame:
        """None where the table does not know the clip's shard yet."""
        return self.rows_of(table, "clip_id")

    def rows_of(self, table: str, column: str) -> pl.DataFrame:
        """The rows in which the clip stands in a column that may be another than the key."""
        contract = self._reader.tables[table]
        if contract.view is None and table not in self.written:
            return pl.DataFrame(schema=contract.dtypes)
        shard, columns = "shard = ? AND " if contract.partitioned else "", ", ".join(f'"{name}"' for name in contract.dtypes)
        # Not by `Reader.read`, which would ask once more what has been written: that is half the cost of one clip.
        query = f"SELECT {columns} FROM {table} WHERE {shard}{column} = ? ORDER BY {', '.join(contract.key)}"
        return self._reader.sql(query, [*([self._shard] if contract.partitioned else []), self._clip_id])

    def row(self, table: str) -> Row:
        """The clip's only row; empty where there is none."""
        rows = self.rows(table)
        return rows.row(0, named=True) if rows.height else {}

    def outcomes(self) -> dict[str, Row]:
        """Step to the clip's row in its outcome table, of the steps that have seen the shard; empty where it has none."""
        return {step: self.row(step) for step, table in schemas.OUTCOME_TABLES.items() if table in self.written}


def ending_of(rows: Mapping[str, Row]) -> Ending:
    """How the clip ended. `rows`: as `ClipTables.outcomes` gives them."""
    step, row = next(iter(rows.items()))
    for step, row in rows.items():
        if not row or row["status"] != Status.OK:
            return Ending(row.get("status", Status.SKIPPED), step, row or {"reason": Reason.NOT_PROCESSED})
    return Ending(KEPT, step, row)


def decision_of(rows: Mapping[str, Row]) -> Decision | None:
    """What can be marked; None of a clip that no rule has decided: it failed, waits, or has not come to the last step yet.

    Args:
        rows: as `ClipTables.outcomes` gives them.
    """
    ending = ending_of(rows)
    came_through = ending.status == KEPT and list(rows) == list(schemas.OUTCOME_TABLES)
    if not came_through and ending.status != Status.REJECTED:
        return None
    judged = rows[schemas.POSE_FILTERED_CLIPS.name] if came_through else ending.row
    policy = judged.get("policy_sha256") or judged.get("scan_margins_sha256")
    return Decision(ending.step, ending.status, ending.row.get("reason"), policy, rows[schemas.RAW_CLIPS.name]["content_sha256"])


def rules_of(rows: Mapping[str, Row], pictures: Row, said_by: Mapping[str, str]) -> dict[str, list[RuleLine]]:
    """Step to its rules as they were applied to the clip.

    Args:
        rows: as `ClipTables.outcomes` gives them.
        pictures: the clip's row of `picture_measures`.
        said_by: as `policy_settings.all_settings` gives it.
    """
    rules: dict[str, list[RuleLine]] = {}
    decided = rows.get(schemas.POSE_FILTERED_CLIPS.name) or {}
    if decided and decided["reasons"] is not None:
        policy = FacePolicy.model_validate_json(said_by[decided["policy_sha256"]])
        rules[schemas.POSE_FILTERED_CLIPS.name] = explain_rules(pictures | decided, decided["reasons"], policy)
    identity = rows.get(schemas.ID_CONSISTENT_CLIPS.name) or {}
    if identity:
        one_person = ConsistencyPolicy.model_validate_json(said_by[identity["policy_sha256"]])
        rules[schemas.ID_CONSISTENT_CLIPS.name] = explain_identity(identity, rows[schemas.FACE_CLIPS.name]["engine"], one_person)
    tagged = rows.get(schemas.SPEECH_TAGGED_CLIPS.name) or {}
    if tagged and tagged["status"] == Status.OK:
        heard = measures_between(rows[schemas.SPEECH_INFO.name], *(decided.get(name) for name in WINDOW_COLUMNS))
        rules[schemas.SPEECH_TAGGED_CLIPS.name] = explain_speech(heard, read_settings(said_by[tagged["policy_sha256"]]))
    return rules
