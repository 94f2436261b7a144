"""A Dagster instance on disk, which a schedule's context asks for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test


@pytest.fixture(scope="session")
def _empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copying its databases is cheaper than making their tables."""
    folder = tmp_path_factory.mktemp("dagster")
    with instance_for_test(temp_dir=str(folder)) as instance:
        instance.add_dynamic_partitions("none", [])
    return folder


@pytest.fixture
def instance(_empty_instance: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(_empty_instance, tmp_path / "dagster")
    with instance_for_test(temp_dir=str(tmp_path / "dagster")) as instance:
        yield instance
