"""Commands that only ask: they make and change nothing, and what they find is one JSON object on stdout."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.settings import Settings
from resources.tracking import EXPERIMENT, Tracking

READING = {
    ("status",): {"home", "home_is_there", "store", "shards", "dataset", "runs", "champion", "disk"},
    ("funnel",): {"dataset_version", "in", "kept", "rejected", "error", "timeout", "skipped", "recordings", "shots", "unjudged"},
    ("settings", "diff"): {"file", "file_is_there", "curated", "compared", "differing", "shards", "stale", "dataset_is_current"},
    ("whatif", "--set", "pose_variation_min_deg=60"): {
        *("policy", "differing", "judged", "kept_now", "kept_then", "changed", "unjudged", "unseen", "measure")
    },
    ("diff", "latest", "latest"): {
        *("versions", "clips", "persons", "made_at", "came", "went", "went_by_decision", "changed", "captions", "rules_differ"),
        *("erased", "rows"),
    },
    ("explain", "text.mp4"): {
        *("clip_id", "shard", "status", "step", "reason", "said", "identity_id", "split", "measures", "rules", "scan_margins"),
        *("marks", "shots", "frames", "picture"),
    },
    ("query", "SELECT count(*) AS clips FROM clips"): None,
    ("lineage", "models:/lafid/1"): {
        *("model", "aliases", "verdict", "checkpoint_sha256", "source", "runs", "commit", "base", "preset", "dataset_version"),
        *("dataset", "licences", "judgements", "promotions", "clips"),
    },
    ("models", "list"): {"folder", "models"},
    ("presets", "tiny"): None,
}
"""Command to the keys of its object; None: a list of objects."""
WITHOUT_A_HOME = {"status", "settings", "models"}
"""What there is to be said of a home that is not there."""


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with what it holds, every folder; without what SQLite keeps beside a file while somebody has it open."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith(("-shm", "-wal"))
    }


@pytest.fixture
def finished(
    curated_home: Path,
    settings: Settings,
    tracking: Tracking,
    register_version: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A home with tables, a Dagster instance that has a run, and a registry with a version."""
    register_version("c" * 64)
    settings.prepare()

    @dg.asset
    def anything() -> None: ...

    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([anything], instance=instance).success
    for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return curated_home


@pytest.mark.parametrize("command", [one for one in READING if one[0] != "presets"], ids=" ".join)
def test_at_a_home_that_is_not_there_nothing_is_made(lafid: Any, home: Path, command: tuple[str, ...]) -> None:
    before = _tree(home.parent)
    ended = lafid(*command)
    assert (ended.code == 0) == (command[0] in WITHOUT_A_HOME), ended.err
    assert _tree(home.parent) == before
    assert not home.exists()


def test_upkeep_of_a_home_that_is_not_there_makes_none(lafid: Any, home: Path) -> None:
    assert "name the home with --home or LAFID_HOME" in lafid("compact").error
    assert not home.exists()


def test_at_a_finished_home_nothing_is_changed_and_objects_have_their_keys(lafid: Any, finished: Path) -> None:
    before = _tree(finished)
    for command, keys in READING.items():
        told = lafid(*command)
        assert (told.code, told.err) == (0, ""), command
        asked = lafid(*command, "--json")
        assert (asked.code, asked.out.count("\n")) == (0, 1), "the object is the only line on stdout"
        found = json.loads(asked.out)
        assert (set(found) if keys else isinstance(found, list)) == (keys or True), command
        assert _tree(finished) == before, command
    assert json.loads(lafid("status", "--json").out)["runs"] == {"active": 0, "failed_last_day": 0, "last_failure": None}


def test_a_question_makes_no_experiment_in_a_teams_registry(
    lafid: Any, home: Path, tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "team.db"
    shutil.copy(tracking.uri.removeprefix("sqlite:///"), database)
    shutil.rmtree(home)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM experiments WHERE name = ?", (EXPERIMENT,))
        connection.commit()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    assert json.loads(lafid("status", "--json").out)["champion"] is None
    assert "has no models:/lafid/1: nothing is registered there yet" in lafid("lineage", "models:/lafid/1").error
    with closing(sqlite3.connect(database)) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM experiments")] == ["Default"]
