"""Dagster's instance takes the lake's shards and no others."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from lafid_assets.instance import Instance
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import CLIP_FILES
from resources.lake import Lake
from resources.settings import Settings

HELD = "shard-00000-aaaaaaaa"


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The installation's own, as `dagster.yaml` names it."""
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance, Instance)
        yield instance


def test_a_shard_without_clips_is_refused_and_nothing_of_the_request_is_kept(
    lake: Lake, instance: dg.DagsterInstance, row_of: Callable[..., dict[str, Any]]
) -> None:
    name = str(CLIP_SHARDS.name)
    lake.put({CLIP_FILES.name: CLIP_FILES.frame([row_of(CLIP_FILES, shard=HELD)])}, HELD, "f")
    with pytest.raises(Exception, match="no clips are in a shard shard-1: shards are made of files"):
        instance.add_dynamic_partitions(name, [HELD, "shard-1"])
    assert instance.get_dynamic_partitions(name) == []
    instance.add_dynamic_partitions(name, [HELD])
    assert instance.get_dynamic_partitions(name) == [HELD]


def test_a_home_without_a_lake_has_no_shards_and_gets_none(instance: dg.DagsterInstance) -> None:
    with pytest.raises(Exception, match="no clips are in a shard"):
        instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [HELD])


def test_other_partitions_are_dagsters_own_affair(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("weeks", ["one"])
    assert instance.get_dynamic_partitions("weeks") == ["one"]
