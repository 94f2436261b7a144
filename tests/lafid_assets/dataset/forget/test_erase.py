"""After `lafid forget` nothing is left of the clip, whenever it was killed, and the others are as they were."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pytest
import torch

from lafid_assets.contract import comments
from lafid_assets.dataset.forget import erase as module
from lafid_assets.dataset.forget.erase import Eraser, ForgetIncomplete
from lafid_assets.dataset.forget.subject import Subject, identify
from lafid_assets.dataset.versions import read_version
from lafid_assets.identity.naming import name_after
from lafid_assets.ingest.openhumanvid import MANIFEST, list_clips
from lafid_assets.ingest.raw_clips import probe_clips
from lafid_assets.ingest.shards import register_clips
from lafid_assets.ingest.tombstones import Tombstones, pseudonym
from lafid_assets.schemas import BY_NAME, TABLES
from lafid_assets.speech.answer_cache import AnswerCache
from model.clips.clip_set import ClipSet
from model.clips.latent_shards import read_index
from resources.shard_store import ShardStore
from resources.tracking import Tracking
from resources.warehouse import Warehouse


@pytest.fixture
def forget(installation: Any) -> Callable[..., Any]:
    def run(letter: str, *, dry_run: bool = False, delete_files: bool = False) -> Any:
        subject = identify(installation.store, [installation.clip(letter)], [], delete_files=delete_files)
        return _eraser(installation, subject, dry_run=dry_run).run()

    return run


def _eraser(installation: Any, subject: Subject, *, dry_run: bool = False) -> Eraser:
    warehouse = Warehouse(installation.settings.warehouse_path, installation.store, comments(TABLES))
    tracking = Tracking("sqlite:////no/such/mlflow.db", installation.settings.mlflow_artifacts)
    return Eraser(installation.settings, installation.store, warehouse, subject, tracking, dry_run)


def test_no_byte_is_left(installation: Any, forget: Callable[..., Any]) -> None:
    content = installation.content("a")
    before = installation.traces("a", content=content)
    databases = {"lafid.duckdb", "lafid.work.duckdb"}
    assert {path.split("/")[0] for path in before} == databases | {"dagster", "mlflow", "logs", "explain", "ledger", "store"}
    assert installation.rows_about("a")
    forget("a")
    assert installation.traces("a", content=content) == []
    assert installation.rows_about("a") == []
    with duckdb.connect(str(installation.settings.warehouse_path), read_only=True) as connection:
        faces = connection.execute("SELECT count(*) FROM face_info WHERE clip_id = ?", [installation.clip("a")])
        assert faces.fetchone() == (0,)
        ended = connection.execute("SELECT reason FROM raw_clips WHERE clip_id = ?", [pseudonym(installation.clip("a"))])
        assert ended.fetchall() == [("forgotten",)]


def test_copies_under_another_id_go_too(installation: Any, forget: Callable[..., Any]) -> None:
    forget("a")
    assert installation.traces("f") == []
    assert installation.rows_about("f") == []


def test_the_others_stay(installation: Any, forget: Callable[..., Any]) -> None:
    counted = {name: installation.store.read_all(name).height for name in ("face_info", "raw_clips", "training_latents")}
    forget("a")
    store = installation.store
    for table in ("raw_clips", "face_info", "lafid_dataset", "identity_clusters", "training_latents", "dataset_versions"):
        frame = store.read_all(table)
        assert BY_NAME[table].violations(frame) == {"schema": [], "unique_key": [], "values": []}
    assert store.read_all("raw_clips").height == counted["raw_clips"], "forgotten clips are still counted"
    assert store.read_all("face_info").height == counted["face_info"] - 6
    assert store.read_all("training_latents").height == counted["training_latents"] - 1
    rows = store.read_table("lafid_dataset")
    assert set(rows["clip_id"]) == {installation.clip(letter) for letter in "bce"}
    other = rows.row(by_predicate=pl.col("clip_id") == installation.clip("b"), named=True)
    assert other["identity_id"] == pseudonym(installation.clip("a")), "the person bore the clip's name"
    assert other["cross_references"] == []
    clusters = store.read_table("identity_clusters")
    assert clusters["nearest_clip_id"].null_count() == clusters.height
    assert installation.traces("c")
    assert installation.rows_about("c")
    assert store.list_tree(f"crops/{installation.content('c')[:2]}")
    assert not store.list_tree(f"crops/{installation.content('a')[:2]}/{installation.content('a')}")
    answers = AnswerCache(installation.settings.home / "llm_answers")
    assert answers.get(installation.clip("a"), "key") is None
    assert answers.get(installation.clip("c"), "key") is not None
    log = (installation.settings.home / "logs" / "last-error.log").read_text()
    assert installation.clip("c") in log
    assert pseudonym(installation.clip("a")) in log


def test_what_trainers_left_of_a_held_out_clip_goes(installation: Any, forget: Callable[..., Any]) -> None:
    forget("a")
    store, c = installation.store, installation.clip("c")
    left = store.list_tree("training_runs")
    assert [path for path in left if path.endswith((".png", ".mp4"))] == [
        f"training_runs/held_out/{c}.png",
        f"training_runs/tiny/validation/step-0000002/{c}.mp4",
    ]
    forgotten, other = json.loads(store.read_bytes("training_runs/launches/job/job.json"))["held_out"]
    assert (forgotten["clip_id"], forgotten["caption"]) == (pseudonym(installation.clip("a")), "[forgotten]")
    assert (other["clip_id"], other["caption"]) == (c, "The video features person number 99 who turns.")
    assert installation.clip("a").encode() not in store.read_bytes("training_runs/launches/job/trainer.log")


def test_pictures_of_a_clip_with_a_short_id_go(installation: Any) -> None:
    """Only where they are named after clips; elsewhere so short a name is somebody's own."""
    subject = identify(installation.store, [installation.clip("a")], [], delete_files=False)
    home, runs = installation.settings.home, installation.store.local_path("training_runs")
    theirs = [home / "explain" / "anna.png", runs / "held_out" / "anna.png", runs / "tiny" / "validation" / "anna.mp4"]
    others = [home / "explain" / "annabel.png", home / "drop" / "anna.mp4", runs / "anna" / "annas.png"]
    for path in theirs + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    _eraser(installation, subject.model_copy(update={"clip_ids": (*subject.clip_ids, "anna")})).run()
    assert [path.exists() for path in theirs + others] == [False] * 3 + [True] * 3


def _cached_parts(installation: Any) -> set[str]:
    return set(read_index(installation.store.local_path("latents/shards")).places)


def test_what_was_encoded_of_the_clip_goes_and_what_others_need_stays(installation: Any, forget: Callable[..., Any]) -> None:
    everybody = {"shared", *(f"video-of-{letter}" for letter in "abcde")}
    assert _cached_parts(installation) == everybody | {"stale"}
    done = forget("a", dry_run=True)
    assert _cached_parts(installation) == everybody | {"stale"}
    (shard,) = installation.store.list_files("latents/shards")
    assert f"latents/shards/{shard}" in done.rewritten
    forget("a")
    # Whose a part was that no list names any more, nobody knows.
    assert _cached_parts(installation) == everybody - {"video-of-a"}
    left = ClipSet(installation.store.local_path("latents/clips-0.parquet"))
    assert set(left.clip_ids) == {installation.clip(letter) for letter in "bcde"}
    assert torch.equal(left._read(left.entry(0), "video", "mean"), torch.ones(4))


def test_partitions_keep_saying_what_they_were_made_of(installation: Any, forget: Callable[..., Any]) -> None:
    before = installation.store.stamp("face_info", "shard-00000")
    forget("a")
    after = installation.store.stamp("face_info", "shard-00000")
    assert (after.fingerprint, after.group) == (before.fingerprint, before.group)
    assert after.digest != before.digest, "what reads it is not current any more"


def test_versions_keep_their_ids_and_say_how_many_were_erased(installation: Any, forget: Callable[..., Any]) -> None:
    forget("a")
    first, second = (read_version(installation.store, v) for v in (installation.first_version, installation.second_version))
    assert (first.facts["clips"], first.facts["erased_clips"], first.rows.height) == (3, 1, 2)
    assert (second.facts["clips"], second.facts["erased_clips"], second.rows.height) == (5, 2, 3)
    assert not installation.store.list_tree("reports"), "pages and contact sheets of versions in which it came in"
    forget("b")
    assert read_version(installation.store, installation.second_version).facts["erased_clips"] == 3
    with duckdb.connect(str(installation.settings.warehouse_path), read_only=True) as connection:
        assert connection.execute("SELECT sum(erased_clips)::INT FROM dataset_versions").fetchone() == (5,)


def test_whole_person_goes(installation: Any) -> None:
    subject = identify(installation.store, [], [installation.clip("a")], delete_files=False)
    assert set(subject.clip_ids) == {installation.clip(letter) for letter in "abf"}
    _eraser(installation, subject).run()
    for letter in "abf":
        assert installation.traces(letter) == []
    assert set(installation.store.read_table("lafid_dataset")["identity_id"]) == {installation.clip("c"), installation.clip("e")}


def test_whoever_stays_under_a_forgotten_clips_name_is_renamed(installation: Any, forget: Callable[..., Any]) -> None:
    """In tables and kept versions alike; the split stays with the person."""
    a, store = installation.clip("a"), installation.store
    named = pl.col("identity_id", "split_key").replace(a, name_after(a))
    paths = [f"tables/{table}/all.parquet" for table in ("identity_clusters", "lafid_dataset")]
    paths += [f"versions/{v}/lafid_dataset.parquet" for v in (installation.first_version, installation.second_version)]
    for path in paths:
        store.rewrite(path, lambda rows: rows.with_columns(named))
    before = store.read_table("lafid_dataset").filter(pl.col("clip_id") == installation.clip("b"))
    forget("a")
    after = store.read_table("lafid_dataset").filter(pl.col("clip_id") == installation.clip("b"))
    assert after["split"].to_list() == before["split"].to_list()
    assert after["identity_id"].to_list() == after["split_key"].to_list() != before["identity_id"].to_list()
    kept = read_version(store, installation.second_version).rows
    clusters = store.read_table("identity_clusters")
    for rows in (kept, clusters):
        assert rows.filter(pl.col("clip_id") == installation.clip("b"))["identity_id"].to_list() == after["identity_id"].to_list()
    for path in installation.settings.home.rglob("*"):
        held = str(pl.read_parquet(path).to_dicts()) if path.suffix == ".parquet" else ""
        assert a[:12] not in held
        assert not path.is_file() or a[:12].encode() not in path.read_bytes(), path


def test_dry_run_lists_and_touches_nothing(installation: Any, forget: Callable[..., Any]) -> None:
    def snapshot() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in installation.settings.home.rglob("*") if path.is_file()}

    before = snapshot()
    done = forget("a", dry_run=True)
    assert snapshot() == before
    assert any("face_info" in path for path in done.rewritten)
    assert any(path.endswith("index.db") for path in done.rewritten)
    assert any(path.endswith(f"{installation.clip('a')}.png") for path in done.removed)
    assert done.pictures_to_check == [str(installation.settings.home / "mlflow" / "artifacts" / "run" / "shown.png")]


@pytest.mark.parametrize(
    "step", ["write_tombstones", "scrub_frame", "scrub_sqlite", "scrub_text", "drop_unnamed", "count_erased"]
)
def test_killed_anywhere_and_run_again_it_is_complete(installation: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The intent, written before, holds all that a second run needs, although the tables know the clip no more."""
    subject = identify(installation.store, [installation.clip("a")], [], delete_files=False)
    content = installation.content("a")
    calls = []
    real = getattr(module, step)

    def killed(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > (4 if step == "scrub_frame" else 0):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, step, killed)
    with pytest.raises(KeyboardInterrupt):
        _eraser(installation, subject).run()
    monkeypatch.setattr(module, step, real)
    _eraser(installation, Subject.model_validate_json(subject.model_dump_json())).run()
    assert installation.traces("a", content=content) == []
    assert installation.rows_about("a") == []
    assert read_version(installation.store, installation.first_version).facts["erased_clips"] == 1


def test_pictures_in_dagsters_history_go_and_mlflows_stay_text(installation: Any, forget: Callable[..., Any]) -> None:
    forget("a")

    def pictures(name: str) -> int:
        with sqlite3.connect(installation.settings.home / name) as connection:
            return int(connection.execute("SELECT count(*) FROM event_logs WHERE event LIKE '%data:image%'").fetchone()[0])

    assert pictures("dagster/history/runs/index.db") == 0
    assert pictures("mlflow/mlflow.db") == 5


def test_file_that_cannot_be_cleaned_is_named(installation: Any, forget: Callable[..., Any]) -> None:
    odd = installation.settings.home / "odd.bin"
    odd.write_bytes(b"\xff\xfe" + installation.clip("a").encode())
    with pytest.raises(ForgetIncomplete, match=r"1 files still hold something of the clips, the first .*odd.bin: remove it"):
        forget("a")


def test_half_written_files_of_killed_runs_go(installation: Any, forget: Callable[..., Any]) -> None:
    half = installation.settings.home / "ledger" / f".0.{'0' * 32}" / "face_info.parquet"
    half.parent.mkdir()
    half.write_bytes(b"half")
    forget("a")
    assert not half.exists()


def test_own_files_stay_unless_asked(installation: Any, forget: Callable[..., Any]) -> None:
    own = {letter: installation.footage / installation.clip(letter) for letter in "abf"}
    forget("b")
    assert own["b"].exists()
    forget("a", delete_files=True)
    assert not own["a"].exists()
    assert not own["f"].exists()
    assert own["b"].exists()


def test_it_does_not_come_back(installation: Any, forget: Callable[..., Any]) -> None:
    """Neither under its own id nor as a copy under another; both are still counted."""
    content = installation.content("a")
    forget("a")
    store = installation.store
    known = {"clip_root": str(installation.footage), "caption": "The same person once more.", "in_table": True}
    listed = [
        known | {"clip_id": installation.clip("a"), "path": "a"},
        known | {"clip_id": "copy", "path": installation.clip("f")},
    ]
    terms = {"source": "x", "licence": "x", "gate": "open"}
    clips = pl.DataFrame([dict.fromkeys(MANIFEST) | row | terms for row in listed], schema=MANIFEST)
    *_, new = register_clips(store, clips, 10, installation.settings.shards_lock)
    assert store.read_table("shard_manifest", new)["clip_id"].to_list() == ["copy"], "the other is counted where it was"
    raw = Tombstones(store).hide(probe_clips(store.read_table("shard_manifest", new)))
    row = raw.row(0, named=True)
    assert (row["status"], row["reason"], row["content_sha256"], row["caption"]) == ("skipped", "forgotten", None, None)
    assert installation.traces("a", content=content) == []


def test_list_of_a_folder_is_veiled_before_it_is_registered(installation: Any, forget: Callable[..., Any]) -> None:
    (installation.footage / "OpenHumanVid_part_001.csv").write_text(
        f"clip_id,path,caption\n{installation.clip('c')},{installation.clip('c')},Some caption of some length.\n"
    )
    forget("c")
    veiled = Tombstones(installation.store).veil(list_clips(installation.footage))
    row = veiled.row(by_predicate=pl.col("clip_id") == pseudonym(installation.clip("c")), named=True)
    assert (row["path"], row["caption"], row["in_table"]) == ("", None, True)


def test_the_side_of_a_person_who_bore_the_clips_name_stays(installation: Any, forget: Callable[..., Any]) -> None:
    def side() -> tuple[str, str]:
        rows = installation.store.read_table("lafid_dataset")
        row = rows.row(by_predicate=pl.col("clip_id") == installation.clip("b"), named=True)
        return row["split_key"], row["split"]

    before = side()
    forget("a")
    clusters = installation.store.read_table("identity_clusters").filter(pl.col("clip_id") == installation.clip("b"))
    assert side() == (clusters["split_key"][0], before[1])
    assert before[0] == installation.clip("a")


@pytest.mark.parametrize("shown", [True, False])
def test_pictures_of_the_demo_go_when_they_show_them(installation: Any, shown: bool) -> None:
    first = installation.store.read_table("lafid_dataset").sort("split", "clip_id")["clip_id"][0]
    face = installation.settings.home / "demo" / "face.png"
    face.parent.mkdir()
    face.write_bytes(b"face")
    chosen = first if shown else next(clip for clip in map(installation.clip, "bcd") if clip != first)
    _eraser(installation, identify(installation.store, [chosen], [], delete_files=False)).run()
    assert face.exists() != shown


def test_nothing_is_left_in_a_bucket(installation: Any, bucket: str) -> None:
    local, remote = installation.store, ShardStore(f"s3://{bucket}/lafid")
    for path in local.list_tree(""):
        if not path.startswith(("latents/", "training_runs/")):  # training needs a local store
            remote.write_bytes(path, local.read_bytes(path))
        local.remove(path)
    there = dataclasses.replace(
        installation, store=remote, settings=installation.settings.model_copy(update={"store_uri": remote.uri})
    )
    a, content = installation.clip("a"), installation.content("b")
    subject = identify(remote, [a, installation.clip("b")], [], delete_files=False)
    remote.write_bytes(f"exports/{a}.txt", b"somebody's own")
    with pytest.raises(ForgetIncomplete, match=f"1 files still hold .* the first s3://{bucket}/lafid/exports/{a}.txt: remove it"):
        _eraser(there, subject).run()
    remote.remove(f"exports/{a}.txt")
    remote.write_bytes("exports/list.csv", f"clip_id\n{a}\n".encode())
    with pytest.raises(ForgetIncomplete, match="exports/list.csv"):
        _eraser(there, subject).require_gone()
    remote.remove("exports/list.csv")
    _eraser(there, subject).require_gone()
    assert not [path for path in remote.list_tree("crops") if content in path]
    tables = [path for path in remote.list_tree("") if path.endswith(".parquet")]
    held = {path: str(pl.read_parquet(remote.read_bytes(path)).to_dicts()) for path in tables}
    assert tables
    assert not [path for path, text in held.items() if a in text or installation.clip("b") in text]
    assert [path for path, text in held.items() if installation.clip("c") in text]
