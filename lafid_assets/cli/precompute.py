"""`lafid precompute`: the dataset through the frozen encoders, alone, as every process of a torchrun, or by a cluster's runs.

Belongs here: processes that wait for each other, and what the screen shows. Not here: sharing the work out
(`training.precompute`), the rows (`training.training_latents`).
"""

import os
from contextlib import nullcontext
from datetime import timedelta

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.materialize import Materializer, open_materializer
from lafid_assets.jobs import PRECOMPUTE
from lafid_assets.lafid_toml.settings_check import in_full, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.steps.partitions import MOST_SHARDS_PER_RUN
from lafid_assets.training.precompute import Rank, dataset_shards, encode_share, expected, expected_of_cluster
from lafid_assets.training.training_latents import TrainingLatentsConfig, encoding_of
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.shared_models import take_models

_LONGEST_WAIT = timedelta(days=30)
"""The wait for the slowest process: gloo gives up after 30 minutes unless told otherwise. If one dies, torchrun ends all."""


def run_precompute(settings: Settings, preset: str | None, semantic_encoder: str | None) -> None:
    """Encode what is missing, share by share; then the first process writes the rows. In a cluster each run does both.

    Args:
        preset, semantic_encoder: None: as in `lafid.toml`.
    """
    named = {"preset": preset, "semantic_encoder": semantic_encoder}
    told = SettingsFile.of(settings.home).of_asset(TRAINING_LATENTS.name)
    config = TrainingLatentsConfig(**told | {name: value for name, value in named.items() if value is not None})
    rank = Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if rank.world == 1 and (materializer := open_materializer(settings)).cluster is not None:
        with materializer.lake.leases.at_work("lafid precompute"):
            CONSOLE.print(expected_of_cluster(materializer.lake, config.preset))
            return materialize_latents(materializer, config)
    take_models(settings)
    lake = open_lake(settings)
    # Until rows name what was encoded: `lafid sweep` would take it.
    with lake.leases.at_work("lafid precompute"):
        _encode(lake, config, rank)
        lake.close()
        _wait_for_all(rank)
        if rank.number == 0:
            materialize_latents(open_materializer(settings, here=True), config)


def materialize_latents(materializer: Materializer, config: TrainingLatentsConfig) -> None:
    """Rows of all shards of the dataset, in as few Dagster runs as can be, for each loads the encoders; what is not cached yet is
    encoded.
    """
    shards = dataset_shards(materializer.lake)
    told = ops_of(materializer.file, {name: {"config": config.model_dump()} for name in PRECOMPUTE})
    most = len(shards) if materializer.cluster is None else MOST_SHARDS_PER_RUN
    if shards:
        materializer.run_all(PRECOMPUTE, "latents of", in_full(told), shards, most)


def _encode(lake: Lake, config: TrainingLatentsConfig, rank: Rank) -> None:
    encoding = encoding_of(config, lake.store)
    if rank.number == 0:
        CONSOLE.print(expected(lake, encoding, rank.world))
    with working("precomputing") if rank.number == 0 else nullcontext():
        encode_share(lake, encoding, rank)


def _wait_for_all(rank: Rank) -> None:
    if rank.world == 1:
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    dist.barrier()
    dist.destroy_process_group()
