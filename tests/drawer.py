"""A plugin of the tests: a model that draws in this process, and benches of invented persons for it."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lafid_assets.release import evaluation, evaluation_child, evaluation_page
from lafid_assets.release.evaluation_tasks import Subject
from lafid_assets.workers.pool import Done, Failed
from model.encoding.face_processor import FaceError
from model.evaluation.bench import Bench, seal_bench, write_bench
from model.face_engine.interface import EngineInfo, Face
from model.face_engine.rotations import rotation_from_angles
from model.presets import preset
from model.release.drawing_settings import AS_TRAINED
from tests.model.evaluation.benches import ENGINE, WIDTH, direction, small_facts

ENCODED = SimpleNamespace(encoders_fingerprint="trained on")


class Colours:
    """Sees in a picture the bench's person of that brightness, turned by 30 degrees; nobody where it is white."""

    info = EngineInfo(ENGINE.name, ENGINE.version, WIDTH, "none", ENGINE.fingerprint)

    def detect(self, image_rgb: np.ndarray, *, embed: bool = True) -> list[Face]:
        grey = float(image_rgb.mean())
        if grey > 240:
            return []
        turned = rotation_from_angles(30, 0, 0).astype(np.float32)
        embedding = np.array(direction(round(grey / 40), 1), np.float32)
        return [Face((0, 0, 8, 8), 1.0, np.zeros((0, 2), np.float32), turned, embedding, None)]


class StubPipeline:
    """A perfect model at first: goes on with the given picture. Then every other frame is white, which shows no face."""

    fps = 8.0
    in_place = nullcontext

    def __init__(self, layout: str = "ti2v", references: Any = None) -> None:
        fusion = preset("tiny").fusion.model_copy(update={"references": references})
        small = preset("tiny").model_copy(update={"fusion": fusion})
        self.manifest = SimpleNamespace(
            preset=small, base=SimpleNamespace(layout=layout), encoders_fingerprint=ENCODED.encoders_fingerprint
        )
        self.engine = Colours()
        self.drawn: list[dict[str, Any]] = []

    def face(self, photo: Image.Image, choose: str) -> None:
        if np.asarray(photo).mean() > 240:
            raise FaceError("no face found")

    def generate(
        self, image: Any, prompt: str, *, photos: Any, num_frames: int, height: int, width: int, **more: Any
    ) -> np.ndarray:
        asked = {"prompt": prompt, "photos": len(photos), "seed": more["seed"], "steps": more["steps"]}
        self.drawn.append(asked | {"given": image is not None})
        if "unusable" in prompt:
            raise FaceError("no face found")
        if "fault" in prompt:
            raise ZeroDivisionError("a fault")
        first = np.full((height, width, 3), np.asarray(photos[0]).mean(), np.uint8) if image is None else np.asarray(image)
        frames = np.stack([first] * num_frames)
        frames[2::2] = 255
        return frames


@pytest.fixture
def drawer(monkeypatch: pytest.MonkeyPatch) -> StubPipeline:
    """What draws, in this process; the flow loss is 2 wherever it is asked for."""
    import model.clips.clip_set
    import model.training.metrics

    def in_this_process(work: Callable, tasks: Sequence, *_: Any, **__: Any) -> Iterator[tuple[int, Any]]:
        for index, task in reversed(list(enumerate(tasks))):  # children end in any order
            try:
                yield index, Done(work(task))
            except ZeroDivisionError as error:
                yield index, Failed(str(error))

    stub = StubPipeline()
    monkeypatch.setattr(evaluation_child, "_pipeline", lambda _: stub)
    monkeypatch.setattr(evaluation, "map_isolated", in_this_process)
    monkeypatch.setattr(model.clips.clip_set, "ClipSet", lambda _, split: SimpleNamespace(split=split, meta=ENCODED))
    monkeypatch.setattr(model.training.metrics, "fixed_flow_loss", lambda model, clips, *_: {"test": 2.0}[clips.split])
    return stub


@pytest.fixture
def bench_of(tmp_path: Path) -> Callable[..., Bench]:
    """A bench in `bench`, whose cases say something else where the test wants it."""

    def make(prompts: Sequence[str] = (), folder: str = "bench", **kinds: int) -> Bench:
        facts, pictures = small_facts(**kinds)
        cases = [
            case.model_copy(update={"prompt": prompts[number]} if number < len(prompts) else {})
            for number, case in enumerate(facts.cases)
        ]
        bench = seal_bench(facts.model_copy(update={"cases": tuple(cases)}), pictures)
        write_bench(tmp_path / folder, bench, pictures)
        return bench

    return make


@pytest.fixture
def evaluation_subject(tmp_path: Path) -> Subject:
    store = tmp_path / "store"
    return Subject("abc", store / "run", store / "base", store, tmp_path / "bench", store / "clips.parquet", AS_TRAINED, 4)


@pytest.fixture
def quick_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chart of a page is one grey pixel, for tests that look at none: drawing them costs more than all else in it."""
    drawn = io.BytesIO()
    Image.new("L", (1, 1)).save(drawn, "PNG")
    for name in ("by_yaw_png", "frames_png"):
        monkeypatch.setattr(evaluation_page, name, lambda *_: drawn.getvalue())
