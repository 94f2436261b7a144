"""What policies said, stored once under its hash: rows name the hash.

Belongs here: the row of `policy_settings`, and reading it back. Not here: what a policy is (each chapter's `policies`).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from lafid_assets.schemas import POLICY_SETTINGS

if TYPE_CHECKING:
    from resources.lake.lake import Lake
    from resources.lake.reader import Reader


def settings_row(settings: str) -> tuple[str, pl.DataFrame]:
    """The hash under which rows name these settings, and the frame of `policy_settings` that holds them.

    Args:
        settings: JSON; the order of its lines says nothing, and Dagster changes it on the way to another process.
    """
    settings = json.dumps(json.loads(settings), sort_keys=True)
    sha256 = hashlib.sha256(settings.encode()).hexdigest()
    return sha256, POLICY_SETTINGS.frame([{"policy_sha256": sha256, "settings": settings}])


def all_settings(lake: "Lake | Reader") -> Mapping[str, str]:
    """Hash to settings, of all that were ever written."""
    return dict(lake.read(POLICY_SETTINGS.name).iter_rows())
