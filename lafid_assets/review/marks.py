"""Marks: what persons said of decisions, each bound to what was seen.

Belongs here: writing, taking back and reading marks, and whether the decision has changed since. Not here: what follows from them
(`labels`), the page.

All marks stay, so that two persons never undo each other and a changed mind can be followed; the latest of a clip and marker
counts. A mark is one small commit of its own: killed at any moment, all marks up to the last one are there.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import duckdb
import polars as pl

from lafid_assets.outcomes import REASONS, Status
from lafid_assets.review.clip_facts import ClipTables, Decision, decision_of
from lafid_assets.schemas import MARKS
from lafid_assets.schemas.review import DECIDED, RIGHT
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.lake.writer import Writer

Verdict = Literal["right", "wrong"]
MOST_NOTE_CHARS = 1000
STANDING = (
    f"(SELECT * FROM {MARKS.name} QUALIFY row_number() OVER "
    "(PARTITION BY clip_id, marker ORDER BY marked_at DESC, mark_id DESC) = 1)"
)
"""SQL: the marks that count."""


class MarkRefused(ValueError):
    """A mark cannot be taken; the message says why and what to do."""


class DecidedAnew(MarkRefused):
    """The clip was decided anew since it was shown: what the marker saw does not stand any more."""


@dataclass(frozen=True)
class Mark:
    """One mark that counts.

    Attributes:
        outdated: why it is about another decision than the one that stands; None where it is about that one.
    """

    mark_id: str
    clip_id: str
    verdict: str
    fault: str | None
    note: str | None
    marker: str
    marked_at: str
    status: str
    reason: str | None
    outdated: str | None

    @property
    def in_words(self) -> str:
        """The mark in one line."""
        decided = f"{self.status} ({self.reason})" if self.reason else self.status
        parts = [f"marked {self.verdict} as {decided} by {self.marker}, {self.marked_at[:19]}"]
        parts += [f"should be {self.fault}"] if self.fault and self.fault != self.reason else []
        parts += [self.note] if self.note else []
        parts += [self.outdated] if self.outdated else []
        return "; ".join(parts)


def put_mark(
    lake: Lake,
    shard: str,
    clip_id: str,
    seen: Decision,
    verdict: Verdict,
    marker: str,
    *,
    fault: str | None = None,
    note: str | None = None,
) -> str:
    """Write a mark down; its id.

    Args:
        seen: the decision that the marker was shown.
        fault: why the clip should not be kept, as the marker sees it; for such verdicts alone.

    Raises:
        DecidedAnew: the clip is decided otherwise now.
        MarkRefused: the mark says what it cannot say.
    """
    keeps = says_keep(seen.status, verdict)
    if keeps and fault is not None:
        raise MarkRefused(f"{verdict} says that the clip should be kept: name no fault")
    if fault is not None and fault not in REASONS[Status.REJECTED]:
        raise MarkRefused(f"there is no fault {fault!r}: choose one of {', '.join(sorted(REASONS[Status.REJECTED]))}")
    if note is not None and len(note) > MOST_NOTE_CHARS:
        raise MarkRefused(f"the note has {len(note)} characters: {MOST_NOTE_CHARS} are the most")
    row = {
        "mark_id": uuid.uuid4().hex,
        "clip_id": clip_id,
        "step": seen.step,
        "status": seen.status,
        "reason": seen.reason,
        "policy_sha256": seen.policy_sha256,
        "content_sha256": seen.content_sha256,
        "verdict": verdict,
        "fault": None if keeps else fault or seen.reason,
        "note": (note or "").strip() or None,
        "marker": marker,
        "marked_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    mark = MARKS.frame([row])
    if wrong := MARKS.violations(mark):
        raise MarkRefused(wrong[0])

    def write(writer: Writer) -> None:
        if decision_of(ClipTables(writer, clip_id, shard).outcomes()) != seen:
            raise DecidedAnew("the clip was decided anew meanwhile, or is gone: look at it again")
        writer.add(MARKS.name, mark)

    lake.commit(write)
    return str(row["mark_id"])


def take_back(lake: Lake, mark_id: str, marker: str) -> bool:
    """Remove one's own mark, as if it had never been made, so that the one before counts again; whether it was there."""

    def remove(writer: Writer) -> bool:
        own = ("mark_id = ? AND marker = ?", [mark_id, marker])
        if writer.read(MARKS.name, columns=["mark_id"], where=own[0], parameters=own[1]).is_empty():
            return False
        writer.serialise()
        writer.sql(f"DELETE FROM {MARKS.name} WHERE {own[0]}", own[1])
        return True

    return lake.commit(remove)


def marks_of(reader: Reader, clip_id: str, decision: Decision | None) -> list[Mark]:
    """The marks of a clip that count, the newest first. `decision`: the one that stands."""
    rows = _standing(reader, f"clip_id = {quoted(clip_id)}").sort("marked_at", "mark_id", descending=True)
    shown = ("mark_id", "clip_id", "verdict", "fault", "note", "marker", "marked_at", "status", "reason")
    return [
        Mark(**{name: row[name] for name in shown}, outdated=why_outdated(row, decision)) for row in rows.iter_rows(named=True)
    ]


def all_marks(reader: Reader) -> pl.DataFrame:
    """Rows of `marks` that count; none in a lake of a time before there were marks."""
    return _standing(reader, "true").sort("clip_id", "marker")


def why_outdated(row: dict[str, Any], decision: Decision | None) -> str | None:
    """What has changed since a mark was made, in words; None when nothing that the marker judged has.

    Another policy that decides the same leaves the mark as it is.

    Args:
        row: of `marks`.
        decision: the one that stands; None where there is none.
    """
    if decision is None:
        return "outdated: the clip has no decision now"
    if row["content_sha256"] != decision.content_sha256:
        return "outdated: the file has changed since"
    if (row["status"], row["step"], row["reason"]) != (decision.status, decision.step, decision.reason):
        return f"outdated: now {decision.status}" + (f" ({decision.reason})" if decision.reason else "")
    return None


def says_keep(status: str, verdict: str) -> bool:
    """Whether a mark says that the clip should be kept. `status`: what had been decided, one of `DECIDED`."""
    return (status == DECIDED[0]) == (verdict == RIGHT)


def _standing(reader: Reader, where: str) -> pl.DataFrame:
    try:
        return reader.sql(f"SELECT * FROM {STANDING} WHERE {where}").select(*MARKS.dtypes)
    except duckdb.CatalogException:  # the lake was made before there was this table, and nobody has written since
        return pl.DataFrame(schema=MARKS.dtypes)
