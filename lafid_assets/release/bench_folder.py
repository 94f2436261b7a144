"""Where benches lie in the store, and which of them is the dataset's.

Belongs here: paths, writing a bench into the store, reading it out, removing earlier ones. Not here: what is in it
(`model.evaluation.bench`), making it (`bench_building`).
"""

from collections.abc import Mapping
from pathlib import Path

from lafid_assets.schemas.bench import LAFID_BENCH
from model.evaluation.bench import BENCH_FILE, Bench, BenchError, bench_files, parse_bench, write_bench
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.store.file_store import FileStore

FOLDER = "benches"


def current_bench(reader: Reader) -> str | None:
    """The version of the dataset's bench; None where none was made yet, or the test split gives no case."""
    rows = reader.sql(f"SELECT DISTINCT bench_version FROM {LAFID_BENCH.name} WHERE bench_version IS NOT NULL")
    return str(rows.item(0, 0)) if rows.height else None


def folder_of(version: str) -> str:
    """The folder of a version in the store."""
    return f"{FOLDER}/{version}"


def put_bench(store: FileStore, bench: Bench, pictures: Mapping[str, bytes]) -> None:
    """Into the store, unless it lies there whole: last comes the file that makes it a bench."""
    folder = folder_of(bench.version)
    if not is_whole(store, bench.version):
        for path, content in bench_files(bench, pictures):
            store.write_bytes(f"{folder}/{path}", content)


def is_whole(store: FileStore, version: str) -> bool:
    """Whether the bench lies in the store with all its pictures."""
    folder = folder_of(version)
    there = set(store.list_tree(folder))
    if f"{folder}/{BENCH_FILE}" not in there:
        return False
    return {f"{folder}/{path}" for path in stored_bench(store, version).pictures} <= there


def stored_bench(store: FileStore, version: str) -> Bench:
    """The bench, read from the store.

    Raises:
        StoreUnusable: it is not there.
        BenchError: what is there is none.
    """
    path = f"{folder_of(version)}/{BENCH_FILE}"
    return parse_bench(store.read_bytes(path), f"{store.uri}/{path}")


def drop_superseded(lake: Lake, *, dry_run: bool = False) -> dict[str, int]:
    """Remove the benches that are not the dataset's, on which nothing is judged any more; none where the dataset has none.

    Returns:
        folder below the store to the bytes that this frees there.
    """
    with lake.snapshot() as reader:
        current = current_bench(reader)
    freed: dict[str, int] = {}
    for path, size in lake.store.sizes(FOLDER).items() if current is not None else ():
        version = path.split("/")[1]
        if version != current:
            freed[folder_of(version)] = freed.get(folder_of(version), 0) + size
    for folder in () if dry_run else freed:
        lake.store.remove(folder)
    return freed


def copy_bench(store: FileStore, version: str, to: Path) -> Bench:
    """A bench of the store as a plain folder.

    Raises:
        BenchError: there is something at `to` already.
        StoreUnusable: a file of it is missing.
    """
    if to.exists():
        raise BenchError(f"{to} is there already: name a folder that is not")
    bench = stored_bench(store, version)
    write_bench(to, bench, {path: store.read_bytes(f"{folder_of(version)}/{path}") for path in bench.pictures})
    return bench
