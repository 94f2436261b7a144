"""A plugin of the tests: the revisions of Dagster's and MLflow's databases are read once a process.

Tests make hundreds of Dagster instances and open dozens of registries. For each database Alembic runs its folder of some eighty
revisions, to know which is the last one: more than all else that an empty instance costs.
"""

from collections.abc import Iterator
from functools import cache

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory


@pytest.fixture(scope="session", autouse=True)
def _revisions_are_read_once() -> Iterator[None]:
    read = ScriptDirectory.from_config

    @cache
    def read_once(location: str) -> ScriptDirectory:
        config = Config()
        config.set_main_option("script_location", location)
        return read(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", lambda config: read_once(str(config.get_main_option("script_location"))))
        yield
