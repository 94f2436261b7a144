"""`lafid doctor`: every line, the exit code, and that nothing is made."""

import json
from pathlib import Path
from typing import Any

import pytest

from resources.settings import PROJECT_ROOT

RAY_YAML = PROJECT_ROOT / "deploy" / "dagster.ray.yaml"


def test_a_new_machine_can_work_and_has_nothing_made(lafid: Any, home: Path) -> None:
    ended = lafid("doctor", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["fit"]) == (0, True)
    states = {each["about"]: each["state"] for each in found["findings"]}
    assert states["store"] == states["models"] == "ok"
    assert not {"ray", "cluster", "records"} & states.keys()
    assert not home.exists()
    lines = lafid("doctor").out.splitlines()
    assert lines[0].startswith("ok     software:       lafid ")
    assert lines[-1] == "this node can work"


def test_what_blocks_is_told_in_a_line_each_and_by_the_exit_code(lafid: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of a cluster whose servers are all away."""
    nobody = "127.0.0.1:9"
    for name, value in {
        "LAFID_DAGSTER_YAML": str(RAY_YAML),
        "LAFID_DAGSTER_DB": f"postgresql+psycopg2://me:geheim-wort@{nobody}/dagster",
        "LAFID_CATALOG": f"postgresql://me:geheim-wort@{nobody}/lake",
        "RAY_JOB_ADDRESS": f"http://{nobody}",
        "LAFID_DAGSTER_URL": f"http://{nobody}",
        "MLFLOW_TRACKING_URI": f"http://{nobody}",
    }.items():
        monkeypatch.setenv(name, value)
    ended = lafid("doctor", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["fit"]) == (1, False)
    blocking = {each["about"] for each in found["findings"] if each["state"] == "blocks"}
    assert blocking == {"catalog", "records", "cluster", "same software", "clock", "webserver", "ray", "mlflow"}
    assert "geheim" not in ended.out + ended.err
    assert "this node cannot work: mend what blocks" in lafid("doctor").out
    assert not home.exists()


def test_an_instance_whose_database_is_not_named_is_refused(lafid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(RAY_YAML))
    assert (
        "keeps Dagster's records where LAFID_DAGSTER_DB says, which is not set: set it to postgresql+p" in lafid("doctor").error
    )
    monkeypatch.setenv("LAFID_DAGSTER_YAML", "/nowhere.yaml")
    assert "there is no /nowhere.yaml: set LAFID_DAGSTER_YAML" in lafid("doctor").error
