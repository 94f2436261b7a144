"""`lafid compact` and `lafid rebuild`: the lake's files put together, the catalog made anew. Need no Dagster.

Belongs here: what the commands show. Not here: doing it (`resources.lake.upkeep`, `resources.lake.catalog_copy`).
"""

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.lake import open_lake
from resources.lake import catalog_copy, upkeep
from resources.lake.lake import LakeUnusable
from resources.settings import Settings


def run_compact(settings: Settings) -> None:
    """Put small files together, drop what no table needs any more, and say what that did."""
    lake = open_lake(settings)
    if not lake.is_there():  # at a mistyped home nothing is made
        raise LakeUnusable(f"there are no tables in {settings.store_uri}: name the home with --home or LAFID_HOME")
    with working("putting small files together"):
        done = upkeep.compact(lake)
    before, after = done.before, done.after
    CONSOLE.print(
        f"data files: {before.files}, now {after.files}; {before.bytes / 1e6:.1f} MB, now {after.bytes / 1e6:.1f} MB; "
        f"snapshots: {before.snapshots}, now {after.snapshots}; {done.removed} files removed"
    )
    if done.busy:
        CONSOLE.print(f"kept by other runs, for the next time: {', '.join(done.busy)}", style="yellow")


def run_rebuild(settings: Settings) -> None:
    """Make the catalog anew from the newest copy in the store, and say which."""
    with working("making the catalog anew"):
        done = catalog_copy.restore(open_lake(settings))
    CONSOLE.print(str(done))
