"""`lafid precompute`: the dataset through the frozen encoders, alone or as every process of a torchrun.

Belongs here: processes that wait for each other, and what the screen shows. Not here: sharing the work out
(`training.precompute`), the rows (`training.training_latents`).
"""

import os
from contextlib import nullcontext
from datetime import timedelta

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.materialize import Materializer, RunFailed, open_materializer, runs_of
from lafid_assets.jobs import PRECOMPUTE
from lafid_assets.lake import open_lake
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.settings_file import SettingsFile
from lafid_assets.training.precompute import Rank, dataset_shards, encode_share, expected
from lafid_assets.training.training_latents import TrainingLatentsConfig, encoding_of
from resources.lake import Lake
from resources.settings import Settings
from resources.shared_models import take_models

_LONGEST_WAIT = timedelta(days=30)
"""For the slowest of the processes: gloo gives up after 30 minutes unless told otherwise. One that dies ends all, by torchrun."""


def run_precompute(settings: Settings, preset: str | None, semantic_encoder: str | None) -> None:
    """Encode what is missing, share by share; then the first process writes the rows.

    Args:
        preset, semantic_encoder: None: as in `lafid.toml`.

    Raises:
        RunFailed: a shard failed; the others are done.
    """
    named = {"preset": preset, "semantic_encoder": semantic_encoder}
    told = SettingsFile.of(settings.home).of_asset(TRAINING_LATENTS.name)
    config = TrainingLatentsConfig(**told | {name: value for name, value in named.items() if value is not None})
    rank = Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    take_models(settings)
    lake = open_lake(settings)
    # Until rows name what was encoded: `lafid sweep` would take it.
    with lake.leases.at_work("lafid precompute"):
        _encode(lake, config, rank)
        lake.close()
        _wait_for_all(rank)
        if rank.number == 0:
            materialize_latents(open_materializer(settings), config)


def materialize_latents(materializer: Materializer, config: TrainingLatentsConfig) -> None:
    """Rows of all shards of the dataset, in as few Dagster runs as can be, for each loads the encoders; what is not cached yet is
    encoded.

    Raises:
        RunFailed: after everything that could be done was done.
    """
    shards = dataset_shards(materializer.lake)
    ops = {name: {"config": config.model_dump()} for name in PRECOMPUTE}
    failures = []
    for run in runs_of(shards, materializer.know(), most=len(shards)):
        try:
            materializer.run(PRECOMPUTE, f"latents of {len(run)} of {len(shards)} shards", partitions=run, ops=ops)
        except RunFailed as error:
            failures.append(str(error))
    if failures:
        raise RunFailed("; ".join(failures))


def _encode(lake: Lake, config: TrainingLatentsConfig, rank: Rank) -> None:
    encoding = encoding_of(config, lake.store)
    if rank.number == 0:
        CONSOLE.print(expected(lake, encoding, rank.world), soft_wrap=True)
    with working("precomputing") if rank.number == 0 else nullcontext():
        encode_share(lake, encoding, rank)


def _wait_for_all(rank: Rank) -> None:
    if rank.world == 1:
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    dist.barrier()
    dist.destroy_process_group()
