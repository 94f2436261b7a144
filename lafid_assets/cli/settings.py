"""`lafid init` and `lafid settings`: the home's `lafid.toml` written, and held against what the tables were made with.

Belongs here: the subcommands and what they show. Not here: the file (`settings_file`), what is current (`staleness`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from lafid_assets.cli.display import CONSOLE, answer
from lafid_assets.cli.options import AsJson, Home, settings_of

if TYPE_CHECKING:
    from resources.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__.splitlines()[0])


def run_init(settings: "Settings") -> None:
    """Write the file, with every line commented out; one that is there stays as it is."""
    from lafid_assets.lafid_toml.settings_check import template
    from lafid_assets.lafid_toml.settings_place import SettingsPlace

    place = SettingsPlace.of(settings.home)
    place.write(template())
    CONSOLE.print(f"{place.address}: take the # away from a line to change it")


@app.command()
def diff(home: Home = None, as_json: AsJson = False) -> None:
    """What runs are told now and was otherwise for the last dataset, and which shards would be measured or decided anew."""
    answer(read_diff(settings_of(home)), show_diff, as_json=as_json)


def read_diff(settings: "Settings") -> dict[str, Any]:
    """One object: the `file` and whether it is there, `curated` (whether anything was), `compared` (whether the dataset says what
    it was made with; None: there is no dataset), the `differing` lines, `shards`, `stale` (the first table to be computed anew to
    shards), and `dataset_is_current`."""
    from lafid_assets.dataset.versions import standing_version
    from lafid_assets.jobs import PER_SHARD
    from lafid_assets.lafid_toml.settings_check import deciding, differing, ops_of
    from lafid_assets.lafid_toml.settings_file import SettingsFile
    from lafid_assets.lake import open_lake
    from lafid_assets.policy_settings import all_settings
    from lafid_assets.schemas import CLIP_FILES
    from lafid_assets.steps.curation_steps import configured, copy_is_current, dataset_is_current
    from lafid_assets.steps.staleness import stale_shards

    file, lake = SettingsFile.of(settings.home), open_lake(settings, read_only=True)
    told = ops_of(file, {})
    found: dict[str, Any] = {"file": file.path, "file_is_there": file.is_there, "curated": lake.is_there()}
    if not found["curated"]:
        return found | {"compared": None, "differing": [], "shards": 0, "stale": {}, "dataset_is_current": False}
    with lake.snapshot() as reader:
        last = standing_version(reader)
        before = last and all_settings(reader).get(last["settings_sha256"])
        shards = [shard for _, shard in reader.stamps([CLIP_FILES.name])]
        first = Counter(stale_shards(reader, configured(PER_SHARD, told), shards).values())
    return found | {
        "compared": None if last is None else before is not None,
        "differing": differing(before, deciding(told)) if before else [],
        "shards": len(shards),
        "stale": {asset: first[asset] for asset in PER_SHARD if first[asset]},
        "dataset_is_current": not first and dataset_is_current(lake, told) and copy_is_current(lake, settings),
    }


def show_diff(found: Mapping[str, Any]) -> None:
    """Show the difference to a person."""
    if not found["curated"]:
        CONSOLE.print("nothing was curated yet: run `make demo` or `lafid curate DIR` first")
        return
    CONSOLE.print(f"{found['file']}{'' if found['file_is_there'] else ' (there is none: all defaults)'}")
    if not found["compared"]:
        none = found["compared"] is None
        CONSOLE.print("no dataset was made yet" if none else "the dataset is of a time before lafid.toml")
    for line in found["differing"]:
        CONSOLE.print(line)
    table = Table("from this table on", "shards computed anew")
    for asset, shards in found["stale"].items():
        table.add_row(asset, f"{shards} of {found['shards']}")
    if found["stale"]:
        CONSOLE.print(table)
    elif found["dataset_is_current"]:
        CONSOLE.print("nothing would be computed anew")
    else:
        CONSOLE.print("no shard would be computed anew; the dataset would be put together again")
