"""The four forms in which a version leaves: which files there are, how one is written, how it is counted again.

Belongs here: csv, parquet, webdataset, hf. Not here: which rows go (`licences`), what a row holds (`samples`), resuming
(`export`).

csv, parquet: one table in the released-list form. webdataset: tar shards a split; a sample is `<clip>.mp4`, `<clip>.txt`
(caption), `<clip>.json` (facts) and `<clip>.<k>.face.png`, `<clip>.<k>.head.png`; byte for byte the same from the same rows. hf:
a folder for `datasets.load_dataset(DEST)`: Parquet shards a split with the clip and its pictures as {bytes, path}, which
`cast_column("video", datasets.Video())` turns into its own type, and a README that names the splits.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lafid_assets.dataset.export.samples import FLAT, file_name, read_clip, read_pictures
from resources.store.file_store import FileStore

TABLE_NAME = "lafid_dataset"
CARD = "README.md"
CLIPS_A_ROW_GROUP = 16
_FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, eq=False)
class Part:
    """One file of an export.

    Attributes:
        path: relative to the destination.
        split: of its clips; None where they are of several.
        clips: their ids, sorted.
    """

    path: str
    split: str | None
    clips: pl.Series


class Page(NamedTuple):
    """Some clips of a part, as many as are read at once.

    Attributes:
        released: rows as `samples.to_release` gives them.
        rows: the same clips as they stand in `lafid_dataset`, in the same order.
    """

    released: pl.DataFrame
    rows: pl.DataFrame


Pages = Iterable[Page]


@dataclass(frozen=True)
class ExportFormat:
    """How to write a part to a path, page by page, and how many clips one says that it holds."""

    suffix: str
    sharded: bool
    write: Callable[[Pages, Path, FileStore], None]
    count: Callable[[Path], int]
    pattern: str = "{split}-{number:06d}"


def plan(form: ExportFormat, clips: pl.DataFrame, clips_per_shard: int) -> list[Part]:
    """Which files the export consists of. `clips`: `clip_id` and `split`, sorted by clip."""
    if not form.sharded:
        return [Part(f"{TABLE_NAME}{form.suffix}", None, clips["clip_id"])]
    parts = []
    for split in sorted(clips["split"].unique()):
        chosen = clips.filter(split=split)["clip_id"]
        for number, offset in enumerate(range(0, len(chosen), clips_per_shard)):
            name = form.pattern.format(split=split, number=number)
            parts.append(Part(name + form.suffix, split, chosen.slice(offset, clips_per_shard)))
    return parts


def dataset_card(parts: Iterable[Part], licences: Iterable[str], model_licences: Iterable[str], version: str) -> str:
    """The README of an hf folder: its splits, in the form that `datasets` reads."""
    splits = sorted({part.split for part in parts if part.split is not None})
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    return (
        f"---\nlicense: other\nlicense_name: {json.dumps(', '.join(licences))}\nconfigs:\n- config_name: default\n"
        f"  data_files:\n{files}---\n\n# LaFID dataset {version}\n\nClips of turning heads with captions, reference faces and "
        'their angles. The column `video` holds `{bytes, path}`; `dataset.cast_column("video", datasets.Video())` decodes it, by '
        f"torchcodec.\n\nMeasured by: {'; '.join(model_licences) or 'nothing'}. Their terms bind whoever uses the measures.\n"
    )


def _write_csv(pages: Pages, target: Path, _: FileStore) -> None:
    with target.open("wb") as stream:
        for number, page in enumerate(pages):
            page.released.select(FLAT).write_csv(stream, include_header=number == 0)


def _write_parquet(pages: Pages, target: Path, _: FileStore) -> None:
    _write_tables((page.released.to_arrow() for page in pages), target, "zstd")


def _write_tables(tables: Iterable[pa.Table], target: Path, compression: str) -> None:
    """A row group each; there is at least one."""
    writer: pq.ParquetWriter | None = None
    with ExitStack() as stack:
        for table in tables:
            writer = writer or stack.enter_context(pq.ParquetWriter(target, table.schema, compression=compression))
            writer.write_table(table)


def _write_tar(pages: Pages, target: Path, store: FileStore) -> None:
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for released, row in _pairs(pages):
            name = file_name(row["clip_id"])
            suffix, clip = read_clip(row)
            _add(archive, f"{name}{suffix}", clip)
            _add(archive, f"{name}.txt", (released["caption"] or "").encode())
            _add(archive, f"{name}.json", json.dumps(released, sort_keys=True).encode())
            for index, kind, png in read_pictures(row, store):
                _add(archive, f"{name}.{index}.{kind}.png", png)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, owner and mode stay at their constants
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _write_rows(pages: Pages, target: Path, store: FileStore) -> None:
    _write_tables(_row_groups(pages, store), target, "none")


def _row_groups(pages: Pages, store: FileStore) -> Iterator[pa.Table]:
    pictures = pa.list_(pa.struct([("reference_index", pa.int16()), ("kind", pa.string()), ("image", _FILE)]))
    for page in pages:
        schema = pa.schema([*page.released.head(0).to_arrow().schema, ("video", _FILE), ("reference_pictures", pictures)])
        for offset in range(0, page.rows.height, CLIPS_A_ROW_GROUP):
            group = Page(*(frame.slice(offset, CLIPS_A_ROW_GROUP) for frame in page))
            files = [_with_files(released, row, store) for released, row in _pairs([group])]
            yield pa.Table.from_pylist(files, schema=schema)


def _with_files(released: dict[str, Any], row: Mapping[str, Any], store: FileStore) -> dict[str, Any]:
    name = file_name(row["clip_id"])
    suffix, clip = read_clip(row)
    pictures = [
        {"reference_index": index, "kind": kind, "image": {"bytes": png, "path": f"{name}.{index}.{kind}.png"}}
        for index, kind, png in read_pictures(row, store)
    ]
    return released | {"video": {"bytes": clip, "path": f"{name}{suffix}"}, "reference_pictures": pictures}


def _pairs(pages: Pages) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for page in pages:
        yield from zip(page.released.iter_rows(named=True), page.rows.iter_rows(named=True), strict=True)


def _count_csv(path: Path) -> int:
    return pl.read_csv(path, infer_schema=False).height


def _count_parquet(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def _count_tar(path: Path) -> int:
    with tarfile.open(path) as archive:
        return sum(name.endswith(".json") for name in archive.getnames())


FORMATS = {
    "parquet": ExportFormat(".parquet", False, _write_parquet, _count_parquet),
    "csv": ExportFormat(".csv", False, _write_csv, _count_csv),
    "webdataset": ExportFormat(".tar", True, _write_tar, _count_tar),
    "hf": ExportFormat(".parquet", True, _write_rows, _count_parquet, "data/{split}-{number:05d}"),
}
