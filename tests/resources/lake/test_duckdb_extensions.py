"""DuckDB and its extensions: signed builds only, loaded from where they lie; values as SQL."""

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import duckdb
import pytest

from resources.lake import duckdb_extensions as module
from resources.lake.duckdb_extensions import ExtensionUnusable, bound, cores, duckdb_cursor, literal
from resources.settings import PROJECT_ROOT

LOAD_ALL = """
from resources.lake.duckdb_extensions import duckdb_cursor
cursor = duckdb_cursor(["ducklake", "sqlite_scanner", "postgres_scanner", "httpfs"])
cursor.execute("SELECT 42")
try:
    cursor.execute("LOAD spatial")
except Exception as error:
    print(type(error).__name__)
"""


def test_nothing_is_written_into_the_users_home_and_nothing_is_downloaded(tmp_path: Path) -> None:
    home = tmp_path / "user"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "IOException\n"
    assert list(home.rglob("*")) == []


SPILL = """
from resources.lake.duckdb_extensions import duckdb_cursor
cursor = duckdb_cursor([])
cursor.execute("SET memory_limit = '60MB'")
cursor.execute("CREATE TABLE memory.large AS SELECT range AS n, sha256(range::VARCHAR) AS text FROM range(2_000_000)")
[(path, size)] = cursor.execute("SELECT path, size FROM duckdb_temporary_files() LIMIT 1").fetchall()
print(path)
"""


def test_what_does_not_fit_into_memory_goes_to_the_systems_temporary_folder(tmp_path: Path) -> None:
    command, temporary = [sys.executable, "-c", SPILL], tmp_path / "temporary"
    temporary.mkdir()
    place = {"cwd": tmp_path, "env": os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(PROJECT_ROOT)}}
    done = subprocess.run(command, **place, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{temporary}/lafid-duckdb-")
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"], "and is gone afterwards"


def test_copy_with_one_changed_bit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Path("extensions") / f"v{duckdb.__version__}" / "sqlite_scanner.duckdb_extension"
    content = bytearray((files("duckdb_extension_sqlite_scanner") / str(inside)).read_bytes())
    copy = tmp_path / inside
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    module._load(duckdb.connect(), "sqlite_scanner")
    content[len(content) // 2] ^= 1
    shutil.rmtree(tmp_path / "extensions")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    with pytest.raises(ExtensionUnusable, match=r"cannot load its extension sqlite_scanner .*signature"):
        module._load(duckdb.connect(), "sqlite_scanner")


def test_missing_extension_is_named_with_its_package() -> None:
    with pytest.raises(ExtensionUnusable, match=rf"install duckdb-extension-nothing=={duckdb.__version__}"):
        duckdb_cursor(["nothing"])


def test_cursors_are_of_one_database() -> None:
    duckdb_cursor([]).execute("CREATE OR REPLACE TABLE memory.shared AS SELECT 1 AS n")
    assert duckdb_cursor([]).execute("FROM memory.shared").fetchall() == [(1,)]
    duckdb_cursor([]).execute("DROP TABLE memory.shared")


VALUES = ["it's", "", "?", None, True, False, 3, -1.5, ["a", "b'"], []]


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back(value: object) -> None:
    assert duckdb_cursor([]).execute(f"SELECT {literal(value)}").fetchone() == (value,)


def test_values_take_the_places_of_question_marks() -> None:
    assert duckdb_cursor([]).execute(bound("SELECT ?, ?", ["a?", 2])).fetchone() == ("a?", 2)
    assert duckdb_cursor([]).execute(bound("SELECT 'who?'", [])).fetchone() == ("who?",), "a caption in a statement"
    with pytest.raises(ValueError, match="1 values for 2 question marks"):
        bound("SELECT ?, ?", [1])
    with pytest.raises(TypeError, match="object is no value of SQL"):
        literal(object())


def test_the_number_of_threads_changes_only_while_nobody_uses_them() -> None:
    """DuckDB ends surplus threads in the middle of what others ask, and hangs for ever where that is of a lake."""
    cursor = duckdb_cursor([])

    def threads() -> int:
        return int(cursor.execute("SELECT current_setting('threads')").fetchall()[0][0])

    with cores(cursor, 1):
        assert threads() == 1
        with cores(cursor, 3):
            assert threads() == 1
    with cores(cursor, 3), cores(cursor, 1):
        assert threads() == 3
    with cores(cursor, 1):
        assert threads() == 1
