"""After `lafid forget` nothing is left of the clip, whenever it was killed, and the others are as they were."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.dataset.forget import erase as erase_module
from lafid_assets.dataset.forget import tables as tables_module
from lafid_assets.dataset.forget.erase import Eraser, ForgetIncomplete, folders_of_clips
from lafid_assets.dataset.forget.subject import RawFile, Subject, identify
from lafid_assets.dataset.versions import find_version
from lafid_assets.identity.naming import name_after
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.raw_clips import ShardFiles
from lafid_assets.ingest.registration import register
from lafid_assets.ingest.tombstones import pseudonym
from lafid_assets.release.bench_folder import folder_of
from lafid_assets.schemas import BY_NAME, LAFID_BENCH, TABLES
from model.clips.clip_set import ClipSet
from model.clips.latent_shards import read_index
from resources.lake import catalog_copy, upkeep
from resources.tracking import Tracking
from tests.kills import Killed, killed_at
from tests.lafid_assets.dataset.forget.conftest import UNFINISHED

SHARD = "shard-00000"


@pytest.fixture
def forget(installation: Any, erase: Callable[..., Any]) -> Callable[..., Any]:
    def run(letter: str, *, dry_run: bool = False, delete_files: bool = False) -> Any:
        subject = identify(installation.lake, [installation.clip(letter)], [], delete_files=delete_files)
        return erase(installation, subject, dry_run=dry_run)

    return run


def test_what_there_is_to_forget(installation: Any) -> None:
    """Without which the other tests prove nothing."""
    traces = installation.traces("a", content=installation.content("a"))
    assert {path.split("/")[0] for path in traces} == {"lafid.duckdb", "dagster", "mlflow", "logs", "explain", "store"}
    assert {path.split("/")[1] for path in traces if path.startswith("store/")} == {
        *("catalog", "catalog.sqlite", "tables", "crops", "ledger", "latents", "training_runs")
    }
    assert {path.split("/")[1] for path in installation.rows_about("a")} == {"tables", "ledger", "latents"}
    assert installation.unknown_files()
    catalog = installation.store.local_path("catalog.sqlite").read_bytes()
    told = installation.statistics()
    for letter, ends in {"a": {high for _, high in told}, "d": {low for low, _ in told}}.items():
        clip, _, *values, _ = installation.needles(letter)
        assert clip.decode() in ends
        assert {value.decode() for value in values} & ends
        assert any(value in catalog for value in values)


def test_no_byte_is_left(without_a: Any) -> None:
    """Of the clip that is the last in the order of its columns."""
    assert without_a.traces("a", content=without_a.content("a")) == []
    assert without_a.rows_about("a") == []
    assert without_a.unknown_files() == []
    assert not without_a.settings.published_path.exists(), "the next refresh writes it anew"
    assert without_a.lake.sql("SELECT reason FROM raw_clips WHERE clip_id = ?", [pseudonym(without_a.clip("a"))]).rows() == [
        ("forgotten",)
    ]


def test_whoever_asks_afterwards_finds_all_other_rows(without_a: Any) -> None:
    """Also the rows at the ends of a column, which wrong statistics would leave out."""
    with without_a.lake.snapshot() as reader:
        for table in TABLES:
            if table.view is None and "clip_id" in table.dtypes:
                rows = reader.sql(f"SELECT * FROM {table.name}")
                for clip in rows["clip_id"].unique():
                    asked = f"SELECT count(*) AS n FROM {table.name} WHERE clip_id"
                    count = rows.filter(clip_id=clip).height
                    assert reader.sql(f"{asked} = ?", [clip])["n"].item() == count
                    assert reader.sql(f"{asked} >= ? AND clip_id <= ?", [clip, clip])["n"].item() == count
        bounds = reader.sql(
            "SELECT min(value) AS a, max(value) AS z FROM (SELECT unnest(embedding) AS value FROM face_embeddings)"
        )
        values = reader.sql("SELECT embedding FROM face_embeddings")["embedding"].explode()
        assert bounds.row(0) == (values.min(), values.max())


def test_copies_under_another_id_go_too(without_a: Any) -> None:
    assert without_a.traces("f") == []
    assert without_a.rows_about("f") == []


def test_the_others_stay(without_a: Any, installation: Any) -> None:
    a, b, c = map(without_a.clip, "abc")
    lake, store = without_a.lake, without_a.store
    counted = {name: installation.lake.read(name).height for name in ("face_info", "raw_clips", "clip_files", "training_latents")}
    for table in TABLES:
        rows = lake.sql(f"SELECT * FROM {table.name}").select(list(table.dtypes))
        assert table.violations(rows) == []
    assert lake.read("raw_clips").height == counted["raw_clips"], "forgotten clips are still counted"
    assert lake.read("clip_files").height == counted["clip_files"]
    assert lake.read("face_info").height == counted["face_info"] - 6
    assert lake.read("training_latents").height == counted["training_latents"] - 1
    rows = lake.read("lafid_dataset")
    assert set(rows["clip_id"]) == {without_a.clip(letter) for letter in "bce"}
    other = rows.row(by_predicate=pl.col("clip_id") == b, named=True)
    assert other["identity_id"] == pseudonym(a), "the person bore the clip's name"
    assert other["cross_references"] == []
    clusters = lake.read("identity_clusters")
    assert clusters["nearest_clip_id"].null_count() == clusters.height
    assert without_a.traces("c")
    assert without_a.rows_about("c")
    assert store.list_tree(f"crops/{without_a.content('c')[:2]}")
    assert not store.list_tree(f"crops/{without_a.content('a')[:2]}/{without_a.content('a')}")
    answers = AnswerCache(without_a.settings.home / "llm_answers")
    assert answers.get(a, "key") is None
    assert answers.get(c, "key") is not None
    log = (without_a.settings.home / "logs" / "last-error.log").read_text()
    assert c in log
    assert pseudonym(a) in log


def test_what_trainers_left_of_a_held_out_clip_goes(without_a: Any) -> None:
    store, c = without_a.store, without_a.clip("c")
    left = store.list_tree("training_runs")
    assert [path for path in left if path.endswith((".png", ".mp4"))] == [
        f"training_runs/held_out/{c}.png",
        f"training_runs/tiny/validation/step-0000002/{c}.mp4",
    ]
    forgotten, other = json.loads(store.read_bytes("training_runs/launches/job/job.json"))["held_out"]
    assert (forgotten["clip_id"], forgotten["caption"]) == (pseudonym(without_a.clip("a")), "[forgotten]")
    assert (other["clip_id"], other["caption"]) == (c, "The video features person number 99 who turns.")
    assert without_a.clip("a").encode() not in store.read_bytes("training_runs/launches/job/trainer.log")


def test_pictures_of_a_clip_with_a_short_id_go(installation: Any, erase: Callable[..., Any]) -> None:
    """Only where they are named after clips; elsewhere so short a name is somebody's own."""
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    home, runs = installation.settings.home, installation.store.local_path("training_runs")
    theirs = [home / "explain" / "anna.png", runs / "held_out" / "anna.png", runs / "tiny" / "validation" / "anna.mp4"]
    drawn = installation.store.local_path("evaluations") / "abc-0"
    theirs += [drawn / "anna.0123.mp4", drawn / "anna.4567.json", drawn / "anna.4567.npy", drawn.parent / "pages" / "theirs.html"]
    theirs += [home / "review" / "anna.0123456789abcdef.mp4"]
    others = [home / "explain" / "annabel.png", home / "drop" / "anna.mp4", runs / "anna" / "annas.png"]
    others += [drawn / "annabel.0123.mp4", drawn.parent / "pages" / "others.html"]
    for path in theirs + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture" if path.name != "theirs.html" else installation.clip("a").encode())
    done = erase(installation, subject.model_copy(update={"clip_ids": (*subject.clip_ids, "anna")}), dry_run=True)
    assert [str(path) in done.removed for path in theirs + others] == [True] * 8 + [False] * 5


def _cached_parts(installation: Any) -> set[str]:
    return set(read_index(installation.store, "latents/shards").places)


def test_what_was_encoded_of_the_clip_goes_and_what_others_need_stays(without_a: Any) -> None:
    # Whose a part was that no list names any more, nobody knows.
    assert _cached_parts(without_a) == {"shared", *(f"video-of-{letter}" for letter in "bcde")}
    left = ClipSet(without_a.store.local_path("latents/clips-0.parquet"))
    assert set(left.clip_ids) == {without_a.clip(letter) for letter in "bcde"}
    assert torch.equal(left._read(left.entry(0), "video", "mean"), torch.ones(4))


def test_partitions_keep_saying_what_they_were_made_of(without_a: Any, installation: Any) -> None:
    before, after = installation.lake.stamps(), without_a.lake.stamps()
    assert {slot: stamp.fingerprint for slot, stamp in after.items()} == {
        slot: stamp.fingerprint for slot, stamp in before.items()
    }
    changed = {slot[0] for slot in after if after[slot].digest != before[slot].digest}
    assert {"face_info", "clips", "lafid_dataset"} <= changed, "what reads it is not current any more"
    for (table, partition), stamp in after.items():
        if not BY_NAME[table].appended:
            assert stamp.rows == without_a.lake.read(table, partition).height


def test_two_more_go_and_versions_keep_their_ids_and_say_how_many_were_erased(
    without_a: Any, copy_of: Callable[..., Any], erase: Callable[..., Any], tmp_path: Path
) -> None:
    """One of them the first in the order of its columns; with them goes what killed runs left half written."""
    there = copy_of(without_a, tmp_path / "home")

    def facts(version: str) -> tuple[int, int, int]:
        told = find_version(there.lake, version)
        rows = there.lake.sql("SELECT count(*) AS n FROM dataset_version_rows WHERE dataset_version = ?", [version])
        return told["clips"], told["erased_clips"], rows["n"].item()

    assert facts(there.first_version) == (3, 1, 2)
    assert facts(there.second_version) == (5, 2, 3)
    assert not there.store.list_tree("reports"), "pages and contact sheets of versions in which it came in"
    part = there.store.local_path(f"ledger/face_info/{SHARD}/fingerprint/1-1")
    half = [part / f".face_info.{'0' * 32}.parquet", there.store.local_path("tables/main/face_info/half.parquet")]
    for path in half:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    erase(there, identify(there.lake, [there.clip("b"), there.clip("d")], [], delete_files=False))
    assert facts(there.first_version) == (3, 2, 1)
    assert facts(there.second_version) == (5, 3, 2)
    assert there.lake.sql("SELECT sum(erased_clips)::INT FROM dataset_versions").item() == 5
    assert [path.exists() for path in half] == [False, False]
    for letter in "bd":
        assert there.traces(letter, content=there.content(letter)) == []
        assert there.rows_about(letter) == []
    assert there.unknown_files() == []
    there.lake.close()


def test_whole_person_goes(
    installation: Any, erase: Callable[..., Any], benches: dict[str, str], benches_left: Callable[..., set[str]]
) -> None:
    """With their own files, when that is asked for, and with the benches that show them."""
    own = {letter: installation.footage / installation.clip(letter) for letter in "abcf"}
    kept = {path: path.read_bytes() for path in own.values()}
    subject = identify(installation.lake, [], [installation.clip("a")], delete_files=True)
    assert set(subject.clip_ids) == {installation.clip(letter) for letter in "abf"}
    done = erase(installation, subject)
    assert [path.exists() for path in own.values()] == [False, False, True, False]
    gone = {folder_of(benches["a"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    assert gone == {path for path in done.removed if path.startswith("benches/")}
    assert benches_left(installation) == {"c", "unnamed"}
    assert not any(path for folder in gone for path in installation.store.list_tree(folder))
    assert installation.lake.read(LAFID_BENCH.name)["clip_id"].to_list() == [installation.clip("c")]
    for path, content in kept.items():
        path.write_bytes(content)
    assert [installation.traces(letter) for letter in "abf"] == [[], [], []]
    assert set(installation.lake.read("lafid_dataset")["identity_id"]) == {installation.clip("c"), installation.clip("e")}


def test_own_files_stay_unless_asked(without_a: Any) -> None:
    assert (without_a.footage / without_a.clip("a")).exists()


def test_dry_run_lists_and_touches_nothing(
    installation: Any, forget: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything() -> dict[str, bytes]:
        installation.lake.close()
        files = (path for path in installation.settings.home.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    searched: list[Path] = []
    search = erase_module._contains
    monkeypatch.setattr(erase_module, "_contains", lambda path, subject: searched.append(path) or search(path, subject))
    with installation.lake.snapshot():  # the home, a copy, learns where its store is now
        pass
    before = everything()
    done = forget("a", dry_run=True)
    assert everything() == before
    assert searched
    assert not [path for path in searched if path.suffix == ".safetensors" and "shards" in path.parts], "they hold no names"
    assert {"face_info", "clips", "dataset_version_rows"} <= set(done.rewritten)
    assert any(path.endswith("face_embeddings.parquet") for path in done.rewritten)
    assert any(path.endswith("index.db") for path in done.rewritten)
    (file,) = installation.store.list_tree("latents/shards")
    assert file in done.rewritten
    assert _cached_parts(installation) == {"shared", "stale", *(f"video-of-{letter}" for letter in "abcde")}
    assert any(path.endswith(f"{installation.clip('a')}.png") for path in done.removed)
    assert done.pictures_to_check == [str(installation.settings.home / "mlflow" / "artifacts" / "run" / "shown.png")]


KILLED_AT = (
    (erase_module, "write_tombstones"),
    (tables_module, "_count_erased"),
    (tables_module, "drop_all_history"),
    (upkeep, "remove_unneeded_files"),
    (upkeep, "_measure_anew"),
    (upkeep, "_rebuild"),
    (erase_module, "scrub_sqlite"),
    (erase_module, "drop_unnamed"),
    (catalog_copy, "copy"),
)


@pytest.mark.soak
def test_killed_anywhere_and_run_again_it_is_complete(installation: Any, erase: Callable[..., Any], soak: bool) -> None:
    """The intent, written before, holds all that later runs need, although the tables know the clip no more; each of them is
    killed where the one before had not come.

    Whoever stays under a name after the clip is renamed, in tables and kept versions alike; the split stays with the person.
    """
    a, b, lake = installation.clip("a"), installation.clip("b"), installation.lake

    def rename(writer: Any) -> None:
        for table in ("identity_clusters", "lafid_dataset", "dataset_version_rows"):
            for column in ("identity_id", "split_key"):
                writer.cursor.execute(f"UPDATE {table} SET {column} = '{name_after(a)}' WHERE {column} = '{a}'")

    lake.commit(rename)
    of_b = f"SELECT * FROM {{}} WHERE clip_id = '{b}'"
    before = lake.sql(of_b.format("lafid_dataset"))
    subject = identify(lake, [a], [], delete_files=False)

    for step in KILLED_AT if soak else KILLED_AT[::4]:
        with killed_at(0, step), pytest.raises(Killed):
            erase(installation, subject)
    assert installation.traces("a", content=installation.content("a"))
    erase(installation, Subject.model_validate_json(subject.model_dump_json()))
    assert installation.traces("a", content=installation.content("a")) == []
    assert installation.rows_about("a") == []
    assert installation.unknown_files() == []
    assert find_version(lake, installation.first_version)["erased_clips"] == 1

    after = lake.sql(of_b.format("lafid_dataset"))
    assert after["split"].to_list() == before["split"].to_list()
    assert after["identity_id"].to_list() == after["split_key"].to_list() != before["identity_id"].to_list()
    for table in ("dataset_version_rows", "identity_clusters"):
        assert set(lake.sql(of_b.format(table))["identity_id"]) == set(after["identity_id"])
    lake.close()
    for path in installation.settings.home.rglob("*"):
        held = str(pl.read_parquet(path).to_dicts()) if path.suffix == ".parquet" else ""
        assert a[:12] not in held
        assert not path.is_file() or a[:12].encode() not in path.read_bytes(), path


def test_pictures_in_dagsters_history_go_and_mlflows_stay_text(without_a: Any) -> None:
    def pictures(name: str) -> int:
        with sqlite3.connect(without_a.settings.home / name) as connection:
            return int(connection.execute("SELECT count(*) FROM event_logs WHERE event LIKE '%data:image%'").fetchone()[0])

    assert pictures("dagster/history/runs/index.db") == 0
    assert pictures("mlflow/mlflow.db") == 5


def test_file_that_cannot_be_cleaned_is_named(without_a: Any, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    there = copy_of(without_a, tmp_path / "home")
    (there.settings.home / "odd.bin").write_bytes(b"\xff\xfe" + there.clip("a").encode())
    subject = identify(there.lake, [there.clip("a")], [], delete_files=False)
    tracking = Tracking("sqlite:////no/such/mlflow.db", there.settings.mlflow_artifacts)
    with pytest.raises(ForgetIncomplete, match=r"1 files still hold something of the clips, the first .*odd.bin: remove it"):
        Eraser(there.settings, there.lake, subject, tracking, dry_run=False).require_gone()
    there.lake.close()


def test_it_does_not_come_back(without_a: Any, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    """Neither under its own id nor as a copy under another; both are still counted."""
    there, folder = copy_of(without_a, tmp_path / "home"), tmp_path / "again"
    a, lake = there.clip("a"), there.lake
    counted = lake.read("clips")["clip_id"].to_list()
    folder.mkdir()
    for name in (a, "copy.mp4"):
        shutil.copy(there.footage / a, folder / name)
    again = {a: f"{a},The same person once more.", "c" * 32: "copy.mp4,And again."}
    rows = [f"{clip},{said}\n" for clip, said in again.items()]
    (folder / "OpenHumanVid_part_001.csv").write_text("".join(["clip_id,path,caption\n", *rows]))
    registered = register(lake, list_files(folder))
    for shard in registered.shards:
        files = ShardFiles(lake, shard)
        lake.put(files.open_files().bound(lake), shard, "f")
    (new,) = registered.new_shards
    row = lake.read("raw_clips", new).row(0, named=True)
    assert (row["clip_id"], row["status"], row["reason"], row["content_sha256"]) == ("c" * 32, "skipped", "forgotten", None)
    assert lake.read("clips", SHARD)["clip_id"].to_list() == counted, "the other is counted where it was"
    assert there.traces("a", content=there.content("a")) == []


def test_the_side_of_a_person_who_bore_the_clips_name_stays(installation: Any, without_a: Any) -> None:
    def side(lake: Any) -> tuple[str, str, str]:
        joined = "SELECT d.split_key, d.split, c.split_key FROM lafid_dataset d JOIN identity_clusters c USING (clip_id)"
        return lake.sql(f"{joined} WHERE clip_id = ?", [installation.clip("b")]).row(0)

    before, after = side(installation.lake), side(without_a.lake)
    assert before[0] == before[2] == installation.clip("a")
    assert after[0] == after[2] == pseudonym(installation.clip("a"))
    assert after[1] == before[1]


@pytest.mark.parametrize("shown", [True, False])
def test_pictures_of_the_demo_go_when_they_show_them(installation: Any, erase: Callable[..., Any], shown: bool) -> None:
    first = installation.lake.read("lafid_dataset").sort("split", "clip_id")["clip_id"][0]
    face = installation.settings.home / "demo" / "face.png"
    face.parent.mkdir()
    face.write_bytes(b"face")
    chosen = first if shown else next(clip for clip in map(installation.clip, "bcd") if clip != first)
    done = erase(installation, identify(installation.lake, [chosen], [], delete_files=False), dry_run=True)
    assert (str(face) in done.removed) == shown


def test_clips_in_the_home_are_known_where_it_was_copied_to(tmp_path: Path) -> None:
    """The table names the folder where the home lay before: what lies in the copy is a user's own all the same."""
    home = tmp_path / "copied"
    for folder in ("drop/inner", "logs"):
        (home / folder).mkdir(parents=True)
    (home / "drop" / "inner" / "a.mp4").write_bytes(b"a")
    moved = RawFile(clip_root="/mnt/before/home/drop", path="inner/a.mp4", named_by="a")
    elsewhere = RawFile(clip_root="/mnt/before/home/logs", path="b.mp4", named_by="b")
    here = RawFile(clip_root=str(home / "logs"), path="c.mp4", named_by="c")
    around = RawFile(clip_root=str(tmp_path), path="d.mp4", named_by="d")
    assert folders_of_clips([moved, elsewhere, around], [home]) == {home / "drop"}
    assert folders_of_clips([here], [home]) == {home / "logs"}
