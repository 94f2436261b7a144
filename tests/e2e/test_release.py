"""From one champion to the next: a worse model is refused, a person decides otherwise and back, others pull it without LaFID."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from lafid_assets.cli.materialize import Materializer, open_materializer
from lafid_assets.jobs import RELEASE
from resources.settings import Settings
from tests.demo_home import Demo, run_lafid

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
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


def _aliases(home: Path) -> dict[str, str]:
    """Alias to version, as the lineage of both tells it."""
    found = {}
    for version in ("1", "2"):
        told = run_lafid(home, "lineage", f"models:/lafid/{version}", "--json")
        assert told.returncode == 0, told.stderr
        found |= dict.fromkeys(json.loads(told.stdout)["aliases"], version)
    return found


def test_a_worse_model_is_refused_and_a_person_has_the_last_word(home: Path, materializer: Materializer) -> None:
    judged = materializer.lake.sql("SELECT verdict, against_version, findings FROM judgements WHERE model_version = '2'")
    row = judged.row(0, named=True)
    assert (row["verdict"], row["against_version"]) == ("refused", "1")
    refused = {finding["rule"]: finding["sentence"] for finding in row["findings"] if finding["verdict"] == "refused"}
    assert {"training_loss", "no_worse"} <= set(refused)
    assert "champion version 1" in refused["no_worse"]
    assert _aliases(home) == {"champion": "1", "candidate": "2"}

    assert "version 2 is refused" in run_lafid(home, "promote", "models:/lafid/2").stderr
    forced = run_lafid(home, "promote", "models:/lafid/2", "--force", "--why", "its LoRA is wanted")
    assert forced.returncode == 0, forced.stderr
    assert _aliases(home) == {"champion": "2", "previous": "1"}
    back = run_lafid(home, "rollback", "--why", "it draws nobody")
    assert back.returncode == 0, back.stderr
    assert _aliases(home) == {"champion": "1", "previous": "2"}
    reasons = set(materializer.lake.sql("SELECT why FROM promotions WHERE to_version IS NOT NULL")["why"])
    assert any("its LoRA is wanted" in why for why in reasons)
    assert any("it draws nobody" in why for why in reasons)

    materializer.run(RELEASE[-1:], "registering again")
    assert _aliases(home) == {"champion": "1", "previous": "2"}, "what a person decided is not undone"


def test_its_lora_moves_stock_diffusers_where_there_is_no_lafid(
    home: Path, materializer: Materializer, demo: Demo, tmp_path: Path
) -> None:
    pulled = tmp_path / "pulled"
    done = run_lafid(home, "pull", "models:/lafid/2", "--to", str(pulled))
    assert done.returncode == 0, done.stderr
    shutil.copy(demo.home / "demo" / "face.png", pulled / "face.png")
    drawn = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=pulled, capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    without, with_lora = drawn.stdout.split()[-2:]
    assert without != with_lora
