"""An installation that knows five clips by heart: in tables, versions, pictures, latents, databases, logs and ledgers."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lafid_assets.dataset.cutting import folder_of
from lafid_assets.dataset.lafid_dataset import put_together
from lafid_assets.dataset.versions import keep_version
from lafid_assets.ingest.openhumanvid import MANIFEST
from lafid_assets.schemas import DATASET_VERSIONS, FUSION_DIT, LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.speech.answer_cache import Answer, AnswerCache
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.clips.latent_shards import ShardWriter
from model.presets import Bucket
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse


def _id(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()[:32]


def _caption(letter: str) -> str:
    return f"The video features person number {ord(letter)} who turns."


@dataclass(frozen=True)
class Installation:
    """A home with traces of the clips `a` to `e`; `a`, `b` and `f` show one person, `d` was rejected, `f` is a copy of `a`."""

    settings: Settings
    store: ShardStore
    footage: Path
    first_version: str
    second_version: str

    def clip(self, letter: str) -> str:
        return _id(letter)

    def content(self, letter: str) -> str:
        return hashlib.sha256((self.footage / _id(letter)).read_bytes()).hexdigest()

    def traces(self, letter: str, *, content: str | None = None) -> list[str]:
        """Files of the home that hold the clip's id, caption or content hash, or are named so; DuckDB and SQLite included."""
        needles = [text.encode() for text in (_id(letter), _caption(letter), content or "no content " * 3)]
        found = []
        for path in self.settings.home.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                if any(needle in data or needle.decode() in str(path) for needle in needles):
                    found.append(str(path.relative_to(self.settings.home)))
        return sorted(found)

    def rows_about(self, letter: str) -> list[str]:
        """Parquet files with a value that is or holds the clip's id or caption, compressed as they may be."""
        found = []
        for path in self.settings.home.rglob("*.parquet"):
            text = str(pl.read_parquet(path).to_dicts())
            if _id(letter) in text or _caption(letter) in text:
                found.append(path.name)
        return sorted(found)


@pytest.fixture
def installation(
    settings: Settings,
    store: ShardStore,
    warehouse: Warehouse,
    curated: Callable[..., dict[str, pl.DataFrame]],
    row_of: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> Installation:
    footage = tmp_path / "footage"
    footage.mkdir()
    persons = {_id("a"): _id("a"), _id("b"): _id("a"), _id("c"): _id("c"), _id("d"): None, _id("e"): _id("e")}
    letters = {_id(letter): letter for letter in "abcdef"}
    for clip, letter in letters.items():
        (footage / clip).write_bytes(b"bytes of clip " + (b"a" if letter == "f" else letter.encode()))

    def hashed(clip: str) -> str:
        return hashlib.sha256((footage / clip).read_bytes()).hexdigest()

    def tables_of(persons: dict[str, str | None]) -> dict[str, pl.DataFrame]:
        tables = curated(persons, str(footage))
        raw = [
            row | {"content_sha256": hashed(row["clip_id"]), "caption": _caption(letters[row["clip_id"]])}
            for row in tables["raw_clips"].to_dicts()
        ]
        tagged = [
            row | {"refined_caption": row["refined_caption"] and _caption(letters[row["clip_id"]])}
            for row in tables["speech_tagged_clips"].to_dicts()
        ]
        crops = [
            row | {"face_path": f"{folder_of(hashed(row['clip_id']))}/0-face.png"} for row in tables["reference_crops"].to_dicts()
        ]
        clusters = tables["identity_clusters"].with_columns(nearest_clip_id=pl.lit(_id("a")), nearest_similarity=0.5)
        return tables | {
            "raw_clips": pl.DataFrame(raw, schema=tables["raw_clips"].schema),
            "speech_tagged_clips": pl.DataFrame(tagged, schema=tables["speech_tagged_clips"].schema),
            "reference_crops": pl.DataFrame(crops, schema=tables["reference_crops"].schema),
            "identity_clusters": clusters,
        }

    versions = []
    for known in ({**persons, _id("e"): None}, persons | {_id("f"): _id("a")}):
        tables = tables_of(known)
        made = put_together(tables)
        dataset = LAFID_DATASET.frame(made.rows)
        listed = keep_version(store, dataset, made.version, made.outcomes, made.decided_by)
        store.write_group({LAFID_DATASET.name: dataset, DATASET_VERSIONS.name: listed}, "all", "f")
        versions.append(made.version)
        store.write_bytes(f"reports/{made.version}/report.html", f"<img> {_id('a')[:8]}".encode())
    for name, frame in tables.items():
        store.write_group({name: frame}, "all" if name == "identity_clusters" else "shard-00000", "f")
    manifest = tables["raw_clips"].with_columns(in_table=pl.lit(True)).select(*MANIFEST, "shard")
    store.write_group({"shard_manifest": manifest}, "shard-00000", "shard-00000")
    latents = []
    for clip in persons:
        store.write_bytes(f"{folder_of(hashed(clip))}/0-face.png", b"picture")
    places = _cache_latents(store, [letters[clip] for clip in persons])
    for clip in persons:
        parts = [{"part": part, "key": key, "shard": shard} for part, (key, shard) in places[letters[clip]].items()]
        latents.append(row_of(TRAINING_LATENTS, clip_id=clip, parts=parts, clip_list="latents/clips-0.parquet"))
    store.write_group({TRAINING_LATENTS.name: TRAINING_LATENTS.frame(latents)}, "all", "f")
    trained = row_of(FUSION_DIT, checkpoint_path="training_runs/tiny", dataset_version=versions[1])
    store.write_group({FUSION_DIT.name: FUSION_DIT.frame([trained])}, "all", "f")
    _leave_trainings(store, *versions)
    warehouse.rebuild()
    _leave_traces_in_the_home(settings.home, tables)
    return Installation(settings, store, footage, *versions)


def _leave_trainings(store: ShardStore, first_version: str, second_version: str) -> None:
    """What trainers leave: checkpoints, pictures and videos of held-out clips, jobs that name them."""
    trained = {"tiny/checkpoint": second_version, "tiny/checkpoint_ema": second_version, "older/checkpoint": first_version}
    for folder, version in trained.items() | {("tiny/checkpoints/step-0000002", second_version), ("other/checkpoint", "none")}:
        store.write_bytes(f"training_runs/{folder}/lafid.json", json.dumps({"dataset_version": version}).encode())
    held_out = []
    for letter in "ac":
        picture = f"training_runs/held_out/{_id(letter)}.png"
        store.write_bytes(picture, b"first frame")
        store.write_bytes(f"training_runs/tiny/validation/step-0000002/{_id(letter)}.mp4", b"video")
        held_out.append({"clip_id": _id(letter), "first_frame": store.full_path(picture), "caption": _caption(letter)})
    store.write_bytes("training_runs/launches/job/job.json", json.dumps({"held_out": held_out}).encode())
    log = "".join(f"no video of clip {clip['clip_id']}\n" for clip in held_out)
    store.write_bytes("training_runs/launches/job/trainer.log", log.encode())


def _cache_latents(store: ShardStore, letters: Sequence[str]) -> dict[str, dict[str, Place]]:
    """A part of each clip's own, one that all share, and one that no list names any more; listed as training reads them."""
    folder = store.local_path("latents")
    with ShardWriter(folder / SHARDS) as shards:
        for key in ("shared", "stale", *(f"video-of-{letter}" for letter in letters)):
            shards.add(key, {"mean": torch.ones(4)})
    keys = {letter: {"video": f"video-of-{letter}", "text_empty": "shared"} for letter in letters}
    places = {letter: {part: Place(key, shards.place(key)) for part, key in own.items()} for letter, own in keys.items()}
    known = {"bucket": Bucket(9, 16, 16), "fps": 8.0, "face_engine": "dlib", "face_engine_version": "1"}
    known |= {"base_sha256": "b", "encoders_fingerprint": "e"}
    metas = {letter: ClipMeta(clip_id=_id(letter), caption=_caption(letter), **known) for letter in letters}
    write_clip_list(folder / "clips-0.parquet", (ClipEntry(metas[letter], "train", places[letter]) for letter in letters))
    return places


def _leave_traces_in_the_home(home: Path, tables: dict[str, pl.DataFrame]) -> None:
    part = home / "ledger" / "face_info" / "shard-00000" / "fingerprint" / "0"
    part.mkdir(parents=True)
    tables["face_info"].write_parquet(part / "face_info.parquet")
    for name in ("dagster/history/runs/index.db", "mlflow/mlflow.db"):
        path = home / name
        path.parent.mkdir(parents=True)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA secure_delete = OFF")  # as many builds of SQLite have it
            connection.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT)")
            for letter in "abcde":
                event = f'{{"text": "no pictures of {_id(letter)}: {_caption(letter)}", "png": "data:image/png;base64,AAAA"}}'
                connection.execute("INSERT INTO event_logs (event) VALUES (?)", [event])
            connection.execute("INSERT INTO event_logs (event) VALUES (?)", [f"deleted {_id('a')}"])
            connection.execute("DELETE FROM event_logs WHERE event LIKE 'deleted%'")
        connection.close()
    log = home / "logs" / "last-error.log"
    log.parent.mkdir()
    log.write_text(f"trouble with {_id('a')}\ntrouble with {_id('c')}\n")
    strip = home / "explain" / f"{_id('a')}.png"
    strip.parent.mkdir()
    strip.write_bytes(b"strip")
    artifact = home / "mlflow" / "artifacts" / "run" / "shown.png"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(b"picture")
    cache = AnswerCache(home / "llm_answers")
    for letter in "ac":
        cache.put(_id(letter), "key", Answer(f"about {letter}", "stop", 1, 1))
