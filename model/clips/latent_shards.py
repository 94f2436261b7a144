"""Shards: content-addressed tensors, many to a safetensors file.

Belongs here: parts by key in files of bounded size, whole or not at all; reading them memory-mapped; taking parts out again.
Not here: what a part is and what its key depends on (whoever writes), which clip has which parts (`clip_list`).

A tensor of a part is named `<key>/<name>` in its shard. The index is the shards' headers: no other file has to agree with them.
A shard is named after the keys that it was written with, and keeps its name when some of its parts are taken out.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.files import whole_file

MOST_BYTES = 256 << 20
MOST_PARTS = 4096
MOST_SECONDS = 300.0
_OPEN_SHARDS = 64

Tensors = Mapping[str, torch.Tensor]


class ShardTorn(ValueError):
    """A shard is missing, torn, or lacks a part; the message names it and the remedy."""


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a folder of shards.

    Attributes:
        places: key of a part to the name of its shard.
        torn: names of the files that are no readable shards.
    """

    places: dict[str, str]
    torn: tuple[str, ...]


def read_index(folder: Path) -> ShardIndex:
    """Every shard's header; a file that does not end where its header says counts as torn."""
    places: dict[str, str] = {}
    torn = []
    for path in sorted(folder.glob("[!.]*.safetensors")):
        try:
            places |= dict.fromkeys(keys_of(path), path.name)
        except ShardTorn:
            torn.append(path.name)
    return ShardIndex(places, tuple(torn))


def keys_of(path: Path) -> set[str]:
    """Keys of the parts in one shard.

    Raises:
        ShardTorn: it cannot be read.
    """
    with _opened(path) as file:
        return {name.partition("/")[0] for name in file.keys()}  # noqa: SIM118


class ShardWriter:
    """Adds parts to a folder of shards; parts that are there already, under the same key, are not written again.

    A shard is closed when it holds `most_bytes` or `most_parts`, or when its first part has waited `most_seconds`: a kill loses
    no more than that. Leaving the block closes the last one, on an error too.

    Args:
        folder: made when it is not there.
    """

    def __init__(
        self, folder: Path, most_bytes: int = MOST_BYTES, most_parts: int = MOST_PARTS, most_seconds: float = MOST_SECONDS
    ) -> None:
        self.folder = folder
        self._most_bytes, self._most_parts, self._most_seconds = most_bytes, most_parts, most_seconds
        index = read_index(folder)
        self.torn = index.torn
        self._places = index.places
        self._open: dict[str, dict[str, torch.Tensor]] = {}
        self._bytes, self._since = 0, 0.0
        self.written_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close_shard()

    def __contains__(self, key: str) -> bool:
        return key in self._places or key in self._open

    def place(self, key: str) -> str:
        """Name of the shard in which a part lies; known once the shard is closed."""
        return self._places[key]

    def add(self, key: str, tensors: Tensors) -> None:
        """One part; what it takes is known to the caller alone."""
        if key in self:
            return
        if not self._open:
            self._since = time.monotonic()
        self._open[key] = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        size = sum(tensor.nbytes for tensor in self._open[key].values())
        self._bytes += size
        self.written_bytes += size
        waited_s = time.monotonic() - self._since
        if self._bytes >= self._most_bytes or len(self._open) >= self._most_parts or waited_s >= self._most_seconds:
            self.close_shard()

    def close_shard(self) -> None:
        """Writes what is waiting, if anything is."""
        if not self._open:
            return
        name = hashlib.sha256("\n".join(sorted(self._open)).encode()).hexdigest()[:32] + ".safetensors"
        _write(self.folder / name, self._open)
        self._places |= dict.fromkeys(self._open, name)
        self._open, self._bytes = {}, 0


class ShardReader:
    """Reads parts out of a folder of shards; the files stay memory-mapped, the newest few of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shard = lru_cache(maxsize=_OPEN_SHARDS)(self._open_shard)

    def read(self, shard: str, key: str, name: str, rows: Sequence[int] | None = None) -> torch.Tensor:
        """One tensor of a part, or of its first dimension only some rows.

        Raises:
            ShardTorn: the shard cannot be read, or holds no such tensor.
        """
        with self._naming(shard) as (file, _):
            if rows is None:
                return file.get_tensor(f"{key}/{name}")
            part = file.get_slice(f"{key}/{name}")
            return torch.cat([part[row : row + 1] for row in rows])

    def holds(self, shard: str, key: str, name: str) -> bool:
        """Whether a part has a tensor of that name.

        Raises:
            ShardTorn: the shard cannot be read.
        """
        with self._naming(shard) as (_, names):
            return f"{key}/{name}" in names

    @contextmanager
    def _naming(self, shard: str) -> Iterator[tuple[Any, frozenset[str]]]:
        try:
            yield self._shard(shard)
        except (OSError, SafetensorError) as error:
            raise _torn(self.folder / shard, error) from error

    def _open_shard(self, shard: str) -> tuple[Any, frozenset[str]]:
        file = safe_open(self.folder / shard, framework="pt")
        return file, frozenset(file.keys())


def drop_parts(folder: Path, unwanted: Callable[[str], bool], *, dry_run: bool = False) -> dict[str, int]:
    """Takes out of every shard the parts whose key is `unwanted`, and removes shards of which nothing is left.

    A torn shard is removed: no part of it can be read.

    Returns:
        name of each shard that changed (in a dry run: would change) to the bytes that this frees.
    """
    freed: dict[str, int] = {}
    for path in sorted(folder.glob("[!.]*.safetensors")):
        size = path.stat().st_size
        try:
            kept = _read_all(path, lambda key: not unwanted(key))
        except ShardTorn:
            kept = {}
        else:
            if len(kept) == len(keys_of(path)):
                continue
        freed[path.name] = size - sum(tensor.nbytes for part in kept.values() for tensor in part.values())
        if not dry_run and kept:
            _write(path, kept)
        elif not dry_run:
            path.unlink()
    return freed


def _read_all(path: Path, wanted: Callable[[str], bool]) -> dict[str, dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = {}
    with _opened(path) as file:
        for full in file.keys():  # noqa: SIM118
            key, _, name = full.partition("/")
            if wanted(key):
                parts.setdefault(key, {})[name] = file.get_tensor(full)
    return parts


def _write(path: Path, parts: Mapping[str, Tensors]) -> None:
    tensors = {f"{key}/{name}": tensor for key, part in parts.items() for name, tensor in part.items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise _torn(path, error) from error


def _torn(path: Path, error: object) -> ShardTorn:
    return ShardTorn(
        f"{path} is no readable shard of latents ({error}): materialize training_latents again, which encodes just what is lost"
    )
