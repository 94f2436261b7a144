"""Writing a version out, so that it can be resumed and is checked.

Belongs here: the order of an export, its manifest, the check afterwards. Not here: one file (`formats`), who may go (`licences`).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lafid_assets.dataset.export.formats import CARD, FORMATS, ExportFormat, Part, dataset_card, plan
from lafid_assets.dataset.export.licences import DEFAULT_ALLOWED, DEFAULT_ALLOWED_MODELS, require_allowed, split_by_licence
from lafid_assets.dataset.export.samples import to_release
from lafid_assets.dataset.versions import KeptVersion
from lafid_assets.progress import track
from model.files import sha256_file, whole_file
from resources.shard_store import ShardStore

MANIFEST = "lafid_export.json"
WRITER_VERSION = 1
DEFAULT_CLIPS_PER_SHARD = 500


class DestinationUnusable(FileExistsError):
    """The folder holds something else; the message names it and the remedy."""


class ExportBroken(RuntimeError):
    """What was written does not read back as it should; the message names the file and the remedy."""


class ExportedFile(BaseModel):
    """One file of an export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    made_of: str = Field(description="Hash of the rows and the writer's version: the same, and the file need not be made again")
    sha256: str
    file_size_bytes: int
    clips: int


class ExportManifest(BaseModel):
    """`lafid_export.json`: what an export is, and while it is being made, how far it has come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    dataset_version: str
    complete: bool
    clips: int
    refused_clips: int = Field(description="Left out for their licence or that of a model")
    erased_clips: int = Field(description="Of the version, taken out by `lafid forget` before this export")
    licences: tuple[str, ...]
    also_allowed: tuple[str, ...] = Field(description="Beside the default allow-list, by whoever made this export")
    default_allowed: tuple[str, ...] = DEFAULT_ALLOWED
    model_licences: tuple[str, ...] = Field(description="Of the models that measured the clips")
    also_allowed_models: tuple[str, ...] = Field(description="Beside the default allow-list of models")
    default_allowed_models: tuple[str, ...] = DEFAULT_ALLOWED_MODELS
    files: tuple[ExportedFile, ...]

    def write(self, folder: Path) -> None:
        """Put it into the export's folder, whole or not at all."""
        with whole_file(folder / MANIFEST) as temporary:
            temporary.write_text(self.model_dump_json(indent=1))


def export_version(
    version: KeptVersion,
    format_name: str,
    destination: Path,
    store: ShardStore,
    *,
    also_allowed: Sequence[str] = (),
    also_allowed_models: Sequence[str] = (),
    skip_refused: bool = False,
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD,
) -> ExportManifest:
    """Write a version to a folder; files that an earlier, interrupted export finished are kept after a look at their hash.

    Raises:
        LicenceRefused: clips may not be passed on, and were not to be left out.
        DestinationUnusable: the folder holds anything but an export of this version in this format.
        ClipGone: a clip's file is missing or has changed.
        ExportBroken: a file does not read back as it was written.
    """
    form = FORMATS[format_name]
    rows, refused = split_by_licence(version.rows, also_allowed, also_allowed_models)
    if not skip_refused:
        require_allowed(refused)
    known = _finished(destination, format_name, version.facts["dataset_version"])
    parts = plan(form, to_release(rows), rows, clips_per_shard)
    manifest = ExportManifest(
        format=format_name,
        dataset_version=version.facts["dataset_version"],
        complete=False,
        clips=rows.height,
        refused_clips=version.rows.height - rows.height,
        erased_clips=version.facts["erased_clips"],
        licences=tuple(sorted(rows["licence"].unique())),
        also_allowed=tuple(also_allowed),
        model_licences=tuple(sorted(rows["model_licences"].explode().drop_nulls().unique())),
        also_allowed_models=tuple(also_allowed_models),
        files=(),
    )
    for part in track(parts, f"export {format_name}", len(parts)):
        made = _make(part, form, destination, store, known)
        manifest = manifest.model_copy(update={"files": (*manifest.files, made)})
        manifest.write(destination)
    if format_name == "hf":
        with whole_file(destination / CARD) as temporary:
            temporary.write_text(dataset_card(parts, manifest.licences, manifest.model_licences, manifest.dataset_version))
    _remove_stale(destination, known, manifest)
    check_export(destination, manifest)
    manifest = manifest.model_copy(update={"complete": True})
    manifest.write(destination)
    return manifest


def check_export(destination: Path, manifest: ExportManifest) -> None:
    """Read every file back: its hash, and how many clips it says that it holds.

    Raises:
        ExportBroken: one differs.
    """
    form = FORMATS[manifest.format]
    for file in manifest.files:
        path = destination / file.path
        found = (sha256_file(path), form.count(path)) if path.is_file() else ("no file", 0)
        if found != (file.sha256, file.clips):
            raise ExportBroken(f"{path} does not read back as it was written: remove it and run the export again")
    total = sum(file.clips for file in manifest.files)
    if total != manifest.clips:
        raise ExportBroken(f"{destination} holds {total} clips of {manifest.clips}: empty it and run the export again")


def _make(part: Part, form: ExportFormat, destination: Path, store: ShardStore, known: dict[str, ExportedFile]) -> ExportedFile:
    target = destination / part.path
    made_of = _made_of(part)
    before = known.get(part.path)
    if before is not None and before.made_of == made_of and target.is_file() and sha256_file(target) == before.sha256:
        return before
    with whole_file(target) as temporary:
        form.write(part, temporary, store)
    return ExportedFile(
        path=part.path,
        made_of=made_of,
        sha256=sha256_file(target),
        file_size_bytes=target.stat().st_size,
        clips=part.released.height,
    )


def _made_of(part: Part) -> str:
    pictures = [[ref["face_path"], ref["head_path"]] for refs in part.rows["references"] for ref in refs]
    facts = [WRITER_VERSION, part.path, part.released.to_dicts(), pictures]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _finished(destination: Path, format_name: str, version: str) -> dict[str, ExportedFile]:
    """What lies there of the same export."""
    path = destination / MANIFEST
    if not path.is_file():
        others = [entry.name for entry in destination.iterdir()] if destination.is_dir() else []
        if destination.exists() and (others or not destination.is_dir()):
            raise DestinationUnusable(f"{destination} is not an empty folder: name another one, or empty it")
        return {}
    try:
        manifest = ExportManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DestinationUnusable(f"cannot understand {path}: empty the folder, or name another one") from error
    if (manifest.format, manifest.dataset_version) != (format_name, version):
        raise DestinationUnusable(
            f"{destination} holds version {manifest.dataset_version} as {manifest.format}: name another folder for this export"
        )
    return {file.path: file for file in manifest.files}


def _remove_stale(destination: Path, known: dict[str, ExportedFile], manifest: ExportManifest) -> None:
    """Shards of an earlier run of the same export with other options, or with clips that were forgotten since."""
    for path in known.keys() - {file.path for file in manifest.files}:
        (destination / path).unlink(missing_ok=True)
