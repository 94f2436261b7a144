"""Shards: content-addressed tensors, many to a safetensors file.

Belongs here: parts by key in files, whole or not at all; reading them memory-mapped; taking parts out again. Not here: what a
part is, what its key depends on and which parts share a file (whoever writes), which clip has which parts (`clip_list`).

A tensor of a part is named `<key>/<name>` in its shard. The index is the shards' headers: no other file has to agree with them.
A shard is named after the keys that it was written with, so that equal parts make equal files whoever writes them, and keeps its
name when some of its parts are taken out. Shards lie in folders below one root; a shard's name is its path below that.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.files import whole_file

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


def read_index(root: Path, folder: str = "") -> ShardIndex:
    """The header of every shard below a folder of `root`; a file that does not end where its header says counts as torn."""
    places: dict[str, str] = {}
    torn = []
    for path in _shards(root / folder):
        name = path.relative_to(root).as_posix()
        try:
            places |= dict.fromkeys(keys_of(path), name)
        except ShardTorn:
            torn.append(name)
    return ShardIndex(places, tuple(torn))


def keys_of(path: Path) -> set[str]:
    """Keys of the parts in one shard.

    Raises:
        ShardTorn: it cannot be read.
    """
    with _opened(path) as file:
        return {name.partition("/")[0] for name in file.keys()}  # noqa: SIM118


def write_shard(root: Path, folder: str, parts: Mapping[str, Tensors]) -> str:
    """Parts by key as one shard in a folder of `root`, whole or not at all; its name."""
    name = hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:32] + ".safetensors"
    _write(root / folder / name, parts)
    return f"{folder}/{name}" if folder else name


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


def drop_parts(root: Path, unwanted: Callable[[str], bool], *, dry_run: bool = False) -> dict[str, int]:
    """Takes out of every shard the parts whose key is `unwanted`, and removes shards of which nothing is left.

    A torn shard is removed, for no part of it can be read, and so is what a kill left half written: not beside a writer.

    Returns:
        name of each file that changed (in a dry run: would change) to the bytes that this frees.
    """
    freed: dict[str, int] = {}
    for path in [*_shards(root), *root.rglob(".*.safetensors")]:
        size = path.stat().st_size
        kept: dict[str, dict[str, torch.Tensor]] = {}
        if not path.name.startswith("."):
            with suppress(ShardTorn):
                kept = _read_all(path, lambda key: not unwanted(key))
                if len(kept) == len(keys_of(path)):
                    continue
        freed[path.relative_to(root).as_posix()] = size - sum(tensor.nbytes for part in kept.values() for tensor in part.values())
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


def _shards(folder: Path) -> list[Path]:
    """Below it, sorted; what begins with a dot is not whole."""
    return sorted(folder.rglob("[!.]*.safetensors"))


def _write(path: Path, parts: Mapping[str, Tensors]) -> None:
    tensors = {
        f"{key}/{name}": tensor.detach().cpu().contiguous() for key, part in parts.items() for name, tensor in part.items()
    }
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
