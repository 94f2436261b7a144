"""What a run is told, the same from its first step to its last, and whether this machine may do it at all.

Belongs here: what happens once in a run, before anything is computed. Not here: the file (`settings_file`), whether all of it
fits (`settings_check`), whether a node is fit (`preflight`), a step at work (`step_run`).
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg

from lafid_assets.lafid_toml.settings_check import Ops, deciding_sha256, ops_of, refuse_unusable
from lafid_assets.lafid_toml.settings_file import SettingsFile, SettingsUnusable
from lafid_assets.runs.instance import keep_to_what_was_given
from lafid_assets.runs.preflight import refuse_unfit
from lafid_assets.runs.run_failure import FAILURE_TAG, NO_FAILURE
from resources.settings import Settings
from resources.store.shared_models import take_models

SETTINGS_TAG = "lafid/settings"
"""Of every run: the hash of what decides its tables."""
_TOLD: dict[str, Ops] = {}
"""Run of this process to what it is told."""
_MOST_RUNS = 8
"""A command line runs one run after the other in its process."""


def told_to(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, settings: Settings, assets: Collection[str] | None = None
) -> Ops:
    """What a run is told from beginning to end by `lafid.toml` and its own config, whatever becomes of the file meanwhile.

    The run's first step refuses what does not fit any of the assets, and tags the run with the hash of what decides tables.

    Args:
        assets: whose lines the run uses; None: those that it materializes.

    Raises:
        SettingsUnusable: a line of the file, or of the run's config, does not fit.
        ValueError, OSError, LookupError: it names an engine, a model, a file or a key that a step of this run cannot use.
        NodeUnfit, OSError: this node must not work on this run (`preflight`).
        ModelDiffers, SharedModelDamaged, StoreUnusable: a model that all nodes have alike does not come to this one.
    """
    run = context.run
    if run.run_id not in _TOLD:
        refuse_unfit(settings, run.tags, getattr(context.instance.run_storage, "postgres_url", None))
        keep_to_what_was_given(context.instance, run)
        named = _resolved(run.run_config.get("ops", {}))
        told = ops_of(SettingsFile.of(settings.home), named)
        take_models(settings)  # before anything is chosen by what is there
        refuse_unusable(told, assets or {key.to_user_string() for key in context.job_def.asset_layer.selected_asset_keys})
        # A run that is executed again inherits its parent's tags.
        standing = {FAILURE_TAG: NO_FAILURE} if FAILURE_TAG in run.tags else {}
        context.instance.add_run_tags(run.run_id, {SETTINGS_TAG: deciding_sha256(told)[:16]} | standing)
        while len(_TOLD) >= _MOST_RUNS:
            del _TOLD[next(iter(_TOLD))]
        _TOLD[run.run_id] = told
    return _TOLD[run.run_id]


def _resolved(config: Any) -> Any:
    """A run's config with the values of environment variables that it names, as Dagster takes `{"env": "NAME"}`.

    Raises:
        SettingsUnusable: one is not set.
    """
    if not isinstance(config, Mapping):
        return config
    if [*config] == ["env"] and isinstance(config["env"], str):
        if (value := os.environ.get(config["env"])) is None:
            raise SettingsUnusable(f"the run's config names the environment variable {config['env']}, which is not set")
        return value
    return {name: _resolved(value) for name, value in config.items()}
