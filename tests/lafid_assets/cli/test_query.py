"""`lafid query`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.lake import open_lake
from lafid_assets.schemas import RAW_CLIPS
from resources.settings import Settings

RowOf = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def _curated_home(_empty_home: Path, lay_clips: Any, row_of: RowOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copying it is cheaper than putting its rows."""
    home = tmp_path_factory.mktemp("asked") / "home"
    shutil.copytree(_empty_home, home)
    rows = [row_of(RAW_CLIPS, clip_id=f"{n:03}", caption=f"clip {n}", path=f"{n:03}", clip_root="/x") for n in range(150)]
    with closing(open_lake(Settings(home=home, store_uri=str(home / "store")))) as lake:
        lay_clips(lake, RAW_CLIPS.frame(rows), "x")
    return home


@pytest.fixture
def curated(_curated_home: Path, home: Path) -> None:
    """150 clips in `home`."""
    shutil.copytree(_curated_home, home)


def test_table_shows_the_first_rows_and_says_so(lafid: Any, curated: None) -> None:
    out = lafid("query", "SELECT clip_id, caption FROM raw_clips ORDER BY clip_id").out
    assert "clip 99" in out
    assert "clip 100" not in out
    assert "the first 100 of 150 rows" in out


def test_csv_and_json_give_all_rows(lafid: Any, curated: None) -> None:
    sql = "SELECT count(*) AS clips, min(caption) AS first FROM raw_clips"
    assert lafid("query", sql, "--csv").out == "clips,first\n150,clip 0\n"
    assert json.loads(lafid("query", sql, "--json").out) == [{"clips": 150, "first": "clip 0"}]
    assert len(json.loads(lafid("query", "SELECT clip_id FROM raw_clips", "--json").out)) == 150


def test_rows_too_wide_for_the_screen_are_shown_a_line_a_column(lafid: Any, publish: Any, row_of: RowOf) -> None:
    publish({"raw_clips": RAW_CLIPS.frame([row_of(RAW_CLIPS, clip_id=letter * 32) for letter in "ab"])})
    lines = [" ".join(line.split()) for line in lafid("query", "FROM raw_clips ORDER BY clip_id").out.splitlines()]
    assert [line for line in lines if line.startswith("row ")] == ["row 1", "row 2"]
    assert f"│ clip_id │ {'b' * 32} │" in lines


def test_brackets_are_no_markup(lafid: Any, curated: None) -> None:
    out = lafid("query", "SELECT '[music] he says [/b] hello' AS \"[a]\"").out
    assert "[music] he says [/b] hello" in out
    assert "[a]" in out


def test_control_characters_cost_no_letter_beside_them(lafid: Any, curated: None) -> None:
    assert "a?[31mred │" in lafid("query", "SELECT 'a' || chr(27) || '[31mred' AS words").out


@pytest.mark.parametrize("sql", ["SELECT nothing FROM raw_clips", "nonsense"])
def test_what_cannot_be_answered_is_one_line_that_names_the_tables(lafid: Any, curated: None, sql: str) -> None:
    error = lafid("query", sql).error
    assert " raw_clips," in error
    assert " face_embeddings," in error


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM raw_clips",
        "DELETE FROM clips",
        "COMMIT; DELETE FROM clips",
        "DROP TABLE clips",
        "INSERT INTO clips SELECT * FROM clips",
        "CREATE TABLE mine AS SELECT 1",
        "UPDATE partitions SET token = 9",
    ],
)
def test_nothing_can_be_changed(lafid: Any, curated: None, sql: str) -> None:
    assert lafid("query", sql).code == 1
    assert json.loads(lafid("query", "SELECT count(*) AS n FROM raw_clips", "--json").out) == [{"n": 150}]


def test_the_catalogs_own_tables_cannot_be_changed_either(lafid: Any, curated: None) -> None:
    [row] = json.loads(lafid("query", "SELECT current_database() AS name", "--json").out)
    following = int(row["name"].removeprefix("lake_")) + 1  # every opening in this process has a name of its own
    assert "read-only" in lafid("query", f"DELETE FROM __ducklake_metadata_lake_{following}.ducklake_data_file").error


def test_a_question_mark_is_a_letter(lafid: Any, curated: None) -> None:
    assert json.loads(lafid("query", "SELECT 'who?' AS q", "--json").out) == [{"q": "who?"}]


WRITER = """
import sys, time
from pathlib import Path
from lafid_assets.lake import open_lake
from resources.settings import Settings

home = Path(sys.argv[1])

def change(writer):
    writer.cursor.execute("DELETE FROM clips")
    print("writing", flush=True)
    time.sleep(3600)

open_lake(Settings(home=home, store_uri=str(home / "store"))).commit(change)
"""


def test_a_writer_at_work_and_one_that_was_killed_hold_no_question_up(lafid: Any, curated: None, home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        sql = "SELECT count(*) AS n FROM raw_clips"
        assert json.loads(lafid("query", sql, "--json").out) == [{"n": 150}]
        writer.kill()
    assert json.loads(lafid("query", sql, "--json").out) == [{"n": 150}]
