"""An engine a file, whoever of Dagster's storages asks for it."""

from pathlib import Path

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from lafid_assets import dagster_engines, definitions


def test_a_storage_makes_no_engine_for_its_next_connection(tmp_path: Path) -> None:
    assert definitions.keep_engines is dagster_engines.keep_engines, "whoever loads the definitions has them kept"
    storage = SqliteEventLogStorage(str(tmp_path))
    storage.add_dynamic_partitions("shards", ["one"])
    made = dagster_engines._engine.cache_info().misses
    storage.add_dynamic_partitions("shards", ["two"])
    assert storage.get_dynamic_partitions("shards") == ["one", "two"]
    assert dagster_engines._engine.cache_info().misses == made > 0
