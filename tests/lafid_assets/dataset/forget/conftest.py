"""An installation that knows five clips by heart: in tables, versions, pictures, latents, databases, logs and ledgers."""

import hashlib
import io
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lafid_assets.captions.answer_cache import Answer, AnswerCache
from lafid_assets.dataset.crops import folder_of
from lafid_assets.dataset.forget.erase import Erased, Eraser
from lafid_assets.dataset.forget.subject import Subject, identify
from lafid_assets.dataset.published import publish
from lafid_assets.lake import open_lake
from lafid_assets.release.bench_folder import is_whole, put_bench
from lafid_assets.schemas import BY_NAME, FACE_EMBEDDINGS, FUSION_DIT, LAFID_BENCH, TRAINING_LATENTS
from model.clip_size import Bucket
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.evaluation.bench import seal_bench
from resources.lake import catalog_copy
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import Tracking
from tests.model.cached_clips import write_shard
from tests.model.evaluation.benches import small_facts
from tests.once import built_once

SHARD = "shard-00000"
LETTERS = "abcdef"
UNFINISHED = "benches/0123456789abcdef/first_frames/000.png"


def _id(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()[:32]


def _caption(letter: str) -> str:
    return f"The video features person number {ord(letter)} who turns."


def _bytes(letter: str) -> bytes:
    return b"bytes of clip " + (b"a" if letter == "f" else letter.encode())


def _embedding(letter: str) -> list[float]:
    """Of no other clip; those of `a` are the greatest, those of `d` the least."""
    scale = {"a": 7.0, "d": -7.0}.get(letter, 1.0)
    return [float(value) for value in scale * np.random.default_rng(ord(letter)).uniform(0.5, 0.9, 8).astype(np.float32)]


@dataclass(frozen=True)
class Installation:
    """A home with traces of the clips `a` to `e`; `a`, `b` and `f` show one person, `d` was rejected, `f` is a copy of `a`."""

    settings: Settings
    lake: Lake
    footage: Path
    first_version: str
    second_version: str

    @property
    def store(self) -> FileStore:
        return self.lake.store

    def clip(self, letter: str) -> str:
        return _id(letter)

    def content(self, letter: str) -> str:
        return hashlib.sha256(_bytes(letter)).hexdigest()

    def needles(self, letter: str) -> list[bytes]:
        """The clip's id, caption and embedding, as text and as it lies in memory."""
        values = np.array(_embedding(letter), np.float32)
        return [*(text.encode() for text in (_id(letter), _caption(letter), *map(str, values))), values.tobytes()]

    def traces(self, letter: str, *, content: str | None = None) -> list[str]:
        """Files of the home that hold the clip's id, caption, embedding or content hash, or are named so; databases included."""
        self.lake.close()  # else reading the catalog's file undoes DuckDB's locks on it
        needles = [*self.needles(letter), *([content.encode()] if content else [])]
        names = [text for text in (_id(letter), content) if text]
        found = []
        for path in self.settings.home.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                if any(needle in data for needle in needles) or any(name in str(path) for name in names):
                    found.append(str(path.relative_to(self.settings.home)))
        return sorted(found)

    def rows_about(self, letter: str) -> list[str]:
        """Parquet files with a value that is or holds the clip's id, caption or embedding, compressed as they may be."""
        found = []
        for path in self.settings.home.rglob("*.parquet"):
            text = str(pl.read_parquet(path).to_dicts())
            if any(held in text for held in (_id(letter), _caption(letter), *map(str, _embedding(letter)))):
                found.append(str(path.relative_to(self.settings.home)))
        return sorted(found)

    def statistics(self) -> list[tuple[str | None, str | None]]:
        """Least and greatest values that the catalog knows of columns and files."""
        with self.lake.snapshot() as reader:
            tables = [f"__ducklake_metadata_{reader.name}.ducklake_{of}_column_stats" for of in ("table", "file")]
            found = " UNION ".join(f"SELECT min_value, max_value FROM {table}" for table in tables)
            return reader.cursor.execute(found).fetchall()

    def unknown_files(self) -> list[str]:
        """Files below the store's tables that the catalog does not count as live."""
        catalog = "SELECT path FROM __ducklake_metadata_{0}.ducklake_{1} WHERE end_snapshot IS NULL"
        with self.lake.snapshot() as reader:
            rows = [
                reader.cursor.execute(catalog.format(reader.name, table)).fetchall() for table in ("data_file", "delete_file")
            ]
        known = {path.rsplit("/", 1)[-1] for part in rows for (path,) in part}
        return [path for path in self.store.list_tree("tables") if path.rsplit("/", 1)[-1] not in known]


Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="session")
def tables_of(curated: Callable[..., Tables], row_of: Callable[..., dict[str, Any]]) -> Callable[..., Tables]:
    """The tables of these clips, {id: person}, with contents, captions and embeddings of their own."""

    def make(persons: dict[str, str | None], footage: Path) -> Tables:
        letters = {_id(letter): letter for letter in LETTERS}
        tables = curated(persons, str(footage))

        def change(table: str, revise: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
            rows = [row | revise(letters[row.get("clip_id") or row["path"]], row) for row in tables[table].to_dicts()]
            tables[table] = BY_NAME[table].frame(rows)

        def hashed(letter: str) -> str:
            return hashlib.sha256(_bytes(letter)).hexdigest()

        change("clips", lambda letter, _: {"content_sha256": hashed(letter)})
        change("clip_contents", lambda letter, _: {"content_sha256": hashed(letter)})
        change("clip_rows", lambda letter, _: {"caption": _caption(letter)})
        change("clip_files", lambda letter, _: {"released_id": None if letter == "d" else _id(letter)})
        change("face_clips", lambda letter, _: {"content_sha256": hashed(letter)})
        change("speech_tagged_clips", lambda letter, row: {"refined_caption": row["refined_caption"] and _caption(letter)})
        change("id_consistent_clips", lambda letter, _: {"centroid": _embedding(letter)})
        change("reference_crops", lambda letter, _: {"face_path": f"{folder_of(hashed(letter))}/0-face.png"})
        change("identity_clusters", lambda letter, _: {"nearest_clip_id": _id("a"), "nearest_similarity": 0.5})
        tables[FACE_EMBEDDINGS.name] = FACE_EMBEDDINGS.frame(
            row_of(FACE_EMBEDDINGS, embedding=_embedding(letters[row["clip_id"]]), **row)
            for row in tables["face_info"].select("clip_id", "shard", "frame_index", "face_index").to_dicts()
        )
        return tables

    return make


@pytest.fixture(scope="session")
def _built(
    tmp_path_factory: pytest.TempPathFactory,
    lay_everything: Callable[[Lake, Path], list[str]],
    row_of: Callable[..., dict[str, Any]],
) -> Installation:
    """Built once for all test processes, copied for every test; its lake is closed."""

    def build(folder: Path) -> None:
        lake = open_lake(_settings(folder / "home"))
        footage = folder / "footage"
        footage.mkdir(parents=True)
        for letter in LETTERS:
            (footage / _id(letter)).write_bytes(_bytes(letter))
        versions = lay_everything(lake, footage)
        _cache_latents(lake, row_of)
        _leave_trainings(lake.store, *versions)
        publish(lake, _settings(folder / "home").published_path)
        catalog_copy.copy(lake)
        lake.close()
        _leave_traces_in_the_home(folder / "home")
        (folder / "versions.json").write_text(json.dumps(versions))

    folder = built_once(tmp_path_factory, "installation", build)
    versions = json.loads((folder / "versions.json").read_text())
    settings = _settings(folder / "home")
    return Installation(settings, open_lake(settings), folder / "footage", *versions)


def _settings(home: Path) -> Settings:
    return Settings(home=home, store_uri=str(home / "store"))


@pytest.fixture(scope="session")
def copy_of() -> Callable[[Installation, Path], Installation]:
    """A copy of an installation in another home, whose lake somebody must close; all of them share the clips' own files."""

    def copied(installation: Installation, home: Path) -> Installation:
        installation.lake.close()
        shutil.copytree(installation.settings.home, home)
        settings = _settings(home)
        return replace(installation, settings=settings, lake=open_lake(settings))

    return copied


@pytest.fixture
def installation(_built: Installation, copy_of: Callable[..., Installation], tmp_path: Path) -> Iterator[Installation]:
    made = copy_of(_built, tmp_path / "home")
    yield made
    made.lake.close()


@pytest.fixture
def benches(installation: Installation, row_of: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Letter to the version of a bench that draws that clip, `c+a` to one of `c` whose gallery has a picture of `a`, `unnamed` to
    one that knows nobody of the installation; and half a bench. The table names the one of `a`."""
    made = {name: _put_bench(installation, *name.split("+")) for name in ("a", "c", "c+a", "unnamed")}
    installation.store.write_bytes(UNFINISHED, b"picture")
    rows = [row_of(LAFID_BENCH, clip_id=installation.clip(letter), bench_version=made["a"]) for letter in "ac"]
    installation.lake.put({LAFID_BENCH.name: LAFID_BENCH.frame(rows)})
    return made


def _put_bench(installation: Installation, drawn: str, beside: str | None = None) -> str:
    facts, pictures = small_facts(persons=1)
    person, case = facts.persons[0], facts.cases[0]
    if drawn != "unnamed":
        clip = installation.clip(drawn)
        case = case.model_copy(update={"case_id": clip, "clip_id": clip})
        person = person.model_copy(update={"clips": (person.clips[0].model_copy(update={"clip_id": clip}),)})
    if beside is not None:
        other = person.clips[0].model_copy(update={"clip_id": installation.clip(beside)})
        person = person.model_copy(update={"clips": (*person.clips, other)})
    bench = seal_bench(facts.model_copy(update={"persons": (person,), "cases": (case,)}), pictures)
    put_bench(installation.store, bench, pictures)
    return bench.version


@pytest.fixture
def benches_left(benches: dict[str, str]) -> Callable[[Installation], set[str]]:
    """Which of them are there."""
    return lambda installation: {name for name, version in benches.items() if is_whole(installation.store, version)}


@pytest.fixture(scope="session")
def without_a(
    _built: Installation,
    copy_of: Callable[..., Installation],
    erase: Callable[..., Erased],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """The installation after `a` was forgotten; only to be looked at."""

    def build(folder: Path) -> None:
        made = copy_of(_built, folder / "home")
        erase(made, identify(made.lake, [made.clip("a")], [], delete_files=False))
        made.lake.close()

    settings = _settings(built_once(tmp_path_factory, "without_a", build) / "home")
    made = copy_of(replace(_built, settings=settings), tmp_path_factory.mktemp("without_a") / "home")
    yield made
    made.lake.close()


@pytest.fixture(scope="session")
def erase() -> Callable[..., Erased]:
    """Runs a request on an installation, as `lafid forget` does."""

    def run(installation: Installation, subject: Subject, *, dry_run: bool = False) -> Erased:
        tracking = Tracking("sqlite:////no/such/mlflow.db", installation.settings.mlflow_artifacts)
        return Eraser(installation.settings, installation.lake, subject, tracking, dry_run).run()

    return run


@pytest.fixture(scope="session")
def lay_everything(
    tables_of: Callable[..., Tables], keep_in: Callable[..., Any], row_of: Callable[..., dict[str, Any]]
) -> Callable[[Lake, Path], list[str]]:
    """Two versions of a dataset, their reports and crops, and a part of a ledger, in any lake and store; gives the versions."""

    def lay(lake: Lake, footage: Path) -> list[str]:
        persons = {_id("a"): _id("a"), _id("b"): _id("a"), _id("c"): _id("c"), _id("d"): None, _id("e"): _id("e")}
        versions = []
        for known in ({**persons, _id("e"): None}, persons | {_id("f"): _id("a")}):
            tables = tables_of(known, footage)
            made = keep_in(lake, tables, footage)
            versions.append(made.version.name)
            lake.store.write_bytes(f"reports/{made.version.name}/report.html", f"<img> {_id('a')[:8]}".encode())
        for letter in LETTERS[:-1]:
            content = hashlib.sha256(_bytes(letter)).hexdigest()
            lake.store.write_bytes(f"{folder_of(content)}/0-face.png", b"picture")
        for table in ("face_info", "face_embeddings"):
            part = io.BytesIO()
            tables[table].write_parquet(part)
            lake.store.write_bytes(f"ledger/face_info/{SHARD}/fingerprint/1-0/{table}.parquet", part.getvalue())
        trained = row_of(FUSION_DIT, checkpoint_path="training_runs/tiny", dataset_version=versions[1])
        lake.put({FUSION_DIT.name: FUSION_DIT.frame([trained])}, "all", "f")
        return versions

    return lay


def _leave_trainings(store: FileStore, first_version: str, second_version: str) -> None:
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


def _cache_latents(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    """A part of each clip's own, one that all share, and one that no list names any more; listed as training reads them."""
    letters, folder = LETTERS[:-1], lake.store.local_path("latents")
    parts = ("shared", "stale", *(f"video-of-{letter}" for letter in letters))
    file = write_shard(folder / SHARDS, SHARD, {key: {"mean": torch.ones(4)} for key in parts})
    keys = {letter: {"video": f"video-of-{letter}", "text_empty": "shared"} for letter in letters}
    places = {letter: {part: Place(key, file) for part, key in own.items()} for letter, own in keys.items()}
    known = {"bucket": Bucket(9, 16, 16), "fps": 8.0, "face_engine": "dlib", "face_engine_version": "1"}
    known |= {"base_sha256": "b", "encoders_fingerprint": "e"}
    metas = {letter: ClipMeta(clip_id=_id(letter), caption=_caption(letter), **known) for letter in letters}
    frontal = ((0.0, 0.0, 0.0),)
    write_clip_list(
        folder / "clips-0.parquet", (ClipEntry(metas[letter], "train", places[letter], frontal) for letter in letters)
    )
    rows = []
    for letter in letters:
        parts = [{"part": part, "key": key, "shard": shard} for part, (key, shard) in places[letter].items()]
        rows.append(row_of(TRAINING_LATENTS, clip_id=_id(letter), shard=SHARD, parts=parts))
    lake.put({TRAINING_LATENTS.name: TRAINING_LATENTS.frame(rows)}, SHARD, "f")


def _leave_traces_in_the_home(home: Path) -> None:
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
