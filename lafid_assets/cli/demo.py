"""`lafid demo`: the whole road on generated footage.

Belongs here: the order of the demo and what it shows at the end. Not here: any step of the road.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.text import Text

from lafid_assets.cli.curate import curate_folder
from lafid_assets.cli.display import CONSOLE, show_funnel, working
from lafid_assets.cli.funnel import read_funnel
from lafid_assets.cli.materialize import CurationChoices, Materializer, open_materializer
from lafid_assets.cli.precompute import materialize_latents
from lafid_assets.ingest.locate import locate
from lafid_assets.jobs import RELEASE
from lafid_assets.release.evaluation_page import page_path
from lafid_assets.schemas import EVALUATED_VIDEOS, FUSION_DIT, LAFID_DATASET, REGISTERED_MODEL
from lafid_assets.schemas.registry import PASSED
from lafid_assets.training.training_latents import TrainingLatentsConfig
from model.files import whole_file
from resources.lake.lake import Lake
from resources.settings import Settings

CLIPS_PER_SHARD = 10
PROMPT = "The video features a person who turns their head and looks around."


def run_demo(settings: Settings) -> None:
    """Sample footage, dataset, model, registry, one generated video; a second demo finds everything done and says so."""
    begin = time.monotonic()
    footage = settings.home / "sample_footage"
    with working("building the sample footage"):
        from lafid_assets.sample_footage import build_sample_footage

        build_sample_footage(footage)
    materializer = open_materializer(settings, here=True)  # no other machine has the footage
    curate_folder(materializer, footage, CurationChoices(), CLIPS_PER_SHARD)
    materialize_latents(materializer, TrainingLatentsConfig(preset="tiny", semantic_encoder=None))
    materializer.run(RELEASE, "training, evaluating and registering the tiny model")
    lake = materializer.lake
    model = lake.read(REGISTERED_MODEL.name).row(0, named=True)
    video = _generate_once(settings, lake, model)
    _show_end(settings, lake, materializer, model, video, time.monotonic() - begin)


def _generate_once(settings: Settings, lake: Lake, model: dict[str, Any]) -> Path:
    """One video by the registered model, in a process of its own that knows nothing but the registry; kept once it is there."""
    folder = settings.home / "demo"
    video = folder / f"{model['model_name']}-v{model['model_version']}-{model['checkpoint_sha256'][:8]}.mp4"
    if not video.is_file():
        face = folder / "face.png"
        _cut_face(lake, face)
        with working(f"pulling {model['model_uri']} and generating a video"):
            command = [sys.executable, "-m", "lafid_assets.cli.main", "generate", "--home", str(settings.home)]
            options = {"--model": model["model_uri"], "--image": str(face), "--prompt": PROMPT, "--out": str(video)}
            arguments = [word for option in options.items() for word in option]
            subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
        CONSOLE.print(Text.assemble(("done", "green"), " pulled the model in a fresh process and generated a video"))
    return video


def _cut_face(lake: Lake, face: Path) -> None:
    """The first frame of a clip whose person the model never saw."""
    from PIL import Image

    from model.encoding.video_io import read_frames

    dataset = lake.read(LAFID_DATASET.name, columns=["clip_id", "shard", "split", "clip_root", "path"]).sort("split", "clip_id")
    clip = dataset.row(0, named=True)  # "test" sorts before "train" and "validation"
    footage = locate(lake, clip["shard"], [clip["clip_id"]]).get(clip["clip_id"])
    if footage is None:
        raise FileNotFoundError(f"{clip['path']} has disappeared from {clip['clip_root']}: delete that folder and run again")
    with whole_file(face) as temporary:
        Image.fromarray(read_frames(footage, [0.0])[0]).save(temporary)


def _show_end(
    settings: Settings, lake: Lake, materializer: Materializer, model: dict[str, Any], video: Path, seconds: float
) -> None:
    counts = read_funnel(settings)
    show_funnel(counts)
    trained = lake.read(FUSION_DIT.name).row(0, named=True)
    fall = 1 - trained["loss_after"] / trained["loss_before"]
    lines = {
        "training loss": f"{trained['loss_before']:.4f} before, {trained['loss_after']:.4f} after ({fall:.0%} less)",
        "registered model": f"{model['model_name']} version {model['model_version']}, {_alias(model)}",
        "generated video": str(video),
        "evaluation": _evaluation(lake, trained["checkpoint_sha256"]),
        "report": f"{lake.store.uri}/reports/{counts['dataset_version']}/report.html",
        "database": f"{settings.published_path} (DuckDB, a copy of the decisions; `lafid query` asks all tables)",
    }
    for name, value in lines.items():
        CONSOLE.print(f"{name + ':':18}{value}")
    computed, found = len(materializer.tally.computed), len(materializer.tally.up_to_date)
    CONSOLE.print(f"{computed} asset partitions computed, {found} were up to date, {seconds:.0f} s.")
    if not computed:
        CONSOLE.print("Everything was done already; nothing was computed again.")
    CONSOLE.print("Next: open the report and the video, then `make ui` for the asset graph and the model registry.")


def _evaluation(lake: Lake, checkpoint_sha256: str) -> str:
    drawn = lake.read(EVALUATED_VIDEOS.name).filter(checkpoint_sha256=checkpoint_sha256)
    if drawn.is_empty():
        return "of the loss alone: nobody is in the test split"
    return f"{lake.store.uri}/{page_path(checkpoint_sha256, drawn['bench_version'][0])}"


def _alias(model: dict[str, Any]) -> str:
    alias = f"alias {model['alias']}" if model["alias"] else "no alias"
    return alias if model["verdict"] == PASSED else f"{alias}, {model['verdict']}: {model['gate']}"
