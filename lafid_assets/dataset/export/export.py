"""Writing a version out, so that it can be resumed and is checked.

Belongs here: the order of an export, its manifest, the check afterwards. Not here: one file (`formats`), who may go (`licences`).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, ValidationError

from lafid_assets.dataset.export.formats import CARD, FORMATS, ExportFormat, Page, Pages, Part, dataset_card, plan
from lafid_assets.dataset.export.licences import DEFAULT_ALLOWED, DEFAULT_ALLOWED_MODELS, require_allowed, split_by_licence
from lafid_assets.dataset.export.samples import to_release
from lafid_assets.dataset.versions import Facts
from lafid_assets.progress import track
from lafid_assets.schemas import DATASET_VERSION_ROWS
from model.files import sha256_file, whole_file, write_whole
from model.strict import StrictModel
from resources.lake.lake import Lake

MANIFEST = "lafid_export.json"
WRITER_VERSION = 3
DEFAULT_CLIPS_PER_SHARD = 500
CLIPS_A_PAGE = 2000
JUDGED = ("clip_id", "split", "licence", "model_licences")


class DestinationUnusable(FileExistsError):
    """The folder holds something else; the message names it and the remedy."""


class ExportBroken(RuntimeError):
    """What was written does not read back as it should; the message names the file and the remedy."""


class ExportedFile(StrictModel):
    """One file of an export."""

    path: str
    made_of: str = Field(description="Hash of version, clips and writer: the same, and the file need not be made again")
    sha256: str
    file_size_bytes: int
    clips: int


class ExportManifest(StrictModel):
    """`lafid_export.json`: what an export is, and while it is being made, how far it has come."""

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
        write_whole(folder / MANIFEST, self.model_dump_json(indent=1))


def export_version(
    lake: Lake,
    version: Facts,
    format_name: str,
    destination: Path,
    *,
    also_allowed: Sequence[str] = (),
    also_allowed_models: Sequence[str] = (),
    skip_refused: bool = False,
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD,
) -> ExportManifest:
    """Write a version to a folder; files that an earlier, interrupted export finished are kept after a look at their hash.

    Args:
        version: as `versions.find_version` gives it.

    Raises:
        LicenceRefused: clips may not be passed on, and were not to be left out.
        DestinationUnusable: the folder holds anything but an export of this version in this format.
        ClipGone: a clip's file is missing or has changed.
        ExportBroken: a file does not read back as it was written.
    """
    form, name = FORMATS[format_name], version["dataset_version"]
    all_clips = _read(lake, name, JUDGED)
    clips, refused = split_by_licence(all_clips, also_allowed, also_allowed_models)
    if not skip_refused:
        require_allowed(refused)
    known = _finished(destination, format_name, name)
    parts = plan(form, clips, clips_per_shard)
    manifest = ExportManifest(
        format=format_name,
        dataset_version=name,
        complete=False,
        clips=clips.height,
        refused_clips=all_clips.height - clips.height,
        erased_clips=version["erased_clips"],
        licences=tuple(sorted(clips["licence"].unique())),
        also_allowed=tuple(also_allowed),
        model_licences=tuple(sorted(clips["model_licences"].explode().drop_nulls().unique())),
        also_allowed_models=tuple(also_allowed_models),
        files=(),
    )
    leaving = clips["clip_id"]
    for part in track(parts, f"export {format_name}", len(parts)):
        made_of = _digest(WRITER_VERSION, part.path, name, part.clips.to_list(), _digest(leaving.to_list()))
        made = _still_there(known.get(part.path), made_of, destination)
        made = made or _make(part, form, destination, lake, _pages(lake, name, part, leaving), made_of)
        manifest = manifest.model_copy(update={"files": (*manifest.files, made)})
        manifest.write(destination)
    if format_name == "hf":
        write_whole(destination / CARD, dataset_card(parts, manifest.licences, manifest.model_licences, manifest.dataset_version))
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


def _read(
    lake: Lake, version: str, columns: Sequence[str] = (), where: str = "true", parameters: Sequence[Any] = ()
) -> pl.DataFrame:
    """Rows of a version, sorted by clip."""
    with lake.snapshot(all_cores=True) as reader:
        return reader.read(DATASET_VERSION_ROWS.name, None, columns, f"dataset_version = ? AND {where}", [version, *parameters])


def _pages(lake: Lake, version: str, part: Part, leaving: pl.Series) -> Pages:
    """The rows of a part, some at a time; one page without rows where it has none."""
    for offset in range(0, max(len(part.clips), 1), CLIPS_A_PAGE):
        clips = part.clips.slice(offset, CLIPS_A_PAGE)
        # They lie in the order of split and clip, so that most others are passed over.
        ends = [clips[0], clips[-1]] if len(clips) else ["", ""]
        splits = [] if part.split is None else [part.split]
        where = f"clip_id BETWEEN ? AND ?{' AND split = ?' if splits else ''}"
        rows = _read(lake, version, where=where, parameters=[*ends, *splits]).filter(pl.col("clip_id").is_in(clips.implode()))
        yield Page(to_release(rows, leaving), rows)


def _digest(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _still_there(before: ExportedFile | None, made_of: str, destination: Path) -> ExportedFile | None:
    if before is None or before.made_of != made_of:
        return None
    target = destination / before.path
    return before if target.is_file() and sha256_file(target) == before.sha256 else None


def _make(part: Part, form: ExportFormat, destination: Path, lake: Lake, pages: Pages, made_of: str) -> ExportedFile:
    target = destination / part.path
    with whole_file(target) as temporary:
        form.write(pages, temporary, lake.store)
    return ExportedFile(
        path=part.path, made_of=made_of, sha256=sha256_file(target), file_size_bytes=target.stat().st_size, clips=len(part.clips)
    )


def _finished(destination: Path, format_name: str, version: str) -> dict[str, ExportedFile]:
    """The files that an earlier run of the same export has finished, by path."""
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
