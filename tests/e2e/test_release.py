"""From one champion to the next: a worse model is refused, a person decides otherwise and back, others pull it without LaFID."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from lafid_assets.cli.main import run
from lafid_assets.cli.materialize import Materializer, open_materializer
from lafid_assets.jobs import RELEASE
from resources.settings import Settings
from tests.demo_home import Demo

pytestmark = pytest.mark.e2e
WORSE = {"steps": 2, "trainable": "adapter_and_lora", "train": {"lora_rank": 4, "lora_alpha": 64}}
"""Two steps lower no loss; its LoRA is what others load."""
ELSEWHERE = """
import sys
for name in ("dagster", "mlflow", "lafid_assets", "resources", "polars", "duckdb"):
    sys.modules[name] = None
sys.path.insert(0, "code")
import hashlib, numpy, torch
from pathlib import Path
from PIL import Image
from model.bases.base import load_base
pipe = load_base(Path("base"), "cpu").image_to_video()
def draw():
    video = pipe(image=Image.open("face.png").resize((64, 64)), prompt="a person turns", height=64, width=64, num_frames=5,
                 num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np").frames[0]
    return hashlib.sha256(numpy.ascontiguousarray(video)).hexdigest()
print(draw())
pipe.load_lora_weights("lora", use_safetensors=True)
print(draw())
"""
"""Stock diffusers where there is no LaFID: frames without the LoRA, and with it."""


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's home, moved, with a second training that learned nothing: registered, judged, refused."""
    moved = tmp_path_factory.mktemp("release") / "home"
    shutil.copytree(demo.home, moved)
    return moved


@pytest.fixture(scope="module")
def materializer(home: Path) -> Materializer:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAFID_HOME", str(home))
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it, in the tests before this one, too
        patched.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
        opened = open_materializer(Settings(home=home, store_uri=str(home / "store")))
        one_case = {"model_evaluation": {"config": {"cases": 1}}}
        opened.run(RELEASE, "training on two steps", ops={"fusion_dit": {"config": WORSE}} | one_case)
    return opened


Lafid = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lafid(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lafid:
    """Runs the command on the home, in this process: a dozen of them would load MLflow and torch as often; its code, out, err."""

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
        monkeypatch.setattr(sys, "argv", ["lafid", *map(str, arguments), "--home", str(home)])
        return run(), *capsys.readouterr()

    return go


def _aliases(lafid: Lafid) -> dict[str, str]:
    """Alias to version, as the lineage of both tells it."""
    found = {}
    for version in ("1", "2"):
        code, out, err = lafid("lineage", f"models:/lafid/{version}", "--json")
        assert code == 0, err
        found |= dict.fromkeys(json.loads(out)["aliases"], version)
    return found


def test_a_worse_model_is_refused_and_a_person_has_the_last_word(materializer: Materializer, lafid: Lafid) -> None:
    judged = materializer.lake.sql("SELECT verdict, against_version, findings FROM judgements WHERE model_version = '2'")
    row = judged.row(0, named=True)
    assert (row["verdict"], row["against_version"]) == ("refused", "1")
    refused = {finding["rule"]: finding["sentence"] for finding in row["findings"] if finding["verdict"] == "refused"}
    assert {"training_loss", "no_worse"} <= set(refused)
    assert "champion version 1" in refused["no_worse"]
    assert _aliases(lafid) == {"champion": "1", "candidate": "2"}

    assert "version 2 is refused" in lafid("promote", "models:/lafid/2")[2]
    code, _, err = lafid("promote", "models:/lafid/2", "--force", "--why", "its LoRA is wanted")
    assert code == 0, err
    assert _aliases(lafid) == {"champion": "2", "previous": "1"}
    code, _, err = lafid("rollback", "--why", "it draws nobody")
    assert code == 0, err
    assert _aliases(lafid) == {"champion": "1", "previous": "2"}
    reasons = set(materializer.lake.sql("SELECT why FROM promotions WHERE to_version IS NOT NULL")["why"])
    assert any("its LoRA is wanted" in why for why in reasons)
    assert any("it draws nobody" in why for why in reasons)

    materializer.run(RELEASE[-1:], "registering again")
    assert _aliases(lafid) == {"champion": "1", "previous": "2"}, "what a person decided is not undone"


def test_its_lora_moves_stock_diffusers_where_there_is_no_lafid(
    materializer: Materializer, lafid: Lafid, demo: Demo, tmp_path: Path
) -> None:
    pulled = tmp_path / "pulled"
    code, _, err = lafid("pull", "models:/lafid/2", "--to", pulled)
    assert code == 0, err
    shutil.copy(demo.home / "demo" / "face.png", pulled / "face.png")
    drawn = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=pulled, capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    without, with_lora = drawn.stdout.split()[-2:]
    assert without != with_lora
