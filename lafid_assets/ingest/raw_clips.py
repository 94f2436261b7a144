"""`raw_clips`: what the files of a shard hold. It writes `clips` and `clip_contents`; the view of its name shows all of them.

Belongs here: the asset, and which files are opened. Not here: which files there are (`registration`), headers (`media_probe`),
what makes a clip (`clip_binding`).
"""

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import dagster as dg
import polars as pl

from lafid_assets.ingest.clip_binding import NOT_READ, Before, Elsewhere, Place, Row, bind, contents_of, waits_to_be_read
from lafid_assets.ingest.clip_prefetch import map_footage, object_at
from lafid_assets.ingest.clip_probe import LIMITS, ProbedClip, ProbeTask, probe_clip, probed
from lafid_assets.ingest.tombstones import Tombstones, pseudonym
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import CLIP_CONTENTS, CLIP_FILES, CLIPS, RAW_CLIPS
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import COUNTS_ADD_UP, Finding, Frames, Work
from lafid_assets.workers.pool import Children
from model.wording import first_few
from resources.lake.duckdb_extensions import quoted
from resources.lake.frames import lent
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.lake.tables import PARTITIONS
from resources.lake.writer import Writer
from resources.store.s3_objects import is_address

LOGGER = logging.getLogger("lafid.ingest")
EVERY_FILE = dg.AssetCheckSpec(
    COUNTS_ADD_UP,
    asset=RAW_CLIPS.name,
    blocking=True,
    description="Every file and every row of a released table belongs to exactly one clip: none lost, none invented.",
)


class FolderAway(OSError):
    """A folder of clips is not there; the message names it and the remedy."""


class RawClipsConfig(dg.Config):
    """Nothing can be chosen here: the files are what they are."""


def _waiting(_: RawClipsConfig) -> str:
    """Shards with a file that was registered and could not be read as it is now: another try may read it."""
    reasons = ", ".join(map(quoted, sorted(NOT_READ)))
    unread = f"SELECT * FROM {CLIP_CONTENTS.name} WHERE content_sha256 IS NULL OR size_bytes IS NULL"  # few, found quickly
    return (
        f"SELECT DISTINCT f.shard FROM ({unread}) k JOIN {CLIP_FILES.name} f USING (shard, clip_root, path) "
        f"JOIN {CLIPS.name} c ON c.shard = k.clip_shard AND c.clip_id = k.clip_id "
        f"WHERE f.size_bytes IS NOT NULL AND (k.content_sha256 IS NOT NULL OR c.reason IN ({reasons}))"
    )


STEP = Step(
    name=RAW_CLIPS.name,
    writes=(CLIPS, CLIP_CONTENTS),
    reads=(CLIP_FILES.name,),
    group="ingest",
    code_version="5",
    unsettled=_waiting,
    later_checks={EVERY_FILE.name: EVERY_FILE},
    counts_clips=False,
    opens_videos=True,
)


@STEP.as_asset(deps=[])
def raw_clips(context: dg.AssetExecutionContext, config: RawClipsConfig, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """Every clip that came in, with what its file and its released row say: hashed, probed, and bound to a clip by its content.

    All later steps begin here; the data team looks here for a file that is missing, broken or a copy of another.
    """
    known: dict[str, ShardFiles] = {}

    def at(shard: str) -> ShardFiles:
        return known.get(shard) or known.setdefault(shard, ShardFiles(lake, shard))

    work = Work(
        lambda shard: at(shard).open_files().bound(lake),
        revise=lambda writer, frames: at(frames[CLIP_CONTENTS.name]["shard"][0]).claimed(writer),
        findings=lambda shard, frames: {EVERY_FILE.name: _without_clip(at(shard).files, frames)},
    )
    return STEP.materialize(context, config, lake, work)


class ShardFiles:
    """A shard's files, and what was found in those that had to be opened."""

    def __init__(self, lake: Lake, shard: str) -> None:
        self.shard = shard
        with lake.snapshot() as reader:
            self.files: Sequence[Row] = reader.read(CLIP_FILES.name, shard).to_dicts()
            clips, contents = (
                reader.sql(f"SELECT * FROM {table.name} WHERE shard = ?", [shard]) for table in (CLIPS, CLIP_CONTENTS)
            )
        self.before = Before.of(clips, contents)
        self.tombstones = Tombstones(lake.store)
        self.probed: Mapping[Place, ProbedClip] = {}

    def open_files(self) -> "ShardFiles":
        """Hash and probe what is not known, in child processes; a fault in one file is that file's alone.

        Raises:
            FolderAway: files that were never read lie in a folder that is not there.
        """
        self.probed = probe_files(self.files, self.before)
        places = [((file["clip_root"], file["path"]), file) for file in self.files if file["size_bytes"] is not None]
        unread = [
            f"{'/'.join(place)} ({self.probed[place].reason})"
            for place, file in places
            if waits_to_be_read(file, self.probed.get(place), self.before)
        ]
        if unread:
            LOGGER.warning(
                "%s: %d files were written anew and cannot be read, %s: what was measured of them before waits, and the next "
                "curation tries again",
                self.shard,
                len(unread),
                first_few(unread),
            )
        return self

    def bound(self, lake: Lake) -> Frames:
        """The shard's tables, as far as other shards are known now."""
        with lake.snapshot() as reader:
            return self._bound(reader)

    def claimed(self, writer: Writer) -> Frames:
        """The same in the transaction that writes them: two shards that find one content at once do not both have it."""
        writer.serialise()
        frames = self._bound(writer)
        held = _clips_of_others(self.shard, self.before.contents.values())
        _drop_unheld(writer, self.shard, held - _clips_of_others(self.shard, frames[CLIP_CONTENTS.name].iter_rows(named=True)))
        return frames

    def _bound(self, reader: Reader) -> Frames:
        asked = contents_of(self.files, self.probed, self.before)
        elsewhere = _elsewhere(reader, self.shard, asked)
        return bind(self.shard, self.files, self.probed, self.before, elsewhere, self.tombstones)


def probe_files(files: Sequence[Row], before: Before) -> dict[Place, ProbedClip]:
    """What is found in the files that have to be opened.

    Raises:
        FolderAway: files that were never read lie in a folder that is not there.
        BucketAway: a bucket cannot be read.
    """
    away = {root for root in {file["clip_root"] for file in files} if not is_address(root) and not os.path.isdir(root)}
    _require_there(files, before, away)
    found: dict[Place, ProbedClip] = {}
    tasks: dict[Place, ProbeTask] = {}
    for file in files:
        place = file["clip_root"], file["path"]
        if not before.must_be_opened(file):
            continue
        if file["fault"] is not None:
            found[place] = ProbedClip(Status.ERROR, Reason(file["fault"]), "its name is not UTF-8: rename the file")
        elif file["clip_root"] in away:
            found[place] = ProbedClip(Status.SKIPPED, Reason.FILE_MISSING, f"the folder {file['clip_root']} is not there")
        else:
            tasks[place] = _task(file)
    endings = map_footage(
        probe_clip,
        list(tasks.values()),
        lambda task: task.deadline_s,
        Children(limits=LIMITS),
        footage_of=lambda task: task.object,
        keep=True,
    )
    places = list(tasks)
    label = f"probing {files[0]['shard']}" if files else "probing"
    return found | {places[index]: probed(ending) for index, ending in track(endings, label, len(tasks))}


def _task(file: Row) -> ProbeTask:
    root, path, size_bytes = file["clip_root"], file["path"], file["size_bytes"]
    is_object = is_address(root) and size_bytes is not None
    found = object_at(f"{root}/{path}", size_bytes, file["etag"]) if is_object else None
    return ProbeTask(root, path, file["in_table"], size_bytes, found)


def _require_there(files: Sequence[Row], before: Before, away: set[str]) -> None:
    """A folder that is not there is no fact about its clips; those that are known wait, and those that lie elsewhere now, too."""
    there = [file for file in files if file["clip_root"] not in away]
    like = {(file["path"], file["size_bytes"]) for file in there} | {file["released_id"] for file in there if file["released_id"]}
    for file in files:
        is_known = before.content_of(file) or (file["path"], file["size_bytes"]) in like or file["released_id"] in like
        if file["clip_root"] in away and not is_known:
            raise FolderAway(
                f"the folder {file['clip_root']} is not there, and its clips have not been read yet: mount it, "
                "or run `lafid curate` on the folder where they are now"
            )


def _elsewhere(reader: Reader, shard: str, contents: Sequence[str]) -> Elsewhere:
    owners = reader.sql(
        f"SELECT content_sha256, clip_id, shard FROM {CLIPS.name} WHERE shard != ? AND ("
        "(list_contains(?, content_sha256) AND reason IS DISTINCT FROM ?) OR list_contains(?, clip_id))",
        [shard, contents, str(Reason.DUPLICATE), [pseudonym(content[:32]) for content in contents]],
    )
    bound = reader.sql(f"SELECT DISTINCT clip_id FROM {CLIP_CONTENTS.name} WHERE shard != ? AND clip_shard = ?", [shard, shard])
    return Elsewhere(
        {row["content_sha256"] or row["clip_id"]: (row["clip_id"], row["shard"]) for row in owners.iter_rows(named=True)},
        frozenset(bound["clip_id"]),
    )


def _clips_of_others(shard: str, contents: Iterable[Row]) -> set[tuple[str, str]]:
    """Shard and id of the clips of other shards that these files hold."""
    return {(row["clip_shard"], row["clip_id"]) for row in contents if row["clip_shard"] != shard}


def _drop_unheld(writer: Writer, shard: str, left: Collection[tuple[str, str]]) -> None:
    """Clips of other shards that files of this one held go, where no file holds them any more: these shards read no file that
    has changed, and would never know."""
    if not left:
        return
    held = f"SELECT clip_shard AS shard, clip_id FROM {CLIP_CONTENTS.name} WHERE shard <> {quoted(shard)}"
    with lent(writer.cursor, let_go=pl.DataFrame(sorted(left), schema=["shard", "clip_id"], orient="row")):
        unheld = f"SELECT shard, clip_id FROM let_go ANTI JOIN ({held}) USING (shard, clip_id)"
        shards = writer.sql(f"SELECT DISTINCT shard FROM ({unheld})")["shard"].to_list()
        writer.cursor.execute(f"DELETE FROM {CLIPS.name} WHERE (shard, clip_id) IN ({unheld})")
    if shards:
        writer.restamp((CLIPS.name, name) for name in shards)
        writer.cursor.execute(
            f"UPDATE {PARTITIONS} SET written_at = now() WHERE table_name = {quoted(CLIPS.name)} "
            f"AND partition IN ({', '.join(map(quoted, shards))})"
        )


def _without_clip(files: Sequence[Row], frames: Frames) -> Finding:
    contents, clips = frames[CLIP_CONTENTS.name], frames[CLIPS.name]
    own = contents.filter(pl.col("clip_shard") == pl.col("shard"))
    homeless = own.join(clips, on="clip_id", how="anti")["path"].to_list()
    lost = {file["path"] for file in files} - set(contents["path"])
    return Finding(len(homeless) + len(lost), ", ".join(sorted([*homeless, *lost])[:5]) or "none")
