"""Small lakes of both kinds, and other processes that work on them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.lake.lake import Lake
from tests.resources.small_lake import open_small_lake, rows

PREAMBLE = """
import os, random, signal, sys, threading, time
from pathlib import Path
from tests.resources.small_lake import open_small_lake, rows
home, address, *arguments = sys.argv[1:]
lake = open_small_lake(Path(home), address)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    """Of a catalog: nothing for the file in the store, or Postgres."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else ""


@pytest.fixture
def small_lake(tmp_path: Path, address: str) -> Iterator[Lake]:
    lake = open_small_lake(tmp_path / "home", address)
    yield lake
    lake.close()


@pytest.fixture
def open_lake_at() -> Iterator[Callable[..., Lake]]:
    """A lake at a home, the address of a catalog, and a store."""
    lakes: list[Lake] = []

    def open_it(*arguments: Any, **options: Any) -> Lake:
        lakes.append(open_small_lake(*arguments, **options))
        return lakes[-1]

    yield open_it
    for lake in lakes:
        lake.close()


@pytest.fixture
def rows_of() -> Callable[..., dict[str, pl.DataFrame]]:
    return rows


@pytest.fixture
def elsewhere(tmp_path: Path, address: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts another process with `lake` and `arguments`, whose program is given."""
    started: list[Any] = []

    def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PREAMBLE + program, str(tmp_path / "home"), address, *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
