"""`lafid init` and `lafid settings`: the home's `lafid.toml` written, and held against what the tables were made with.

Belongs here: the subcommands and what they show. Not here: the file (`settings_file`), what is current (`staleness`).
"""

from collections import Counter
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.cli.options import Home, settings_of

if TYPE_CHECKING:
    from resources.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__.splitlines()[0])


def run_init(settings: "Settings") -> None:
    """Write the file, with every line commented out; one that is there stays as it is.

    Raises:
        FileExistsError: there is one.
    """
    from lafid_assets.settings_check import template
    from lafid_assets.settings_file import FILE
    from model.files import whole_file

    path = settings.home / FILE
    if path.exists():
        raise FileExistsError(f"{path} is there already: change it, or move it away and run `lafid init` again")
    settings.home.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(template())
    CONSOLE.print(f"{path}: take the # away from a line to change it", soft_wrap=True, markup=False)


@app.command()
def diff(home: Home = None) -> None:
    """What runs are told now and was otherwise for the last dataset, and which shards would be measured or decided anew."""
    from lafid_assets.cli.materialize import PER_SHARD, open_materializer
    from lafid_assets.dataset.versions import standing_version
    from lafid_assets.policy_settings import all_settings
    from lafid_assets.schemas import CLIP_FILES
    from lafid_assets.settings_check import deciding, differing, ops_of
    from lafid_assets.staleness import stale_shards
    from lafid_assets.steps import configured, dataset_is_current

    settings = settings_of(home)
    materializer = open_materializer(settings)
    told, lake = ops_of(materializer.file, {}), materializer.lake
    if not lake.is_there():
        CONSOLE.print("nothing was curated yet: run `make demo` or `lafid curate DIR` first", soft_wrap=True)
        return
    with lake.snapshot() as reader:
        last = standing_version(reader)
        before = last and all_settings(reader).get(last["settings_sha256"])
        shards = [shard for _, shard in reader.stamps([CLIP_FILES.name])]
        first = Counter(stale_shards(reader, configured(PER_SHARD, told), shards).values())
    CONSOLE.print(
        f"{materializer.file.path}{'' if materializer.file.path.is_file() else ' (there is none: all defaults)'}", markup=False
    )
    if before is None:
        CONSOLE.print("no dataset was made yet" if last is None else "the dataset is of a time before lafid.toml")
    for line in differing(before, deciding(told)) if before else []:
        CONSOLE.print(line, soft_wrap=True, markup=False)
    table = Table("from this table on", "shards computed anew")
    for asset in PER_SHARD:
        if first[asset]:
            table.add_row(asset, f"{first[asset]} of {len(shards)}")
    if first:
        CONSOLE.print(table)
    elif dataset_is_current(lake, settings, told):
        CONSOLE.print("nothing would be computed anew")
    else:
        CONSOLE.print("no shard would be computed anew; the dataset would be put together again")
