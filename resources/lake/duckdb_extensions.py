"""How DuckDB and its extensions are loaded: the one place that knows.

Belongs here: opening a DuckDB that can read and write the lake, values as SQL. Not here: the lake itself (`lake`).

The extensions are DuckDB's own builds, carried by packages of the same version. They are loaded from where the package manager
put them, with DuckDB's signature check on; nothing is downloaded and nothing is written into the user's home.
"""

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb


class ExtensionUnusable(OSError):
    """An extension of DuckDB is missing or is none; the message names it and the remedy."""


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def bound(query: str, parameters: Sequence[Any]) -> str:
    """The statement with a literal in the place of every `?`; without values as it is, for texts in it may ask something, too.

    DuckDB's own binding imports pandas when it sees its first Python value: more than a second of a command's start.

    Raises:
        ValueError: there are more or fewer values than question marks.
    """
    if not parameters:
        return query
    pieces = query.split("?")
    if len(pieces) != len(parameters) + 1:
        raise ValueError(f"{len(parameters)} values for {len(pieces) - 1} question marks in {query}")
    return pieces[0] + "".join(literal(value) + piece for value, piece in zip(parameters, pieces[1:], strict=True))


def literal(value: Any) -> str:
    """A value of Python as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"{type(value).__name__} is no value of SQL")


_opened: dict[int, duckdb.DuckDBPyConnection] = {}
_loaded: set[tuple[int, str]] = set()
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": 1,
    # For it DuckLake asks the catalog for the statistics of every column, which costs a read of one shard more than all else.
    "disabled_optimizers": "statistics_propagation",
}


@dataclass
class _Cores:
    """The threads of one process's DuckDB, and how many use them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 1
    users: int = 0


_cores: dict[int, _Cores] = {}


def duckdb_cursor(extensions: Iterable[str]) -> duckdb.DuckDBPyConnection:
    """A cursor of this process's one DuckDB, with these extensions loaded: loading costs a third of a second each time.

    A DuckDB does not live through a fork: a child opens its own.

    Args:
        extensions: by DuckDB's names, such as `ducklake`.

    Raises:
        ExtensionUnusable: one is not installed, or is not the build that DuckDB signed.
    """
    process = os.getpid()
    if process not in _opened:
        # Otherwise what does not fit into memory goes to `.tmp` in the folder where the command was given.
        spills = Path(tempfile.gettempdir()) / f"lafid-duckdb-{process}"
        connection = duckdb.connect(config=SETTINGS | {"temp_directory": str(spills)})
        connection.execute("SET enable_progress_bar = false")  # it is written to standard output
        _opened.setdefault(process, connection)  # another thread may have been quicker
    for name in extensions:
        if (process, name) not in _loaded:
            _load(_opened[process], name)
            _loaded.add((process, name))
    return _opened[process].cursor()


@contextmanager
def cores(cursor: duckdb.DuckDBPyConnection, count: int) -> Iterator[None]:
    """So many for what is asked inside, and by whoever comes meanwhile: the number is the process's.

    It changes only while nobody else uses them. DuckDB ends its surplus threads then, and would hang for ever when one of them
    works for another connection, which waits for the same.
    """
    mine = _cores.setdefault(os.getpid(), _Cores())
    with mine.lock:
        if not mine.users and mine.count != count:
            cursor.execute(f"SET threads = {count}")
            mine.count = count
        mine.users += 1
    try:
        yield
    finally:
        with mine.lock:
            mine.users -= 1


def _load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    package = f"duckdb_extension_{name}"
    try:
        path = files(package) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.execute(f"LOAD {quoted(str(path))}")
    except (ModuleNotFoundError, duckdb.Error) as error:
        raise ExtensionUnusable(
            f"DuckDB {duckdb.__version__} cannot load its extension {name} ({error}): "
            f"install {package.replace('_', '-')}=={duckdb.__version__}"
        ) from error
