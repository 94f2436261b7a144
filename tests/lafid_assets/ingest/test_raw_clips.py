"""`raw_clips`: a clip is its content; where its files lie, and whether they can be reached, changes no clip."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.definitions import build_defs
from lafid_assets.ingest import media_probe
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.locate import locate
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.ingest.raw_clips import STEP, FolderAway, RawClipsConfig, raw_clips
from lafid_assets.ingest.registration import Registered, register
from lafid_assets.ingest.tombstones import PSEUDONYM, write_tombstones
from lafid_assets.schemas import CLIP_CONTENTS, CLIPS
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.lake.lake import Lake
from resources.settings import Settings

TakeIn = Callable[[Path], tuple[Registered, list[str]]]
HEADER = "clip_id,path,caption,aesthetic\n"


@pytest.fixture
def released(tmp_path: Path, write_video: Callable[..., Path]) -> Path:
    """OpenHumanVid's layout with a good clip and one of every bad kind."""
    root = tmp_path / "footage"
    clips = root / "clips"
    good = write_video(clips / "good.mp4", sound_s=1.0)
    (clips / "empty").write_bytes(b"")
    (clips / "cut").write_bytes(good.read_bytes()[:900])
    (clips / "spare.mp4").write_bytes(good.read_bytes() + b"spare")
    os.mkfifo(clips / "pipe")
    (clips / "out").symlink_to("/etc/hostname")
    rows = {
        "a-good": "clips/good",
        "b-empty": "clips/empty",
        "c-cut": "clips/cut",
        "d-missing": "clips/missing",
        "e-pipe": "clips/pipe",
        "f-out": "clips/out",
        "g-absolute": "/etc/hostname",
        "h-dots": "../../etc/hostname",
        "i-long": "x" * 300,
        "j-nowhere": "",
    }
    lines = [f"{name},{path},text of {name},5" for name, path in rows.items()]
    (root / "OpenHumanVid_part_001.csv").write_text(HEADER + "\n".join(lines))
    return root


def _rows(lake: Lake, columns: str = "clip_id, path, status, reason") -> list[tuple[Any, ...]]:
    return lake.sql(f"SELECT {columns} FROM raw_clips ORDER BY path").rows()


def _clip(path: Path) -> str:
    return content_sha256(path)[:32]


def test_every_clip_ends_in_its_own_way(lake: Lake, released: Path, take_in: TakeIn) -> None:
    take_in(released)
    found = {row["clip_id"]: row for row in lake.read("raw_clips").iter_rows(named=True)}
    [spare] = [name for name in found if name[1] != "-"]
    assert {name: (row["status"], row["reason"]) for name, row in found.items()} == {
        "a-good": ("ok", None),
        "b-empty": ("error", "empty_file"),
        "c-cut": ("error", "unreadable"),
        "d-missing": ("skipped", "file_missing"),
        "e-pipe": ("error", "not_a_file"),
        "f-out": ("error", "outside_root"),
        "g-absolute": ("error", "outside_root"),
        "h-dots": ("error", "outside_root"),
        "i-long": ("skipped", "file_missing"),
        "j-nowhere": ("skipped", "file_missing"),
        spare: ("skipped", "no_row"),
    }
    for table in (CLIPS, CLIP_CONTENTS):
        assert table.violations(lake.read(table.name)) == []
    assert all(row["detail"] for name, row in found.items() if name != "a-good")
    assert found["b-empty"]["content_sha256"] == content_sha256(released / "clips" / "empty")


def test_good_row_holds_table_and_file(lake: Lake, released: Path, take_in: TakeIn) -> None:
    take_in(released)
    row = lake.read("raw_clips").row(by_predicate=pl.col("clip_id") == "a-good", named=True)
    path = released / "clips" / "good.mp4"
    assert row["content_sha256"] == content_sha256(path)
    assert row["file_size_bytes"] == path.stat().st_size
    assert (row["caption"], row["aesthetic"], row["clip_root"]) == ("text of a-good", 5.0, str(released))
    assert (row["fps"], row["frame_count"], row["width"], row["height"], row["has_audio"]) == (10.0, 10, 64, 48, True)
    assert (row["first_pts"], row["last_pts"], row["licence"], row["gate"]) == (None, None, "CC-BY-NC-ND-4.0", "gated")


def test_equal_contents_are_one_clip(lake: Lake, folder: Path, take_in: TakeIn) -> None:
    shutil.copy2(folder / "one.mp4", folder / "zz.mp4")
    registered, opened = take_in(folder)
    assert (registered.new, len(opened)) == (3, 3)
    assert {row[0] for row in _rows(lake)} == {_clip(folder / "one.mp4"), _clip(folder / "two.mp4")}
    assert lake.read("clip_contents")["clip_id"].n_unique() == 2
    assert lake.read("clip_contents").height == 3


def test_what_is_known_is_not_opened_again(folder: Path, films: Path, take_in: TakeIn) -> None:
    take_in(folder)
    shutil.copy2(films / "three.mp4", folder / "zz.mp4")
    assert take_in(folder)[1] == ["zz.mp4"]


def test_a_moved_folder_changes_no_clip(lake: Lake, folder: Path, tmp_path: Path, take_in: TakeIn) -> None:
    take_in(folder)
    [shard] = take_in(folder)[0].shards
    before = lake.stamps(["clips"])
    folder.rename(tmp_path / "moved")
    assert locate(lake, shard) == {}
    registered, opened = take_in(tmp_path / "moved")
    assert registered.shards == (shard,)
    assert opened == ["one.mp4", "two.mp4"]  # hashed once, to be sure
    assert lake.stamps(["clips"]) == before
    assert {row[0] for row in _rows(lake, "clip_root")} == {str(tmp_path / "moved")}
    assert set(locate(lake, shard).values()) == {tmp_path / "moved" / "one.mp4", tmp_path / "moved" / "two.mp4"}


def test_of_two_places_the_one_seen_last_is_shown_and_one_that_is_there_is_read(
    lake: Lake, folder: Path, tmp_path: Path, take_in: TakeIn
) -> None:
    [shard] = take_in(folder)[0].shards
    shutil.copytree(folder, tmp_path / "copy")
    take_in(tmp_path / "copy")
    assert {row[0] for row in _rows(lake, "clip_root")} == {str(tmp_path / "copy")}
    take_in(folder)
    assert {row[0] for row in _rows(lake, "clip_root")} == {str(folder)}
    shutil.rmtree(folder)
    assert {path.parent for path in locate(lake, shard).values()} == {tmp_path / "copy"}


def test_a_replaced_file_is_another_clip_and_the_earlier_one_goes(lake: Lake, folder: Path, films: Path, take_in: TakeIn) -> None:
    take_in(folder)
    shutil.copy2(films / "three.mp4", folder / "two.mp4")
    registered, opened = take_in(folder)
    assert (registered.changed, opened) == (1, ["two.mp4"])
    assert _rows(lake, "clip_id, path") == [(_clip(films / "one.mp4"), "one.mp4"), (_clip(films / "three.mp4"), "two.mp4")]


def test_a_replaced_file_keeps_its_released_id(lake: Lake, tmp_path: Path, films: Path, take_in: TakeIn) -> None:
    root = tmp_path / "released"
    (root / "clips").mkdir(parents=True)
    (root / "OpenHumanVid_part_001.csv").write_text("clip_id,path,caption\nh,clips/h,one\n")
    for name in ("one", "two"):
        shutil.copy2(films / f"{name}.mp4", root / "clips" / "h")
        take_in(root)
        assert _rows(lake, "clip_id, content_sha256") == [("h", content_sha256(films / f"{name}.mp4"))]


def test_a_released_id_whose_content_is_another_clip_is_a_duplicate(
    lake: Lake, folder: Path, tmp_path: Path, films: Path, take_in: TakeIn
) -> None:
    root = tmp_path / "released"
    (root / "clips").mkdir(parents=True)
    (root / "OpenHumanVid_part_001.csv").write_text("clip_id,path,caption\ng,clips/g,one\nh,clips/h,two\n")
    for name in "gh":
        shutil.copy2(films / "three.mp4", root / "clips" / name)
    take_in(root)
    assert _rows(lake, "clip_id, status, reason") == [("g", "ok", None), ("h", "skipped", "duplicate")]
    assert "the same content as g" in lake.sql("SELECT detail FROM clips WHERE clip_id = 'h'").item()


def test_a_content_known_in_another_shard_stays_there(
    lake: Lake, folder: Path, tmp_path: Path, films: Path, take_in: TakeIn
) -> None:
    [first] = take_in(folder)[0].shards
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy2(films / "one.mp4", other / "renamed.mp4")
    shutil.copy2(films / "three.mp4", other / "new.mp4")
    [second] = take_in(other)[0].shards
    assert second != first
    assert lake.sql("SELECT clip_id, shard FROM clips ORDER BY shard, clip_id").filter(pl.col("shard") == second).rows() == [
        (_clip(films / "three.mp4"), second)
    ]
    shutil.rmtree(folder)
    assert locate(lake, first) == {_clip(films / "one.mp4"): other / "renamed.mp4"}
    # The file of the first shard is replaced; its clip stays, for the other folder holds it.
    folder.mkdir()
    for name in ("one", "two"):
        shutil.copy2(films / "two.mp4", folder / f"{name}.mp4")
    take_in(folder)
    assert lake.read("clips", first)["clip_id"].sort().to_list() == sorted([_clip(films / "one.mp4"), _clip(films / "two.mp4")])


def test_two_shards_that_find_one_content_at_once_do_not_both_have_it(lake: Lake, films: Path, tmp_path: Path) -> None:
    from lafid_assets.ingest.raw_clips import ShardFiles

    found = []
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        shutil.copy2(films / "one.mp4", tmp_path / name / f"{name}.mp4")
        [shard] = register(lake, list_files(tmp_path / name), 5).shards
        found.append((shard, ShardFiles(lake, shard).open_files()))
    frames = [files.bound(lake) for _, files in found]
    assert [frame["clips"].height for frame in frames] == [1, 1]
    for (shard, files), frame in zip(found, frames, strict=True):
        lake.put(frame, shard, "f", revise=lambda writer, _, files=files: files.claimed(writer))
    assert lake.sql("SELECT count(*) AS n FROM clips").item() == 1
    assert lake.sql("SELECT DISTINCT clip_shard FROM clip_contents").rows() == [(found[0][0],)]


def test_what_was_measured_waits_for_its_folder(lake: Lake, folder: Path, tmp_path: Path, bring_up: Any, take_in: TakeIn) -> None:
    [shard] = take_in(folder)[0].shards
    before = lake.read("clips")
    folder.rename(tmp_path / "unmounted")
    assert bring_up(shard) == []
    folder.mkdir()  # the mount point, empty
    bring_up(shard)
    assert lake.read("clips").equals(before)


def test_a_folder_that_is_not_there_is_no_fact_about_its_clips(
    lake: Lake, folder: Path, tmp_path: Path, bring_up: Any, take_in: TakeIn
) -> None:
    [shard] = register(lake, list_files(folder), 10).shards
    folder.rename(tmp_path / "unmounted")
    with pytest.raises(FolderAway, match="plain is not there.*mount it, or run `lafid curate`"):
        bring_up(shard)
    assert lake.stamps(["clips"]) == {}
    take_in(tmp_path / "unmounted")  # where its clips are now
    assert lake.read("clips")["status"].to_list() == ["ok", "ok"]


def test_a_file_that_was_missing_is_looked_for_again(lake: Lake, folder: Path, tmp_path: Path, bring_up: Any) -> None:
    [shard] = register(lake, list_files(folder), 10).shards
    (folder / "two.mp4").rename(tmp_path / "aside.mp4")
    bring_up(shard)
    assert sorted(row[3] or "" for row in _rows(lake)) == ["", "file_missing"]
    waiting = STEP.unsettled(RawClipsConfig()) if STEP.unsettled else ""
    assert lake.sql(waiting)["shard"].to_list() == [shard]
    (tmp_path / "aside.mp4").rename(folder / "two.mp4")
    assert bring_up(shard) == ["two.mp4"]
    assert [row[2] for row in _rows(lake)] == ["ok", "ok"]
    assert lake.sql(waiting).is_empty()


def test_a_name_that_is_not_utf8_costs_its_own_row(lake: Lake, folder: Path, take_in: TakeIn) -> None:
    shutil.copy2(folder / "one.mp4", os.fsencode(folder) + b"/caf\xe9.mp4")
    take_in(folder)
    assert sorted((row[2], row[3] or "") for row in _rows(lake)) == [("error", "name_not_utf8"), ("ok", ""), ("ok", "")]


def test_a_copy_of_a_forgotten_clip_stays_away(lake: Lake, folder: Path, take_in: TakeIn) -> None:
    gone = content_sha256(folder / "one.mp4")
    write_tombstones(lake.store, [gone[:32]], [gone])
    take_in(folder)
    take_in(folder)
    [(_, _, status, reason)] = [row for row in _rows(lake) if row[0].startswith(PSEUDONYM)]
    assert (status, reason) == ("skipped", "forgotten")
    assert gone[:32] not in str(lake.read("clip_contents").rows()) + str(lake.read("clips").rows())


def test_a_row_that_comes_after_its_file(lake: Lake, tmp_path: Path, films: Path, take_in: TakeIn) -> None:
    root = tmp_path / "released"
    (root / "clips").mkdir(parents=True)
    name = "0" * 32
    shutil.copy2(films / "one.mp4", root / "clips" / name)
    (root / "OpenHumanVid_part_001.csv").write_text("clip_id,path,caption\n")
    take_in(root)
    assert _rows(lake, "clip_id, reason") == [(name, "no_row")]
    (root / "OpenHumanVid_part_002.csv").write_text(f"clip_id,path,caption\n{name},clips/{name},words\n")
    take_in(root)
    assert _rows(lake, "clip_id, status, width, caption") == [(name, "ok", 64, "words")]


def test_a_file_that_comes_after_its_registration_waits_for_the_next_one(
    lake: Lake, films: Path, tmp_path: Path, bring_up: Callable[[str], list[str]], take_in: TakeIn
) -> None:
    """Opened at once it would be known in a state that no later step finds: "lies nowhere that can be reached"."""
    (tmp_path / "OpenHumanVid_part_001.csv").write_text("clip_id,path,caption\nearly,clips/early,words\nlate,clips/late,words\n")
    (tmp_path / "clips").mkdir()
    shutil.copy2(films / "two.mp4", tmp_path / "clips" / "early")
    [shard] = register(lake, list_files(tmp_path)).shards
    shutil.copy2(films / "one.mp4", tmp_path / "clips" / "late")
    bring_up(shard)
    late = "clip_id, status FROM raw_clips WHERE path = 'clips/late' --"
    assert [status for _, status in _rows(lake, late)] == ["skipped"]
    take_in(tmp_path)
    [(clip_id, status)] = _rows(lake, late)
    assert status == "ok"
    assert clip_id in locate(lake, shard)


def test_through_dagster_a_shard_is_opened_once(lake: Lake, settings: Settings, folder: Path, films: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    resources = build_defs(settings).resources

    def run() -> list[bool]:
        shards = list(register(lake, list_files(folder), 1).shards)
        instance.add_dynamic_partitions(str(CLIP_SHARDS.name), shards)
        computed = []
        for shard in shards:
            result = dg.materialize([raw_clips], instance=instance, resources=resources, partition_key=shard)
            assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
            [event] = result.get_asset_materialization_events()
            computed.append(bool(event.materialization.metadata["computed"].value))
        return computed

    assert run() == [True, True]
    assert run() == [False, False]
    shutil.copy2(films / "three.mp4", folder / "two.mp4")
    assert run() == [False, True]


def test_probe_module_decodes_nothing() -> None:
    assert not hasattr(media_probe, "sample_frames")
