"""`lafid sweep`: the store without latents and benches that nothing names any more. Needs no Dagster.

Belongs here: what the command shows. Not here: what is still named (`training.cache_sweep`, `release.bench_folder`).
"""

from contextlib import nullcontext

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.lake import open_lake
from lafid_assets.release.bench_folder import drop_superseded
from lafid_assets.training.cache_sweep import sweep
from resources.settings import Settings


def run_sweep(settings: Settings, *, dry_run: bool) -> None:
    """Remove cached parts and clip lists that no row of `training_latents` names, and benches that are not the dataset's; and say
    how much that frees."""
    lake = open_lake(settings, read_only=dry_run)
    alone = nullcontext() if dry_run else lake.alone("lafid sweep")
    with alone, working("looking for what nothing names"):
        freed = sweep(lake, dry_run=dry_run) | drop_superseded(lake, dry_run=dry_run)
    for path, size in freed.items():
        CONSOLE.print(f"{path}  {size / 1e6:.2f} MB")
    would = "would be " if dry_run else ""
    CONSOLE.print(f"{sum(freed.values()) / 1e9:.3f} GB {would}freed in {len(freed)} files and folders")
