"""`lafid pull`: a registered model as a plain folder for diffusers and ComfyUI. Needs no Dagster.

Belongs here: getting it and saying what lies where. Not here: the folder (`model.release.pulled_folder`).
"""

from pathlib import Path

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.generate import downloads_of, tracking_of
from lafid_assets.release.model_files import in_registry
from model.files import require_free
from resources.settings import Settings


def run_pull(settings: Settings, model: str, folder: Path) -> None:
    """Write the folder."""
    require_free(folder)
    with working(f"pulling {model}"), in_registry(model, tracking_of(settings)):
        from model.release.checkpoint import read_manifest
        from model.release.package import fetch, pinned_requirements
        from model.release.pulled_folder import write_pulled_folder

        found = fetch(model, downloads_of(settings))
        requirements = pinned_requirements(read_manifest(found.checkpoint_dir))
        manifest = write_pulled_folder(found.checkpoint_dir, folder, requirements, found.tags, found.metrics, found.base_dir)
    CONSOLE.print(f"{folder}: {', '.join(sorted(manifest.parts))} of {manifest.base}")
    CONSOLE.print("README.md says how diffusers and ComfyUI use it.")
