"""Shards: content-addressed tensors, many to a safetensors file.

Belongs here: parts by key in files, whole or not at all; reading them memory-mapped; taking parts out again. Not here: what a
part is, what its key depends on and which parts share a file (whoever writes), which clip has which parts (`clip_list`).

A tensor of a part is named `<key>/<name>` in its shard. The index is the shards' headers: no other file has to agree with them.
A shard is named after the keys that it was written with, so that equal parts make equal files whoever writes them, and keeps its
name when some of its parts are taken out. Shards lie in folders below one root; a shard's name is its path below that.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_OPEN_SHARDS = 64
_HEADER_BYTES = 256 << 10
"""Are read at once: of most shards the whole header."""
_LENGTH_BYTES = 8
_SUFFIX = ".safetensors"

Tensors = Mapping[str, torch.Tensor]


class ShardTorn(ValueError):
    """A shard is missing, torn, or lacks a part; the message names it and the remedy."""


class ShardFiles(Protocol):
    """Where shards lie: on this disk, or in an object store, of which no more is read than is asked for."""

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Paths of all files below a folder to their sizes in bytes."""
        ...

    def opened(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A file to read parts of."""
        ...

    def fetch(self, path: str) -> Path:
        """The whole file on this disk."""
        ...

    def writing(self, path: str) -> AbstractContextManager[Path]:
        """A path on this disk to write to, for a file that appears whole or not at all."""
        ...

    def remove(self, path: str) -> None:
        """Removes a file."""
        ...


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a folder of shards.

    Attributes:
        places: key of a part to the name of its shard.
        torn: names of the files that are no readable shards.
    """

    places: dict[str, str]
    torn: tuple[str, ...]


def read_index(files: ShardFiles, root: str, folder: str = "") -> ShardIndex:
    """The header of every shard below a folder of `root`; a file that does not end where its header says counts as torn."""
    places: dict[str, str] = {}
    torn = []
    for path, size in files.sizes(f"{root}/{folder}" if folder else root).items():
        if not _is_shard(path):
            continue
        name = path.removeprefix(f"{root}/")
        try:
            with files.opened(path) as file:
                places |= dict.fromkeys(part_bytes_in(file, size, path), name)
        except ShardTorn:
            torn.append(name)
    return ShardIndex(places, tuple(torn))


def part_bytes_in(file: IO[bytes], size_bytes: int, name: str) -> dict[str, int]:
    """Keys of the parts in one shard to the bytes of their tensors, read from its header.

    Raises:
        ShardTorn: it is none, or does not end where its header says.
    """
    begin = file.read(_HEADER_BYTES)
    end = _LENGTH_BYTES + int.from_bytes(begin[:_LENGTH_BYTES], "little")
    if len(begin) < _LENGTH_BYTES or end > size_bytes:
        raise _torn(name, f"its header would end at byte {end} of {size_bytes}")
    begin += file.read(max(0, end - len(begin)))
    try:
        tensors = json.loads(begin[_LENGTH_BYTES:end])
        places = {full: told["data_offsets"] for full, told in tensors.items() if full != "__metadata__"}
        ends = end + max((last for _, last in places.values()), default=0)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise _torn(name, f"its header is none: {error}") from error
    if ends != size_bytes:
        raise _torn(name, f"{size_bytes} bytes, its header tells of {ends}")
    found: dict[str, int] = {}
    for full, (first, last) in places.items():
        key = full.partition("/")[0]
        found[key] = found.get(key, 0) + last - first
    return found


def shard_name(folder: str, parts: Mapping[str, Tensors]) -> str:
    """Name of a shard that holds these parts, in a folder below the root."""
    name = hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:32] + _SUFFIX
    return f"{folder}/{name}" if folder else name


def write_parts(path: Path, parts: Mapping[str, Tensors]) -> None:
    """Parts by key as a shard at `path`, which whoever calls this makes whole."""
    tensors = {
        f"{key}/{name}": tensor.detach().cpu().contiguous() for key, part in parts.items() for name, tensor in part.items()
    }
    save_file(tensors, path)


class ShardReader:
    """Reads parts out of the shards below `root`; the files stay memory-mapped, the newest few of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
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
            raise _torn(self.root / shard, error) from error

    def _open_shard(self, shard: str) -> tuple[Any, frozenset[str]]:
        file = safe_open(self.root / shard, framework="pt")
        return file, frozenset(file.keys())


def drop_parts(files: ShardFiles, root: str, unwanted: Callable[[str], bool], *, dry_run: bool = False) -> dict[str, int]:
    """Takes out of every shard below `root` the parts whose key is `unwanted`, and removes shards of which nothing is left.

    A torn shard is removed, for no part of it can be read, and so is what a kill left half written: not beside a writer.

    Returns:
        path of each file that changed (in a dry run: would change) to the bytes that this frees.
    """
    freed: dict[str, int] = {}
    for path, size in files.sizes(root).items():
        if not path.endswith(_SUFFIX):
            continue
        held = _held(files, path, size)
        kept = {key: size for key, size in held.items() if not unwanted(key)}
        if held and len(kept) == len(held):
            continue
        freed[path] = size - sum(kept.values())
        if not dry_run and kept:
            parts = _read_parts(files.fetch(path), kept)
            with files.writing(path) as temporary:
                write_parts(temporary, parts)
        elif not dry_run:
            files.remove(path)
    return freed


def _held(files: ShardFiles, path: str, size: int) -> dict[str, int]:
    """Nothing of what is torn or half written."""
    if not _is_shard(path):
        return {}
    try:
        with files.opened(path) as file:
            return part_bytes_in(file, size, path)
    except ShardTorn:
        return {}


def _read_parts(path: Path, keys: Mapping[str, int]) -> dict[str, dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for full in file.keys():  # noqa: SIM118
                key, _, name = full.partition("/")
                if key in keys:
                    parts.setdefault(key, {})[name] = file.get_tensor(full)
    except (OSError, SafetensorError) as error:
        raise _torn(path, error) from error
    return parts


def _is_shard(path: str) -> bool:
    """What begins with a dot is not whole."""
    return path.endswith(_SUFFIX) and not path.rpartition("/")[2].startswith(".")


def _torn(path: Path | str, error: object) -> ShardTorn:
    return ShardTorn(
        f"{path} is no readable shard of latents ({error}): materialize training_latents again, which encodes just what is lost"
    )
