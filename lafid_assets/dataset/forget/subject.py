"""Who is to be forgotten, written down before anything is touched.

Belongs here: clip or person -> everything by which the clips can be recognised, and the intent file that lets a killed run be
finished. Not here: erasing (`erase`, `scrub`).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.dataset.versions import OUTCOMES, ROWS, is_kept, known_versions, version_path
from lafid_assets.identity.naming import NAME_CHARS, name_after
from lafid_assets.ingest.shards import MANIFEST_TABLE
from lafid_assets.ingest.tombstones import Tombstones, pseudonym
from lafid_assets.schemas import FUSION_DIT, IDENTITY_CLUSTERS, LAFID_DATASET, RAW_CLIPS, SPEECH_TAGGED_CLIPS
from model.files import whole_file
from resources.shard_store import ShardStore
from resources.trainer.job import RUNS_FOLDER

INTENT = "forget.json"
SHORTEST_NEEDLE = 16
"""Shorter texts occur by chance; they are taken out of tables, where they stand alone, and not searched for in other files."""


class NobodyToForget(LookupError):
    """No such clip or person; the message says what there is to do."""


class RawFile(BaseModel):
    """Where a clip's own file lies. It is the user's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_root: str
    path: str


class Subject(BaseModel):
    """The clips to forget and all by which they can be recognised; also the form of the intent file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_ids: tuple[str, ...]
    contents: tuple[str, ...] = Field(description="Their content hashes")
    captions: tuple[str, ...] = Field(description="Released and refined; those that another clip has, too, are left out")
    identities: tuple[str, ...] = Field((), description="Persons of whom no clip is left: their names begin like a clip's id")
    shared_names: tuple[str, ...] = Field((), description="Of these, the ones with which the name of somebody else begins")
    renamed: dict[str, str] = Field(
        default_factory=dict, description="Persons who are left and were named after one of the clips, to their new names"
    )
    raw_files: tuple[RawFile, ...]
    versions: tuple[str, ...] = Field(description="Dataset versions in which one of them came in")
    trained_versions: tuple[str, ...] = Field(description="Dataset versions in whose train split one of them is")
    checkpoints: tuple[str, ...] = Field(
        description="Checkpoints in the store that were trained on one of these versions: finished, averaged, kept on the way"
    )
    shown_in_demo: bool = Field(description="Whether the demo's picture and video begin with one of them")
    delete_files: bool = Field(description="Whether the raw files go, too")

    @property
    def needles(self) -> tuple[str, ...]:
        """What to search files for: long enough not to occur by chance."""
        texts = (*self.clip_ids, *self.contents, *self.captions, *self.own_names, *self.persons_named_after)
        return tuple(text for text in texts if len(text) >= SHORTEST_NEEDLE)

    @property
    def persons_named_after(self) -> dict[str, str]:
        """How names of persons begin that hold as much of a clip's id as a name takes, to what takes its place."""
        return {name_after(clip): _new_name(clip) for clip in self.clip_ids if len(clip) >= NAME_CHARS}

    @property
    def own_names(self) -> tuple[str, ...]:
        """Persons whose names can be searched for."""
        return tuple(name for name in self.identities if name not in self.shared_names)


def identify(store: ShardStore, clips: Sequence[str], identities: Sequence[str], *, delete_files: bool) -> Subject:
    """Find everything that the store knows of these clips, of their copies under other ids, and of the persons' clips.

    Raises:
        NobodyToForget: a clip or person is unknown.
    """
    manifest = _all(store, MANIFEST_TABLE, ["clip_id", "caption", "path", "clip_root"])
    raw = _all(store, RAW_CLIPS.name, ["clip_id", "content_sha256", "caption", "path", "clip_root"])
    versions = dict(_version_rows(store))
    wanted = set(clips) | _clips_of(store, versions.values(), identities)
    hashed = pl.concat([table.select("clip_id", "content_sha256") for table in (raw, *versions.values())]).unique()
    _require_known(wanted, set(manifest["clip_id"]) | set(hashed["clip_id"]), Tombstones(store))
    contents = set(hashed.filter(pl.col("clip_id").is_in(list(wanted)))["content_sha256"].drop_nulls())
    ids = wanted | set(hashed.filter(pl.col("content_sha256").is_in(list(contents)))["clip_id"])
    theirs = pl.col("clip_id").is_in(list(ids))
    tagged = _all(store, SPEECH_TAGGED_CLIPS.name, ["clip_id", "refined_caption"]).rename({"refined_caption": "caption"})
    kept = [rows.select("clip_id", caption="refined_caption") for rows in versions.values()]
    captions = pl.concat([table.select("clip_id", "caption") for table in (manifest, raw, tagged, *kept)]).drop_nulls()
    others = set(captions.filter(~theirs)["caption"])
    trained = [name for name, rows in versions.items() if not rows.filter(theirs & (pl.col("split") == "train")).is_empty()]
    dataset = _all(store, LAFID_DATASET.name, ["clip_id", "split"]).sort("split", "clip_id")
    persons = _persons(store, versions.values())
    others_names = set(persons.filter(~theirs)["identity_id"])
    gone = sorted(set(persons.filter(theirs)["identity_id"]) - others_names)
    return Subject(
        clip_ids=tuple(sorted(ids)),
        contents=tuple(sorted(contents)),
        captions=tuple(sorted(set(captions.filter(theirs)["caption"]) - others)),
        identities=tuple(gone),
        shared_names=tuple(name for name in gone if any(other.startswith(name) for other in others_names)),
        renamed={name: new for name in sorted(others_names) if (new := _renamed(name, ids)) is not None},
        raw_files=tuple(
            RawFile(clip_root=root, path=path)
            for root, path in manifest.filter(theirs).select("clip_root", "path").unique().sort("path").rows()
        ),
        versions=tuple(name for name in versions if not _outcomes(store, name).filter(theirs).is_empty()),
        trained_versions=tuple(trained),
        checkpoints=tuple(_checkpoints(store, trained)),
        shown_in_demo=dataset["clip_id"].head(1).is_in(list(ids)).any(),
        delete_files=delete_files,
    )


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


def _clips_of(store: ShardStore, versions: Iterable[pl.DataFrame], identities: Sequence[str]) -> set[str]:
    rows = _persons(store, versions)
    unknown = sorted(set(identities) - set(rows["identity_id"]))
    if unknown:
        raise NobodyToForget(f"there is no person {unknown[0]}: see identity_id in `lafid query 'FROM identity_clusters'`")
    return set(rows.filter(pl.col("identity_id").is_in(list(identities)))["clip_id"])


def _persons(store: ShardStore, versions: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """`clip_id` and `identity_id` from wherever a clip has a person, now or in a kept version."""
    named = [_all(store, table.name, ["clip_id", "identity_id"]) for table in (IDENTITY_CLUSTERS, LAFID_DATASET)]
    return pl.concat([*named, *(version.select("clip_id", "identity_id") for version in versions)]).drop_nulls()


def _require_known(wanted: set[str], known: set[str], tombstones: Tombstones) -> None:
    unknown = sorted(clip for clip in wanted - known if not tombstones.know_clip(clip))
    if unknown:
        raise NobodyToForget(f"there is no clip {unknown[0]}: see clip_id in `lafid query 'FROM raw_clips'`")


def _checkpoints(store: ShardStore, versions: Sequence[str]) -> list[str]:
    """Folders in the store: published, finished, averaged and kept on the way."""
    from model.release.checkpoint import MANIFEST_FILE

    published = _all(store, FUSION_DIT.name, ["checkpoint_path", "dataset_version"])
    found = set(published.filter(pl.col("dataset_version").is_in(list(versions)))["checkpoint_path"])
    for path in store.list_tree(RUNS_FOLDER) if versions else []:
        folder, _, name = path.rpartition("/")
        if name == MANIFEST_FILE and json.loads(store.read_bytes(path))["dataset_version"] in versions:
            found.add(folder)
    return sorted(found)


def _version_rows(store: ShardStore) -> Iterator[tuple[str, pl.DataFrame]]:
    for version in known_versions(store)["dataset_version"]:
        if is_kept(store, version):
            yield version, _frame(store, version_path(version, ROWS))


def _outcomes(store: ShardStore, version: str) -> pl.DataFrame:
    return _frame(store, version_path(version, OUTCOMES))


def _frame(store: ShardStore, path: str) -> pl.DataFrame:
    return pl.read_parquet(store.read_bytes(path))


def _all(store: ShardStore, table: str, columns: list[str]) -> pl.DataFrame:
    if not store.partitions(table):
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return store.read_all(table, columns)
