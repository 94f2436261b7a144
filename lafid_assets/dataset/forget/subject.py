"""Who is to be forgotten, written down before anything is touched.

Belongs here: clip or person -> everything by which the clips can be recognised, and the intent file that lets a killed run be
finished. Not here: erasing (`erase`, `scrub`).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

from lafid_assets.identity.naming import NAME_CHARS, name_after
from lafid_assets.ingest.tombstones import Tombstones, pseudonym
from lafid_assets.schemas import TABLES
from model.files import whole_file
from model.release import MANIFEST_FILE
from model.strict import StrictModel
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.store.file_store import FileStore
from resources.trainer.job import RUNS_FOLDER

INTENT = "forget.json"
SHORTEST_NEEDLE = 16
"""Shorter texts occur by chance; they are taken out of tables, where they stand alone, and not searched for in other files."""


class NobodyToForget(LookupError):
    """No such clip or person; the message says what there is to do."""


class RawFile(StrictModel):
    """Where a clip's own file lies. It is the user's."""

    clip_root: str
    path: str
    named_by: str | None = Field(None, description="The released id under which a table names it")


class Subject(StrictModel):
    """The clips to forget and all by which they can be recognised; also the form of the intent file."""

    clip_ids: tuple[str, ...]
    contents: tuple[str, ...] = Field(description="Their content hashes")
    intervals: tuple[tuple[str, int, int], ...] = Field(
        (), description="Of shots whose recording stays: its content hash, first and last timestamp"
    )
    recordings: tuple[str, ...] = Field((), description="Files of these recordings, which hold others, too")
    captions: tuple[str, ...] = Field(description="Released and refined; those that another clip has, too, are left out")
    identities: tuple[str, ...] = Field((), description="Persons of whom no clip is left: their names begin like a clip's id")
    shared_names: tuple[str, ...] = Field((), description="Of these, the ones with which the name of somebody else begins")
    renamed: dict[str, str] = Field(
        default_factory=dict, description="Persons who are left and were named after one of the clips, to their new names"
    )
    raw_files: tuple[RawFile, ...]
    shards: tuple[str, ...] = Field((), description="Shards whose tables have rows of theirs")
    versions: tuple[str, ...] = Field(description="Dataset versions in which one of them came in")
    trained_versions: tuple[str, ...] = Field(description="Dataset versions in whose train split one of them is")
    checkpoints: tuple[str, ...] = Field(
        description="Checkpoints in the store that were trained on one of these versions: finished, averaged, kept on the way"
    )
    shown_in_demo: bool = Field(description="Whether the demo's picture and video begin with one of them")
    delete_files: bool = Field(description="Whether the raw files go, too")

    @property
    def needles(self) -> tuple[str, ...]:
        """What to search files for: too long to occur by chance. Of texts that hold another of them, that one is enough."""
        texts = (*self.clip_ids, *self.contents, *self.captions, *self.own_names, *self.persons_named_after)
        found: list[str] = []
        for text in sorted({text for text in texts if len(text) >= SHORTEST_NEEDLE}, key=lambda text: (len(text), text)):
            if not any(shorter in text for shorter in found):
                found.append(text)
        return tuple(found)

    @property
    def persons_named_after(self) -> dict[str, str]:
        """How names of persons begin that hold as much of a clip's id as a name takes, to what takes its place."""
        return {name_after(clip): _new_name(clip) for clip in self.clip_ids if len(clip) >= NAME_CHARS}

    @property
    def names(self) -> tuple[str, ...]:
        """Persons who go or are renamed."""
        return (*self.identities, *self.renamed)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Persons whose names can be searched for."""
        return tuple(name for name in self.identities if name not in self.shared_names)


_SAID = """
SELECT k.clip_id, r.caption FROM clip_contents k JOIN clip_rows r USING (shard, clip_root, path) WHERE {in_shards}
UNION ALL SELECT f.released_id, r.caption FROM clip_files f JOIN clip_rows r USING (shard, clip_root, path) WHERE {in_shards}
UNION ALL SELECT clip_id, refined_caption FROM speech_tagged_clips WHERE {in_shards}
UNION ALL SELECT clip_id, refined_caption FROM lafid_dataset
UNION ALL SELECT clip_id, refined_caption FROM dataset_version_rows
"""
_PERSONS = """
SELECT clip_id, identity_id FROM identity_clusters
UNION SELECT clip_id, identity_id FROM lafid_dataset
UNION SELECT clip_id, identity_id FROM dataset_version_rows
"""
_CONTENTS = """
SELECT clip_id, content_sha256 FROM clips
UNION SELECT released_id, NULL FROM clip_files WHERE released_id IS NOT NULL
UNION SELECT clip_id, content_sha256 FROM dataset_version_rows WHERE recording_id IS NULL
UNION SELECT clip_id, NULL FROM pieces
UNION SELECT clip_id, NULL FROM dataset_version_rows WHERE recording_id IS NOT NULL
"""
_SHOTS = """
SELECT clip_id, recording_id, content_sha256, first_pts, last_pts FROM pieces
UNION SELECT clip_id, recording_id, content_sha256, first_pts, last_pts FROM dataset_version_rows WHERE recording_id IS NOT NULL
"""
_RECORDINGS = """
SELECT DISTINCT clip_root || '/' || path AS file FROM clip_contents WHERE clip_id IN ({ids}) ORDER BY file
"""
_FILES = """
SELECT f.clip_root, f.path, f.released_id FROM clip_files f LEFT JOIN clip_contents k USING (shard, clip_root, path)
WHERE {in_shards} AND (k.clip_id IN ({ids}) OR f.released_id IN ({ids})) ORDER BY f.path, f.clip_root
"""
_CAME_IN = """
SELECT v.dataset_version FROM dataset_versions v JOIN dataset_outcomes o ON o.since <= v.number
WHERE o.clip_id IN ({ids})
GROUP BY v.dataset_version, v.number, o.clip_id HAVING arg_max({{'ended': o.status}}, o.since).ended IS NOT NULL ORDER BY v.number
"""


def identify(lake: Lake, clips: Sequence[str], identities: Sequence[str], *, delete_files: bool) -> Subject:
    """Find everything that the lake knows of these clips, of their copies under other ids, and of the persons' clips.

    Raises:
        NobodyToForget: a clip or person is unknown.
    """
    with lake.snapshot() as reader:
        return _identify(reader, lake.store, clips, identities, delete_files)


def _identify(reader: Reader, store: FileStore, clips: Sequence[str], identities: Sequence[str], delete_files: bool) -> Subject:
    wanted = set(clips) | _clips_of(reader, identities)
    known = reader.sql(f"SELECT * FROM ({_CONTENTS}) WHERE clip_id IN ({listed(wanted)})")
    _require_known(wanted, set(known["clip_id"]), Tombstones(store))
    contents = set(known["content_sha256"].drop_nulls())
    copies = reader.sql(f"SELECT clip_id FROM ({_CONTENTS}) WHERE content_sha256 IN ({listed(contents)})")
    ids = wanted | set(copies["clip_id"])
    ids |= set(reader.sql(f"SELECT clip_id FROM ({_SHOTS}) WHERE recording_id IN ({listed(ids)})")["clip_id"])
    own, shards = listed(ids), shards_of(reader, ids)
    in_shards = f"shard IN ({listed(shards)})"
    said = _SAID.format(in_shards=in_shards)
    captions = reader.sql(f"SELECT DISTINCT caption FROM ({said}) WHERE clip_id IN ({own}) AND caption IS NOT NULL")["caption"]
    others = f"({_SAID.format(in_shards=True)}) WHERE caption IN ({listed(captions)}) AND clip_id NOT IN ({own})"
    shared = reader.sql(f"SELECT DISTINCT caption FROM {others}")["caption"]
    shots = reader.sql(f"SELECT * FROM ({_SHOTS}) WHERE clip_id IN ({own}) AND recording_id NOT IN ({own})").drop_nulls()
    persons = reader.sql(_PERSONS)
    theirs = pl.col("clip_id").is_in(list(ids))
    others_names = set(persons.filter(~theirs)["identity_id"])
    gone = sorted(set(persons.filter(theirs)["identity_id"]) - others_names)
    trained = reader.sql(
        f"SELECT DISTINCT dataset_version FROM dataset_version_rows WHERE split = 'train' AND clip_id IN ({own}) ORDER BY 1"
    )["dataset_version"].to_list()
    shown = reader.sql("SELECT clip_id FROM lafid_dataset ORDER BY split, clip_id LIMIT 1")["clip_id"].to_list()
    return Subject(
        clip_ids=tuple(sorted(ids)),
        contents=tuple(sorted(contents)),
        intervals=tuple(sorted(set(shots.select("content_sha256", "first_pts", "last_pts").iter_rows()))),
        recordings=tuple(reader.sql(_RECORDINGS.format(ids=listed(set(shots["recording_id"]))))["file"]),
        captions=tuple(sorted(set(captions) - set(shared))),
        identities=tuple(gone),
        shared_names=tuple(name for name in gone if any(other.startswith(name) for other in others_names)),
        renamed={name: new for name in sorted(others_names) if (new := _renamed(name, ids)) is not None},
        raw_files=tuple(
            RawFile(clip_root=root, path=path, named_by=name)
            for root, path, name in reader.sql(_FILES.format(ids=own, in_shards=in_shards)).rows()
        ),
        shards=tuple(shards),
        versions=tuple(dict.fromkeys(reader.sql(_CAME_IN.format(ids=own))["dataset_version"])),
        trained_versions=tuple(trained),
        checkpoints=tuple(_checkpoints(reader, store, trained)),
        shown_in_demo=bool(set(shown) & ids),
        delete_files=delete_files,
    )


def shards_of(reader: Reader, clips: Iterable[str]) -> list[str]:
    """Shards in whose tables a row is about one of the clips."""
    owned = [table.name for table in TABLES if table.view is None and table.partitioned and "clip_id" in table.dtypes]
    named = [f"SELECT shard FROM {name} WHERE clip_id IN ({listed(clips)})" for name in owned]
    named.append(f"SELECT shard FROM clip_files WHERE released_id IN ({listed(clips)})")
    return reader.sql(f"{' UNION '.join(named)} ORDER BY shard")["shard"].to_list()


def _renamed(person: str, forgotten: Iterable[str]) -> str | None:
    """The new name of a person who was named after one of these clips; None of everybody else."""
    for clip in forgotten:
        if person == name_after(clip) or (len(clip) >= NAME_CHARS and person.startswith(name_after(clip))):
            return person.replace(name_after(clip), _new_name(clip))
    return None


def _new_name(clip_id: str) -> str:
    return name_after(hashlib.sha256(pseudonym(clip_id).encode()).hexdigest())


def write_intent(home: Path, subject: Subject) -> None:
    """Put down what is going to be done."""
    with whole_file(home / INTENT) as temporary:
        temporary.write_text(subject.model_dump_json())


def read_intent(home: Path) -> Subject | None:
    """What an earlier, interrupted run was about; None when there was none."""
    path = home / INTENT
    return Subject.model_validate_json(path.read_bytes()) if path.is_file() else None


def _clips_of(reader: Reader, identities: Sequence[str]) -> set[str]:
    if not identities:
        return set()
    rows = reader.sql(f"SELECT * FROM ({_PERSONS}) WHERE identity_id IN ({listed(identities)})")
    unknown = sorted(set(identities) - set(rows["identity_id"]))
    if unknown:
        raise NobodyToForget(f"there is no person {unknown[0]}: see identity_id in `lafid query 'FROM identity_clusters'`")
    return set(rows["clip_id"])


def _require_known(wanted: set[str], known: set[str], tombstones: Tombstones) -> None:
    unknown = sorted(clip for clip in wanted - known if not tombstones.know_clip(clip))
    if unknown:
        raise NobodyToForget(f"there is no clip {unknown[0]}: see clip_id in `lafid query 'FROM raw_clips'`")


def _checkpoints(reader: Reader, store: FileStore, versions: Sequence[str]) -> list[str]:
    """Folders in the store: published, finished, averaged and kept on the way."""
    published = reader.sql(f"SELECT checkpoint_path FROM fusion_dit WHERE dataset_version IN ({listed(versions)})")
    found = set(published["checkpoint_path"])
    for path in store.list_tree(RUNS_FOLDER) if versions else []:
        folder, _, name = path.rpartition("/")
        if name == MANIFEST_FILE and json.loads(store.read_bytes(path))["dataset_version"] in versions:
            found.add(folder)
    return sorted(found)


def listed(texts: Iterable[str]) -> str:
    """Texts as SQL lists them."""
    return ", ".join(map(quoted, sorted(texts))) or "NULL"
