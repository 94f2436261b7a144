"""A run's clip list: one Parquet file that names every clip, its split, its bucket, how its views are turned, and its parts.

Belongs here: that file, written and read. Not here: the parts themselves (`latent_shards`), what training makes of them
(`clip_set`).

The file lies beside the folder `shards` and names shards by their paths below it, so that both can be moved together.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from model.clip_size import Bucket
from model.encoding.head_mask import OVAL, MaskInfo
from model.files import whole_file
from model.strict import StrictModel

SHARDS = "shards"
"""Folder of the shards, beside the clip list."""

_BUCKET = tuple(Bucket._fields)


class DataError(ValueError):
    """Cached clips are missing, torn, or do not belong together."""


class ClipMeta(StrictModel):
    """What is known of a clip beside its tensors."""

    clip_id: str
    caption: str
    bucket: Bucket = Field(description="frames, height and width that were encoded")
    fps: float = Field(gt=0, description="frames a second of the cached frames")
    face_engine: str = Field(description="name of the engine that gave the identity embedding")
    face_engine_version: str
    identity_id: str | None = Field(None, description="the person; None: somebody who is in no other clip")
    base_sha256: str = Field(description="the base whose encoders were used")
    encoders_fingerprint: str
    mask: str = Field(OVAL, description="what cut its reference heads out")
    mask_sha256: str | None = Field(None, description="of that network's weights; None of the oval")

    @property
    def head_mask(self) -> MaskInfo:
        """What cut its reference heads out."""
        return MaskInfo(name=self.mask, sha256=self.mask_sha256)

    @property
    def person(self) -> str:
        """The person it shows, as far as is known."""
        return self.identity_id or f"clip {self.clip_id}"


class Place(NamedTuple):
    """Where a part lies."""

    key: str
    shard: str


@dataclass(frozen=True)
class ClipEntry:
    """One clip of a list.

    Attributes:
        parts: by what they are of it ("video", "text", ...).
        angles_deg: (V, 3) yaw, pitch, roll of its face's views, in float32: the spread ones, and last that of its first frame.
    """

    meta: ClipMeta
    split: str
    parts: Mapping[str, Place]
    angles_deg: Sequence[Sequence[float]]


_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("split", pa.string()),
        ("caption", pa.string()),
        *((name, pa.int32()) for name in _BUCKET),
        ("fps", pa.float64()),
        ("face_engine", pa.string()),
        ("face_engine_version", pa.string()),
        ("identity_id", pa.string()),
        ("base_sha256", pa.string()),
        ("encoders_fingerprint", pa.string()),
        ("mask", pa.string()),
        ("mask_sha256", pa.string()),
        ("angles_deg", pa.list_(pa.list_(pa.float32()))),
        ("parts", pa.list_(pa.struct([("part", pa.string()), ("key", pa.string()), ("shard", pa.string())]))),
    ]
)


def write_clip_list(path: Path, entries: Iterable[ClipEntry]) -> None:
    """Whole or not at all, in the order of the clips' ids."""
    rows = [
        entry.meta.model_dump(exclude={"bucket"})
        | entry.meta.bucket._asdict()
        | {"split": entry.split, "angles_deg": entry.angles_deg}
        | {"parts": [{"part": part} | place._asdict() for part, place in sorted(entry.parts.items())]}
        for entry in sorted(entries, key=lambda entry: entry.meta.clip_id)
    ]
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), temporary, compression="zstd")


class ClipList:
    """The clips of one split, in the file's order; in memory as columns, not as objects.

    Raises:
        DataError: the file is missing, no clip list, or one of an earlier version.
    """

    def __init__(self, path: Path, split: str) -> None:
        try:
            lacking = sorted(set(_SCHEMA.names) - set(pq.read_schema(path).names))
            table = pq.read_table(path, schema=_SCHEMA, filters=[("split", "=", split)])
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is no readable list of clips ({error}): start the training again, which writes it"
            ) from error
        if lacking:
            raise DataError(
                f"{path} is a list of an earlier version, without {', '.join(lacking)}: start the training again, which writes it"
            )
        self._table = table.combine_chunks()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> list[str]:
        """One column, in order."""
        values: list[str] = self._table.column(name).to_pylist()
        return values

    def odd_one(self, name: str) -> int | None:
        """The first clip whose value in a column is not the first clip's; None where all are alike."""
        values = pc.fill_null(self._table.column(name), "none")
        different = pc.not_equal(values, values[0])
        found = int(pc.index(different, True).as_py())
        return None if found < 0 else found

    def buckets(self) -> list[Bucket]:
        """Every clip's bucket, in order."""
        return [Bucket(*sizes) for sizes in zip(*(self._table.column(name).to_pylist() for name in _BUCKET), strict=True)]

    def view_angles_deg(self) -> list[NDArray[np.float32]]:
        """Every clip's `ClipEntry.angles_deg`, in order; views of the column's own memory."""
        column = self._table.column("angles_deg")
        flat = pc.list_flatten(pc.list_flatten(column)).to_numpy().reshape(-1, 3)
        ends = np.cumsum(pc.list_value_length(column).to_numpy())
        return np.split(flat, ends[:-1])

    def entries(self, indices: Sequence[int]) -> list[ClipEntry]:
        """Some clips; at once they cost a fraction of what they cost one by one."""
        return [_entry(row) for row in self._table.take(list(indices)).to_pylist()]

    def digest(self) -> str:
        """Over all that training reads: ids, persons, sizes, poses and the keys of the parts, but not where they lie."""
        digest = hashlib.sha256()
        for batch in self._table.select(["clip_id", "identity_id", *_BUCKET, "fps", "angles_deg", "parts"]).to_batches(1024):
            for row in batch.to_pylist():
                row["parts"] = [[part["part"], part["key"]] for part in row["parts"]]
                digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()


def _entry(row: dict[str, Any]) -> ClipEntry:
    parts = {part["part"]: Place(part["key"], part["shard"]) for part in row.pop("parts")}
    split, angles_deg = row.pop("split"), row.pop("angles_deg")
    bucket = Bucket(*(row.pop(name) for name in _BUCKET))
    return ClipEntry(ClipMeta(**row, bucket=bucket), split, parts, angles_deg)
