"""`lafid export DEST`: a kept version of the dataset in a form that others can load. Needs no Dagster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.dataset.export.export import export_version
from lafid_assets.dataset.versions import find_version
from lafid_assets.lake import open_lake
from resources.settings import Settings


def run_export(
    settings: Settings,
    destination: Path,
    format_name: str,
    version: str,
    allow_licence: Sequence[str],
    allow_model_licence: Sequence[str],
    *,
    skip_refused: bool,
    clips_per_shard: int,
) -> dict[str, Any]:
    """Write and check; one object: the export's manifest, as it lies beside the files, and its `destination`."""
    lake = open_lake(settings, read_only=True)
    kept = find_version(lake, version)
    with working(f"exporting version {kept['dataset_version']} as {format_name}"):
        manifest = export_version(
            lake,
            kept,
            format_name,
            destination,
            also_allowed=allow_licence,
            also_allowed_models=allow_model_licence,
            skip_refused=skip_refused,
            clips_per_shard=clips_per_shard,
        )
    return {"destination": str(destination)} | manifest.model_dump(mode="json")


def show_export(found: Mapping[str, Any]) -> None:
    """Show where the export lies, what it holds and under which licences."""
    refused = f", {found['refused_clips']} left out for their licence" if found["refused_clips"] else ""
    erased = f", {found['erased_clips']} erased since" if found["erased_clips"] else ""
    CONSOLE.print(
        f"{found['destination']}: {found['clips']} clips of version {found['dataset_version']} in {len(found['files'])} files, "
        f"checked{refused}{erased}"
    )
    CONSOLE.print(f"licences: {', '.join(found['licences']) or 'none'}")
    CONSOLE.print(f"models that measured them: {'; '.join(found['model_licences']) or 'none'}")
