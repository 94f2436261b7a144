"""From a model to its clips and back, on a machine that has nothing but the addresses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.lake import open_lake
from lafid_assets.release.licences import Licensed
from lafid_assets.release.lineage import lineage_tags
from lafid_assets.release.promotion import at_registry
from lafid_assets.schemas import FUSION_DIT, JUDGEMENTS
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import EXPERIMENT, Tracking

BASE = {"name": "wan", "repository": "Wan-AI/Wan2.1", "revision": "c0ffee", "sha256": "9" * 64}
PARTS = [Licensed("clips OpenHumanVid", "CC-BY-NC-ND-4.0"), Licensed("base wan", "Apache-2.0")]


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    """With a catalog that serves several machines; one in a file serves one home."""
    return Settings(home=tmp_path / "home", store_uri=str(tmp_path / "store"), catalog_address=postgres_url)


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    lake = open_lake(settings)
    yield lake
    lake.close()


@pytest.fixture
def elsewhere(
    lake: Lake,
    tracking: Tracking,
    settings: Settings,
    register_version: Callable[..., str],
    keep_dataset: Callable[..., None],
    row_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """A champion trained on one dataset version, and a second one that is not registered; the command is run in another home."""
    keep_dataset("v1", {"aa11": "CC-BY-NC-ND-4.0", "aa22": "CC-BY-NC-ND-4.0"})
    keep_dataset("v2", {"aa11": "CC-BY-NC-ND-4.0", "bb33": "MIT"})
    checkpoint = row_of(FUSION_DIT, checkpoint_sha256="c" * 64, dataset_version="v1", mlflow_run_id="run of the training")
    decided = json.dumps({"pose_filtered_clips": {"policy": ["cofe"]}})
    lake.commit(lambda writer: writer.cursor.execute(f"UPDATE dataset_versions SET decided_by = '{decided}'"))
    tags = lineage_tags(checkpoint, BASE, None, PARTS, "abc", "dagster run")
    register_version("c" * 64, **{name: value for name, value in tags.items() if name != "lafid.checkpoint_sha256"})
    said = {"rule": "likeness", "verdict": "passed", "figure": 0.1, "bound": 0.0, "sentence": "above strangers"}
    judged = {"judgement_id": "j", "model_name": "lafid", "model_version": "1", "verdict": "passed", "findings": [said]}
    frame = JUDGEMENTS.frame([row_of(JUDGEMENTS, **judged)])
    lake.commit(lambda writer: writer.add("judgements", frame))
    with at_registry(lake, tracking, "lafid") as registry:
        registry.promote("1", how="gate", why="passed the gate", judgement_id="j")
    client = tracking.connect()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    logged = client.create_logged_model(experiment, name="unregistered", tags={"lafid.dataset_version": "v2"})
    client.finalize_logged_model(logged.model_id, "READY")
    monkeypatch.setenv("LAFID_STORE", settings.store_uri)
    monkeypatch.setenv("LAFID_CATALOG", str(settings.catalog_address))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    return logged.model_id


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of the command: another machine's."""
    return tmp_path / "another machine"


def test_from_the_champion_back_to_its_clips_and_forth(elsewhere: str, lafid: Any, home: Path) -> None:
    found = json.loads(lafid("lineage", "models:/lafid@champion", "--json").out)
    assert (found["model"], found["aliases"], found["checkpoint_sha256"]) == ("models:/lafid/1", ["champion"], "c" * 64)
    assert found["base"] == BASE
    assert found["runs"] == {"mlflow": "run of the training", "dagster": "dagster run"}
    assert (found["commit"], found["dataset_version"]) == ("abc", "v1")
    assert found["licences"] == ["clips OpenHumanVid: CC-BY-NC-ND-4.0", "base wan: Apache-2.0"]
    assert found["dataset"]["policies"] == ["cofe"]
    assert [clip["clip_id"] for clip in found["clips"]] == ["aa11", "aa22"]
    assert {clip["licence"] for clip in found["clips"]} == {"CC-BY-NC-ND-4.0"}
    assert [row["verdict"] for row in found["judgements"]] == ["passed"]
    assert [(row["alias"], row["to_version"]) for row in found["promotions"]] == [("champion", "1")]

    text = lafid("lineage", "models:/lafid@champion").out
    for said in ("models:/lafid/1 (champion)", "c0ffee", "2 of split train", "above strangers", "nobody -> 1, gate by", "aa22"):
        assert said in text

    clip = json.loads(lafid("lineage", "--clip", "aa1", "--json").out)
    assert clip["clip_id"] == "aa11"
    assert [row["dataset_version"] for row in clip["dataset_versions"]] == ["v1", "v2"]
    assert [(row["model"], row["aliases"]) for row in clip["models"]] == [("models:/lafid/1", ["champion"])]
    assert clip["checkpoints"] == [{"model": f"models:/{elsewhere}", "dataset_version": "v2"}]
    other = lafid("lineage", "--clip", "bb33").out
    assert f"models:/{elsewhere}, never registered" in other
    assert "models:/lafid/1" not in other
    assert not (home / "mlflow").exists()
    assert not (home / "store").exists()

    assert "2 clips begin with aa: aa11, aa22; say more of it" in lafid("lineage", "--clip", "aa").error
    assert "no dataset version holds clip zz" in lafid("lineage", "--clip", "zz").error
    assert "has no models:/lafid@shop" in lafid("lineage", "models:/lafid@shop").error
    for asked in ((), ("models:/lafid/1", "--clip", "aa11")):
        assert "name a model, such as models:/lafid@champion, or a clip with --clip" in lafid("lineage", *asked).error
