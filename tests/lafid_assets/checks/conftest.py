"""Funnels as versions have them."""

from collections.abc import Callable

import polars as pl
import pytest

from lafid_assets.schemas.products import OUTCOME_COUNT


@pytest.fixture(scope="session")
def funnel() -> Callable[..., pl.DataFrame]:
    """From (status, step, reason, clips)."""
    return lambda *rows: pl.DataFrame(rows, schema=OUTCOME_COUNT.to_schema(), orient="row")
