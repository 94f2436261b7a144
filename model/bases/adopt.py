"""A fetched snapshot becomes a base: it is whole, it is the base that the preset wants, and its commit and hash are written down.

Belongs here: what a snapshot must be, against the base's spec. Not here: whether its files are whole (`snapshot`), reading the
base that it becomes (`base`), where bases lie and what the user is told (`lafid adopt`).
"""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from model.bases.base import BaseInfo, load_image_processor, load_scheduler, load_tokenizer, write_base_info
from model.bases.components import BaseError, Network, load_component
from model.bases.digests import COMPONENTS, base_digest, component_digests, file_digests
from model.bases.snapshot import COMMIT, MODEL_INDEX, Recorded, check_whole, is_as_recorded, recorded
from model.bases.specs import BaseSpec
from model.bases.stock_pipelines import flow_shift_name
from model.wording import first_few

_PIPELINES = {
    "t2v": {"WanPipeline"},
    "ti2v": {"WanPipeline", "WanImageToVideoPipeline"},
    "i2v": {"WanImageToVideoPipeline"},
    "vace": {"WanVACEPipeline"},
}
_Loaded = TypeVar("_Loaded")
_SCHEDULERS = {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"}


class Adopted(NamedTuple):
    """What became of a snapshot."""

    info: BaseInfo
    unproved: tuple[str, ...]
    """Files of which the download left no record, by which the commit could be proved; none: it is proved."""
    flow_shift: float | None
    """With which its scheduler draws, unless told otherwise: a hint at the repository, which nothing proves."""


def how_to_fetch(spec: BaseSpec, folder: Path, revision: str | None) -> str:
    """The commands that bring the base's snapshot, or what is missing of it, and take it into use."""
    at = "" if revision is None else f" --revision {revision}"
    return (
        f"fetch it with `hf download {spec.repository}{at} --local-dir {shlex.quote(str(folder / COMPONENTS))}`, "
        f"then run `lafid adopt {spec.name}{'' if revision is None else f' {revision}'}`"
    )


def adopt_base(folder: Path, spec: BaseSpec, revision: str | None = None) -> Adopted:
    """Makes the snapshot of `spec.repository` that lies in `folder`/components a base; an earlier adoption is replaced.

    Args:
        folder: becomes the base's folder.
        spec: what it must be. A snapshot of another repository with equal classes and sizes passes for it: no file names its
            repository, and hf records none.
        revision: the commit that was fetched, 40 hex digits; unless given, the one that the download recorded.

    Raises:
        BaseError: the snapshot is incomplete, torn or of another base, `revision` is no commit or not the recorded one, or a
            file is another than was downloaded.
    """
    if spec.repository is None:
        raise BaseError(f"base {spec.name} has no repository: it is built where it is first needed, and cannot be adopted")
    if revision is not None and not COMMIT.fullmatch(revision):
        raise BaseError(f"{revision!r} is no commit: name the 40 hex digits that were fetched of {spec.repository}")
    if revision is not None and spec.revision not in (None, revision):
        raise BaseError(f"base {spec.name} is {spec.repository}@{spec.revision}, not @{revision}: fetch that commit")
    fetch = how_to_fetch(spec, folder, revision or spec.revision)
    snapshot, transformers = folder / COMPONENTS, ["transformer", "transformer_2"][: spec.experts]
    needed = [*transformers, "vae", "text_encoder", "tokenizer", "scheduler"]
    if spec.transformer.image_dim is not None:
        needed += ["image_encoder", "image_processor"]
    _check_index(snapshot, spec, needed)
    check_whole(snapshot, needed, fetch)
    for name in transformers:
        _check_transformer(snapshot / name, spec, fetch)
    _check_encoders(snapshot, spec, fetch)
    _check_scheduler(snapshot / "scheduler", spec)
    scheduler = _loaded(load_scheduler, snapshot / "scheduler", fetch)
    _loaded(load_tokenizer, snapshot / "tokenizer", fetch)
    if "image_processor" in needed:
        _loaded(load_image_processor, snapshot / "image_processor", fetch)

    files = [MODEL_INDEX, *(p.relative_to(snapshot).as_posix() for n in needed for p in (snapshot / n).rglob("*") if p.is_file())]
    records = recorded(snapshot, files)
    commit = _commit(records, revision, spec, fetch)
    unproved = _check_bytes(snapshot, files, records, file_digests(folder), fetch)
    info = BaseInfo(
        name=spec.name,
        layout=spec.layout,
        repository=spec.repository,
        revision=commit,
        boundary=spec.boundary,
        sha256=base_digest(component_digests(folder)),
    )
    write_base_info(folder, info, revision_proved=not unproved)
    return Adopted(info, unproved, scheduler.config.get(flow_shift_name(scheduler)))


def _check_index(snapshot: Path, spec: BaseSpec, needed: list[str]) -> None:
    """What the snapshot says that it is; where it says nothing yet, what is missing is told with all else that is missing."""
    try:
        told = json.loads((snapshot / MODEL_INDEX).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return
    if not isinstance(told, dict):
        return
    here = snapshot / MODEL_INDEX
    _expect(here, spec, "_class_name", told.get("_class_name"), _PIPELINES[spec.layout])
    _expect(here, spec, "boundary_ratio", told.get("boundary_ratio"), {spec.boundary})
    _expect(here, spec, "expand_timesteps", bool(told.get("expand_timesteps")), {spec.layout == "ti2v"})
    kind = "WanVACETransformer3DModel" if spec.transformer.vace_layers else "WanTransformer3DModel"
    classes: dict[str, set[str | None]] = {"transformer": {kind}, "transformer_2": {kind if spec.experts == 2 else None}}
    classes |= {"vae": {"AutoencoderKLWan"}, "text_encoder": {"UMT5EncoderModel"}}
    if "image_encoder" in needed:
        classes["image_encoder"] = {"CLIPVisionModel", "CLIPVisionModelWithProjection"}
    for name, expected in classes.items():
        match told.get(name):
            case [_, kind]:
                _expect(here, spec, name, kind, expected)
            case other:
                _expect(here, spec, name, other, expected)


def _loaded(load: Callable[[Path], _Loaded], part: Path, fetch: str) -> _Loaded:
    """Each fault with what mends it."""
    try:
        return load(part)
    except BaseError as error:
        raise BaseError(f"{error}: remove {part}, then {fetch}") from error


def _outlined(part: Path) -> Network:
    return load_component(part, names_only=True)


def _check_transformer(part: Path, spec: BaseSpec, fetch: str) -> None:
    """Built from its own config, it has the sizes of the spec, and the files hold its tensors and no others."""
    config = _loaded(_outlined, part, fetch).config
    expected = spec.transformer.arguments() | {"patch_size": [1, spec.patch, spec.patch]}
    for name, value in expected.items():
        found = config[name]
        _expect(part, spec, name, list(found) if isinstance(found, tuple) else found, [value])


def _check_encoders(snapshot: Path, spec: BaseSpec, fetch: str) -> None:
    """What the transformer is given by the others has the sizes that it takes."""
    vae, text = (_loaded(_outlined, snapshot / name, fetch).config for name in ("vae", "text_encoder"))
    _expect(snapshot / "vae", spec, "z_dim", vae["z_dim"], {spec.latent_channels})
    _expect(snapshot / "vae", spec, "scale_factor_spatial", vae["scale_factor_spatial"], {spec.spatial_factor})
    _expect(snapshot / "vae", spec, "scale_factor_temporal", vae["scale_factor_temporal"], {spec.temporal_factor})
    _expect(snapshot / "text_encoder", spec, "d_model", text.d_model, {spec.transformer.text_dim})
    if spec.transformer.image_dim is not None:
        image = _loaded(_outlined, snapshot / "image_encoder", fetch).config
        _expect(snapshot / "image_encoder", spec, "hidden_size", image.hidden_size, {spec.transformer.image_dim})


def _check_scheduler(part: Path, spec: BaseSpec) -> None:
    told = json.loads((part / "scheduler_config.json").read_text())
    _expect(part, spec, "_class_name", told.get("_class_name"), _SCHEDULERS)


def _expect(where: Path, spec: BaseSpec, name: str, found: Any, expected: Collection[Any]) -> None:
    if found not in list(expected):  # of what a stranger wrote no hash may be had
        wanted = " or ".join(sorted(map(str, expected)))
        raise BaseError(f"{where} has {name} {found}, base {spec.name} has {wanted}: it is another base")


def _commit(records: dict[str, Recorded], revision: str | None, spec: BaseSpec, fetch: str) -> str:
    """The commit of all files: the one that was named, else that of most, where the download recorded no other."""
    found = Counter(record.commit for record in records.values()).most_common(1)
    wanted = revision or spec.revision or (found[0][0] if found else None)
    if wanted is None:
        raise BaseError(
            f"the download left no record of its commit: name it, `lafid adopt {spec.name} COMMIT`, or {fetch}, which records it"
        )
    if others := [path for path, record in records.items() if record.commit != wanted]:
        raise BaseError(
            f"the download recorded commit {records[others[0]].commit} of {first_few(others, 5)}, not {wanted}: name that "
            f"commit, or {fetch}; what is named again then is no part of the commit, and hf removes nothing: remove it"
        )
    return wanted


def _check_bytes(
    snapshot: Path, files: list[str], records: dict[str, Recorded], digests: dict[str, str], fetch: str
) -> tuple[str, ...]:
    """The files that no record proves; one that is another than its record says is refused."""
    unproved = []
    for path in files:
        same = is_as_recorded(snapshot / path, digests.get(path, ""), records[path].etag) if path in records else None
        if same is None:
            unproved.append(path)
        elif not same:
            raise BaseError(f"{snapshot / path} is not the file that was downloaded: remove it, then {fetch}")
    return tuple(unproved)
