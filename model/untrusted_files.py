"""Files that a stranger may have written, looked at before anything is built of them.

Belongs here: bounds on what a file asks for (size, depth, a config held against the tensors beside it), and links that lead
out of a folder. Not here: what a checkpoint or a base consists of (`release.checkpoint`, `bases.base`), hashes (`files`).

A config is a promise of tensors. A library that believes it builds ten million layers, or fills terabytes with random numbers in
place of tensors that the files lack, before it says that something is wrong. Hence a config is first held against the headers of
the files, which cost nothing to read.
"""

import json
import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

MOST_JSON_BYTES = 8 << 20
"""The index of a base of 126 GB has 0.2 MB, a manifest a few kB."""
MOST_SIDE_PX = 4096
"""Longest side of a picture that an encoder looks at."""
_SPARE_NUMBERS = 1 << 24
"""What a network may hold beside stored tensors: tables of positions, of a few MB in the largest base."""
_DEPTHS = re.compile(r"(num_\w*layers|num_res_blocks|blocks|resampler_layers)")
_FOREIGN = re.compile(r"auto_map|quantization_config|_?attn_implementation(_internal)?|use_kernels?|transformers_weights")
"""Keys by which configs name code or files that are none of ours; `_attn_implementation_autoset` of older files is none."""


class Untrustworthy(ValueError):
    """A file asks for what no honest one does; the message names it and what it asks for."""


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        FileNotFoundError: there is none.
        Untrustworthy: it is no plain file, too large, no JSON, too deep, or holds numbers that are none.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise Untrustworthy(f"{path} is no plain file")
    if (size := path.stat().st_size) > MOST_JSON_BYTES:
        raise Untrustworthy(f"{path} has {size} bytes, more than {MOST_JSON_BYTES}")
    try:
        return json.loads(path.read_bytes(), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise Untrustworthy(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise Untrustworthy(f"{path} is no JSON: {error}") from None


def check_folder(folder: Path, suffixes: Iterable[str] | None = None) -> None:
    """Passes a folder of plain files and folders alone.

    Args:
        suffixes: that its files may have; None: any.

    Raises:
        Untrustworthy: something in it, or the folder itself, is a link, a device or a pipe, or has another suffix.
    """
    allowed = None if suffixes is None else frozenset(suffixes)
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Untrustworthy(f"{path} is a link or no plain file: only files and folders are read")
        if allowed is not None and stat.S_ISREG(mode) and path.suffix not in allowed:
            raise Untrustworthy(f"{path} has no place there: files end in {' or '.join(sorted(allowed))}")


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, where that lies in the folder.

    Raises:
        Untrustworthy: it lies elsewhere.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Untrustworthy(f"{name!r} lies outside of {folder}")
    return path


def stored_shapes(part: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor of the safetensors files in a folder, by the headers.

    Raises:
        Untrustworthy: a file cannot be read, an index names one that lies elsewhere, or an adapter lies there that transformers
            would put onto the network unasked.
    """
    if (adapter := part / "adapter_config.json").exists():
        raise Untrustworthy(f"{adapter} has no place there")
    for index in part.glob("*.safetensors.index.json"):
        told = read_json(index)
        named = told.get("weight_map") if isinstance(told, dict) else None
        if not isinstance(named, dict) or any(Path(str(name)).name != name for name in named.values()):
            raise Untrustworthy(f"{index} names files that do not lie beside it")
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(part.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            raise Untrustworthy(f"{path} cannot be read: {error}") from error
    return shapes


def check_config(config: Any, stored: Mapping[str, tuple[int, ...]], build: Callable[[], nn.Module], source: Path) -> None:
    """Passes a config that asks for no more than the tensors beside it hold.

    Args:
        config: as `read_json` gives it.
        stored: as `stored_shapes` gives it.
        build: the network of that config; called where tensors take no memory, and only if its depth is plausible.
        source: of the config, for the message.

    Raises:
        Untrustworthy: it asks for more, or for code or files of others.
    """
    check_own(config, source)
    for name, value in _entries(config):
        count = len(value) if isinstance(value, list) else value
        deep = _DEPTHS.fullmatch(name) is not None or isinstance(value, list)
        if deep and isinstance(count, int) and count > max(len(stored), 64):
            raise Untrustworthy(f"{source} asks for {name} {count}, its files hold {len(stored)} tensors")
    try:
        with torch.device("meta"):
            network = build()
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError, OverflowError, ZeroDivisionError) as error:
        raise Untrustworthy(f"{source} describes no network: {error}") from error
    asked = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    held = sum(math.prod(shape) for shape in stored.values())
    if asked > 2 * held + _SPARE_NUMBERS:
        raise Untrustworthy(f"{source} asks for {asked} numbers, its files hold {held}")


def check_own(config: Any, source: Path) -> None:
    """Passes a config that names no code and no files of others.

    Raises:
        Untrustworthy: it does.
    """
    for name, _ in _entries(config):
        if _FOREIGN.fullmatch(name):
            raise Untrustworthy(f"{source} asks for {name}, which no model of LaFID's needs")


def check_numbers(config: Any, most: float, source: Path) -> None:
    """Passes a config none of whose numbers is larger than `most`.

    Raises:
        Untrustworthy: one is.
    """
    for name, value in _entries(config):
        if isinstance(value, int | float) and abs(value) > most:
            raise Untrustworthy(f"{source} asks for {name} {value}, more than {most:g}")


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Every (name, value) at any depth; `read_json` has bounded it."""
    if isinstance(config, dict):
        for name, value in config.items():
            yield name, value
            yield from _entries(value)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
