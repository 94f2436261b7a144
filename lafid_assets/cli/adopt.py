"""`lafid adopt PRESET`: a published base that somebody fetched into the store becomes one that training may use.

Belongs here: where it lies and what is said. Not here: checking it (`model.bases.adopt`).
"""

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.training.base import base_path, fetch_base, put_base
from resources.settings import Settings
from resources.store.file_store import FileStore


def run_adopt(settings: Settings, name: str, commit: str | None) -> None:
    """Check the snapshot and write down which one it is."""
    from model.bases.adopt import adopt_base
    from model.presets import preset

    store, path = FileStore(settings.store_uri, settings.home), base_path(name)
    folder = fetch_base(path, store)
    with working(f"checking and hashing {folder}"):
        spec = preset(name).base
        info, unproved, flow_shift = adopt_base(folder, spec, commit)
    put_base(path, store)
    proved = "as the download recorded it"
    if unproved:
        proved = f"which nothing proves: the download left no record of {len(unproved)} files, of {unproved[0]} for one"
    CONSOLE.print(f"{info.name}: {info.repository}@{info.revision}, {proved}; sha256 {info.sha256}")
    CONSOLE.print(
        f"That it is {info.repository}, and no other of equal classes and sizes, no file can prove: look whether you fetched "
        f"that one. Its scheduler has flow_shift {flow_shift}; LaFID draws with {spec.flow_shift_480p:g} up to 480p and "
        f"{spec.flow_shift_720p:g} from 720p on."
    )
