"""One clip's file, found, hashed and probed in a child process: what it is, or why it is none.

Belongs here: the child's side of `raw_clips`, and what an ending of the child means. Not here: the header itself (`media_probe`),
the table (`raw_clips`). Dagster is not imported: every child would wait for it.
"""

from dataclasses import dataclass
from pathlib import Path

from lafid_assets.ingest.media_probe import MediaFacts, content_sha256, probe, resolve
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.workers.exit_reasons import fault_of
from lafid_assets.workers.pool import ChildLimits, Done, Ending, Failed, NotFetched
from model.encoding.footage import RemoteFile, file_of

LIMITS = ChildLimits(memory_bytes=1 << 30, recycle_bytes=1 << 29, recycle_tasks=1000)
LEAST_DEADLINE_S = 60.0
SLOWEST_DISK_BYTES_PER_S = 5e6


@dataclass(frozen=True)
class ProbeTask:
    """One file to probe. Plain values: it crosses a process border.

    Attributes:
        size_bytes: as it was registered; None where there was no file.
        object: of a file that lies on S3.
    """

    clip_root: str
    path: str
    in_table: bool
    size_bytes: int | None
    object: RemoteFile | None = None

    @property
    def deadline_s(self) -> float:
        """Long enough to read the whole file from a slow disk."""
        return LEAST_DEADLINE_S + (self.size_bytes or 0) / SLOWEST_DISK_BYTES_PER_S


@dataclass(frozen=True)
class ProbedClip:
    """How the file ended, and what is known of it; None where it could not be read."""

    status: Status
    reason: Reason | None
    detail: str | None
    file_size_bytes: int | None = None
    content_sha256: str | None = None
    facts: MediaFacts | None = None


def probe_clip(task: ProbeTask) -> ProbedClip:
    """Runs in a child. Faults of the file come back as its status."""
    size_bytes, digest = None, None
    try:
        path = resolve(Path(task.clip_root), task.path) if task.object is None else file_of(task.object)
        if path is None or task.size_bytes is None:  # one that came since then is taken in as it is at the next look
            return ProbedClip(Status.SKIPPED, Reason.FILE_MISSING, "the table names a file that is not on disk")
        size_bytes, digest = path.stat().st_size, content_sha256(path)
        if not task.in_table:
            return ProbedClip(Status.SKIPPED, Reason.NO_ROW, "the file is in no table", size_bytes, digest)
        return ProbedClip(Status.OK, None, None, size_bytes, digest, probe(path))
    except ClipError as error:
        return ProbedClip(Status.ERROR, error.reason, error.detail, size_bytes, digest)
    except OSError as error:
        return ProbedClip(Status.ERROR, Reason.UNREADABLE, f"the file cannot be read: {error.strerror}", size_bytes, digest)


def probed(ending: Ending[ProbedClip]) -> ProbedClip:
    """What the ending of the child says of the file."""
    if isinstance(ending, Done):
        return ending.value
    if isinstance(ending, Failed):
        return ProbedClip(Status.ERROR, Reason.UNREADABLE, f"its header cannot be read: {ending.message}")
    if isinstance(ending, NotFetched):
        status, reason = (Status.SKIPPED, Reason.FILE_MISSING) if ending.is_missing else (Status.ERROR, Reason.NOT_FETCHED)
        return ProbedClip(status, reason, ending.message)
    fault = fault_of(ending)
    return ProbedClip(fault.status, fault.reason, f"while its header was read: {fault.detail}")
