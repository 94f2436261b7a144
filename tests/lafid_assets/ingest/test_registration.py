"""Registration: every file is in one shard for ever, by name, size and time alone; two registrations lose nothing."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.ingest.listing import LISTED, list_files
from lafid_assets.ingest.registration import Registered, into_shards, register, shard_name
from lafid_assets.ingest.tombstones import pseudonym, write_tombstones
from resources.lake.lake import Lake

Register = Callable[..., Registered]
TWO_MACHINES = """
import sys
from pathlib import Path
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.lake import open_lake
from resources.settings import Settings
home, store, catalog, *folders = sys.argv[1:]
settings = Settings(home=Path(home), store_uri=store, catalog_address=catalog or None)
lake = open_lake(settings)
print("ready", flush=True)
sys.stdin.readline()
for folder in folders:
    register(lake, list_files(Path(folder)), 10)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "abcde":
        (folder / f"{name}.mp4").write_bytes(name.encode())
    return folder


@pytest.fixture
def take_in(lake: Lake) -> Register:
    return lambda folder, clips_per_shard=2: register(lake, list_files(folder), clips_per_shard)


def _held(lake: Lake) -> dict[str, list[str]]:
    """Shard to the names of its files."""
    rows = lake.sql("SELECT shard, list(path ORDER BY path) AS paths FROM clip_files GROUP BY shard ORDER BY shard")
    return dict(rows.iter_rows())


def _snapshot(lake: Lake) -> int:
    with lake.snapshot() as reader:
        return reader.snapshot()


def test_files_fill_shards_in_order(lake: Lake, folder: Path, take_in: Register) -> None:
    registered = take_in(folder)
    assert list(_held(lake).values()) == [["a.mp4", "b.mp4"], ["c.mp4", "d.mp4"], ["e.mp4"]]
    assert registered.shards == registered.new_shards == tuple(_held(lake))
    assert registered.new == 5


def test_no_content_is_read(lake: Lake, folder: Path, take_in: Register) -> None:
    (folder / "f.mp4").unlink(missing_ok=True)
    os.mkfifo(folder / "f.mp4")  # whoever opened it would wait for ever
    assert take_in(folder).new in (5, 6)


def test_a_file_stays_in_its_shard_when_others_come(lake: Lake, folder: Path, take_in: Register) -> None:
    before = _held(lake) if take_in(folder) else {}
    (folder / "aa.mp4").write_bytes(b"aa")
    registered = take_in(folder)
    assert {shard: paths for shard, paths in _held(lake).items() if shard in before} == before
    assert [_held(lake)[shard] for shard in registered.new_shards] == [["aa.mp4"]]


def test_nothing_new_writes_nothing(lake: Lake, folder: Path, take_in: Register) -> None:
    take_in(folder)
    snapshot = _snapshot(lake)
    registered = take_in(folder)
    assert (registered.new, registered.changed, registered.retold, registered.new_shards) == (0, 0, 0, ())
    assert len(registered.shards) == 3
    assert _snapshot(lake) == snapshot


def test_a_file_in_another_state_alters_its_shard_alone(lake: Lake, folder: Path, take_in: Register) -> None:
    take_in(folder)
    before = lake.stamps(["clip_files"])
    (folder / "c.mp4").write_bytes(b"another")
    assert take_in(folder).changed == 1
    after = lake.stamps(["clip_files"])
    altered = [shard for (_, shard), stamp in after.items() if stamp.digest != before["clip_files", shard].digest]
    assert [_held(lake)[shard] for shard in altered] == [["c.mp4", "d.mp4"]]


def test_what_a_table_says_later_alters_no_file(lake: Lake, tmp_path: Path, take_in: Register) -> None:
    root = tmp_path / "released"
    (root / "clips").mkdir(parents=True)
    (root / "clips" / "h").write_bytes(b"h")
    table = root / "OpenHumanVid_part_001.csv"
    table.write_text("clip_id,path,caption\nh,clips/h,one\n")
    [shard] = take_in(root).shards
    files = lake.stamps(["clip_files"])
    table.write_text("clip_id,path,caption\nh,clips/h,another\n")
    registered = take_in(root)
    assert (registered.changed, registered.retold) == (0, 1)
    assert lake.read("clip_rows", shard)["caption"].to_list() == ["another"]
    assert lake.stamps(["clip_files"]) == files


def test_a_file_known_from_another_folder_joins_its_shard(lake: Lake, folder: Path, tmp_path: Path, take_in: Register) -> None:
    shards = take_in(folder).shards
    folder.rename(tmp_path / "moved")
    registered = take_in(tmp_path / "moved")
    assert registered.shards == shards
    assert (registered.new_shards, registered.elsewhere) == ((), 5)
    assert "5 known from another folder" in str(registered)


def test_a_folder_that_holds_other_clips_is_left_alone(lake: Lake, folder: Path, tmp_path: Path, take_in: Register) -> None:
    take_in(folder)
    before = lake.read("clip_files")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "z.mp4").write_bytes(b"z of another size")
    registered = take_in(tmp_path / "other")
    assert len(registered.shards) == 1
    assert lake.read("clip_files").filter(pl.col("clip_root") == str(folder)).equals(before)


@pytest.mark.parametrize("catalog", ["", "postgres"])
def test_two_processes_at_once_lose_nothing(
    catalog: str, lake: Lake, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each registers one that both have and a folder of its own; with Postgres each has a home of its own, too."""
    address = request.getfixturevalue("postgres_url") if catalog else ""
    store = str(tmp_path / "shared") if catalog else lake.store.uri
    machines = []
    for number in range(2):
        for name in ("own", "both"):
            place = tmp_path / (f"{name}{number}" if name == "own" else name)
            place.mkdir(exist_ok=True)
            for clip in range(20):
                (place / f"{clip}.mp4").write_bytes(f"{name}{number if name == 'own' else ''}-{clip}".encode() * (clip + 1))
        home = str(tmp_path / f"home{number}") if catalog else str(lake.home)
        folders = [str(tmp_path / name) for name in ("both", f"own{number}")]
        arguments = [sys.executable, "-c", TWO_MACHINES, home, store, address, *folders]
        machines.append(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()))
    for machine in machines:
        assert machine.stdout is not None
        assert machine.stdout.readline() == b"ready\n"
    for machine in machines:
        machine.stdin.write(b"\n")  # type: ignore[union-attr]
        machine.stdin.flush()  # type: ignore[union-attr]
    for machine in machines:
        machine.communicate(timeout=900)
    assert [machine.returncode for machine in machines] == [0] * 2

    from lafid_assets.lake import open_lake
    from resources.settings import Settings

    seen = open_lake(
        Settings(home=Path(tmp_path / "home0") if catalog else lake.home, store_uri=store, catalog_address=address or None)
    )
    places = seen.read("clip_files").select("clip_root", "path").rows()
    assert len(places) == len(set(places)) == 60
    seen.close()


def test_rows_without_path_stand_under_their_id(lake: Lake, tmp_path: Path) -> None:
    rows = pl.DataFrame(
        [
            {
                "clip_root": str(tmp_path),
                "path": "",
                "released_id": name,
                "in_table": True,
                "source": "s",
                "licence": "l",
                "gate": "open",
            }
            for name in "ab"
        ],
        schema=LISTED,
    )
    [shard] = register(lake, rows, 5).shards
    assert lake.read("clip_files", shard)["path"].to_list() == ["a", "b"]


def _released(root: Path, *rows: str) -> Path:
    (root / "clips").mkdir(parents=True)
    (root / "clips" / "h").write_bytes(b"h")
    (root / "OpenHumanVid_part_001.csv").write_text("\n".join(["clip_id,path,caption", *rows]))
    return root


def test_of_two_rows_of_one_file_the_first_counts_and_the_other_is_told(
    lake: Lake, tmp_path: Path, take_in: Register, caplog: pytest.LogCaptureFixture
) -> None:
    [shard] = take_in(_released(tmp_path / "released", "g,clips/h,words", "h,clips\\h,others")).shards
    assert lake.read("clip_files", shard)["released_id"].to_list() == ["g"]
    assert "1 rows name a file that a row before them names, and are left out: h of clips/h" in caplog.text


def test_a_clip_that_is_forgotten_while_its_folder_is_looked_through_stays_away(
    lake: Lake, tmp_path: Path, take_in: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Lake.commit

    def after_another(lake: Lake, *change: Any, **how: Any) -> Any:
        write_tombstones(lake.store, ["h"], [])
        return commit(lake, *change, **how)

    monkeypatch.setattr(Lake, "commit", after_another)
    [shard] = take_in(_released(tmp_path / "released", "h,clips/h,words")).shards
    assert lake.read("clip_files", shard).select("path", "released_id").rows() == [(pseudonym("h"), pseudonym("h"))]
    assert lake.read("clip_rows", shard)["caption"].to_list() == [None]
    again = register(lake, list_files(tmp_path / "released"))
    assert (again.shards, again.new, again.changed, again.retold) == ((shard,), 0, 0, 0)


def _files(*paths: str, root: str = "/r") -> pl.DataFrame:
    return pl.DataFrame(
        {"clip_root": [root] * len(paths), "path": paths, "released_id": [None] * len(paths)},
        schema={"clip_root": pl.String, "path": pl.String, "released_id": pl.String},
    )


def test_files_fill_shards_in_their_order_and_numbers_go_on() -> None:
    shards = into_shards(_files(*"abcde"), 2, known_shards=7)
    assert shards["path"].to_list() == list("abcde")
    assert [name[:12] for name in shards["shard"]] == ["shard-00007-"] * 2 + ["shard-00008-"] * 2 + ["shard-00009-"]
    assert shards["shard"].str.contains("^shard-[0-9]{5}-[0-9a-f]{8}$").all()
    assert shards["shard"].n_unique() == 3


def test_nothing_new_makes_no_shard() -> None:
    empty = into_shards(_files(), 2, 3)
    assert (empty.height, empty.schema["shard"]) == (0, pl.String)


def test_a_shard_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="not 0"):
        into_shards(_files("a"), 0, 0)


def test_same_members_have_the_same_name_in_any_order() -> None:
    assert {shard_name(3, _files(*order)) for order in itertools.permutations("abc")} == {shard_name(3, _files(*"abc"))}
    assert shard_name(3, _files("a")) == "shard-00003-65506ba6", "names are for ever: a store holds them"


def test_other_members_have_another_name() -> None:
    others = [_files("a"), _files("b"), _files("a", "b"), _files("ab"), _files("a", root="/s"), _files("r/a", root="/")]
    others += [_files("").with_columns(released_id=pl.lit(name)) for name in ("x", "y")]
    assert len({shard_name(0, members) for members in others}) == len(others)
