"""One network of a base, from its folder: every tensor from its files, none made up.

Belongs here: which class each component has, loading it whole, or as an outline without weights. Not here: which components
there are and what holds them together (`base`), what must lie in a folder (`snapshot`).
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPVisionModel, UMT5EncoderModel
from transformers.utils import logging as transformers_logging

from model.bases.codec import HaarCodec
from model.untrusted_files import Untrustworthy, check_config, read_json, stored_shapes
from model.wording import first_few

Transformer: TypeAlias = WanTransformer3DModel | WanVACETransformer3DModel
Network: TypeAlias = Transformer | HaarCodec | AutoencoderKLWan | UMT5EncoderModel | CLIPVisionModel
_OF_DIFFUSERS = {kind.__name__: kind for kind in (WanTransformer3DModel, WanVACETransformer3DModel, AutoencoderKLWan, HaarCodec)}
_OF_TRANSFORMERS = {"text_encoder": UMT5EncoderModel, "image_encoder": CLIPVisionModel}
_UNREAD = {CLIPVisionModel: frozenset({"visual_projection.weight"})}
"""Tensors that lie in files of a kin's class (`CLIPVisionModelWithProjection`), behind all that a base reads of the network."""
_NAMED = 5
"""Tensors or files that a message names; it counts the others."""


class BaseError(ValueError):
    """A base folder is missing, incomplete, changed, or of another base; the message says what to do."""


def load_component(part: Path, dtype: torch.dtype | None = None, *, names_only: bool = False) -> Network:
    """The network in `part`.

    Tensors that its class ties to one another are filled by their tie, as published text encoders are, which store one of two
    equal embeddings.

    Args:
        part: folder of the component, by whose name it is told what it is.
        dtype: of transformers and text encoder, unless as the library has it; what must stay in float32 does, VAE and CLIP
            wholly, however they are stored.
        names_only: names and shapes of the files' tensors are held against the class's, and no weight is kept.

    Raises:
        BaseError: it is none of a base's networks, cannot be read, asks for more than its files hold, or these hold other tensors
            than its class.
    """
    kind = _kind(part)
    if kind is HaarCodec:
        return HaarCodec.from_config(HaarCodec.load_config(part))
    # Never what is pickled, which both libraries would take where there is nothing else; and both tell which shapes differ.
    settings: dict[str, Any] = {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True}
    settings["local_files_only"] = True
    if names_only:
        settings["device_map"] = "meta"
    if kind is UMT5EncoderModel:
        settings["dtype"] = dtype or "auto"
    elif kind in (WanTransformer3DModel, WanVACETransformer3DModel):
        settings["dtype"] = dtype
    elif kind is CLIPVisionModel:
        settings["dtype"] = torch.float32  # transformers would compute in the format of the files; Wan's is float32, as the VAE's
    try:
        check_config(read_json(part / "config.json"), stored_shapes(part), lambda: outline(part), part / "config.json")
        with _quiet():
            network, told = kind.from_pretrained(part, **settings)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise BaseError(f"{part} cannot be loaded: {error}") from error
    _check_whole(part, told | {"unexpected_keys": {*told["unexpected_keys"]} - _UNREAD.get(kind, frozenset())})
    return network


def outline(part: Path) -> Network:
    """The same network without weights: its config and the names of its tensors.

    Raises:
        BaseError: it is none of a base's networks.
    """
    kind = _kind(part)
    with torch.device("meta"):
        if part.name in _OF_TRANSFORMERS:
            return kind(kind.config_class.from_pretrained(part, local_files_only=True))
        return kind.from_config(kind.load_config(part))


def made_up(told: Mapping[str, Iterable[Any]]) -> list[str]:
    """The tensors that the files do not hold, or in another shape, of what `from_pretrained` tells of a loading."""
    return sorted([*told["missing_keys"], *(_mismatch(*one) for one in told["mismatched_keys"])])


def _mismatch(name: str, stored: Sequence[int], wanted: Sequence[int]) -> str:
    return f"{name} of shape {tuple(wanted)} ({tuple(stored)} is there)"


def own_memory(module: nn.Module) -> None:
    """Gives every tensor of `module` memory of its own, aligned as torch allocates it.

    safetensors maps tensors from the file, at whatever address they begin there, and CPU kernels round differently at
    addresses that are not aligned: without this a loaded model is not bit-equal to the one that was saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """The libraries draw a bar for every component, however small; a base of milliseconds needs none."""
    shown = [library for library in (transformers_logging, diffusers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def _kind(part: Path) -> Any:
    if part.name in _OF_TRANSFORMERS:
        return _OF_TRANSFORMERS[part.name]
    try:
        told = read_json(part / "config.json")
    except (FileNotFoundError, Untrustworthy) as error:
        raise BaseError(f"{part} cannot be loaded: {error}") from error
    name = told.get("_class_name") if isinstance(told, dict) else None
    if name not in _OF_DIFFUSERS:
        raise BaseError(f"{part} is of class {name}, a base's are {', '.join(_OF_DIFFUSERS)}: it is no base of LaFID's")
    return _OF_DIFFUSERS[name]


def _check_whole(part: Path, told: Mapping[str, Iterable[Any]]) -> None:
    """What the library made up or left unread is an error here, not a warning."""
    faults = {"lacks": made_up(told), "holds, which its class does not have,": sorted(told["unexpected_keys"])}
    said = [f"{fault} {first_few(names, _NAMED)}" for fault, names in faults.items() if names]
    if said:
        raise BaseError(f"{part} {'; '.join(said)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """What the libraries warn of while they load is an error that is raised, or nothing."""
    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with no_progress_bars():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
