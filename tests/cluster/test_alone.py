"""`lafid forget` and `lafid sweep` are alone on a store, from whichever home: their leases lie in the catalog's Postgres."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lafid_assets.cli.forget import run_forget
from lafid_assets.cli.sweep import run_sweep
from lafid_assets.lake import open_lake
from resources.leases.leases import StoreBusy
from resources.settings import Settings

COMMANDS = {
    "lafid forget": lambda settings: run_forget(settings, ["0" * 64], [], dry_run=False, delete_files=False),
    "lafid sweep": lambda settings: run_sweep(settings, dry_run=False),
}


@pytest.fixture
def homes(tmp_path: Path, postgres_url: str) -> tuple[Settings, Settings]:
    """Two on one store and one catalog."""
    one, two = (
        Settings(home=tmp_path / name, store_uri=str(tmp_path / "store"), catalog_address=postgres_url) for name in ("one", "two")
    )
    with closing(open_lake(one)) as lake:
        lake.stamps()
    return one, two


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_of_one_home_keeps_the_other_from_being_alone(
    homes: tuple[Settings, Settings], command: Callable[[Settings], object]
) -> None:
    one, two = homes
    with (
        closing(open_lake(one)) as lake,
        lake.leases.at_work("a Dagster run of home one"),
        pytest.raises(StoreBusy, match="a Dagster run of home one on"),
    ):
        command(two)
