"""Every step that is an asset, with its config: filled as `Step.as_asset` defines them.

Belongs here: that table, which the settings read and the steps fill. Not here: what a step is (`step`).
"""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from lafid_assets.steps.step import Step

STEPS: "dict[str, tuple[Step, type[BaseModel]]]" = {}
"""Asset to its step and its config's class."""
UNDER: dict[str, Callable[[type[BaseModel]], Any]] = {}
"""Asset to what makes Dagster's definition of it anew, under a config with other defaults."""


def all_steps() -> "Mapping[str, tuple[Step, type[BaseModel]]]":
    """`STEPS` with every asset of the installation: loaded now where only some of them were."""
    importlib.import_module("lafid_assets.definitions")
    return STEPS
