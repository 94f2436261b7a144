"""A real checkpoint, measured by processes of its own: as many as there are, the same result."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lafid_assets.release.evaluation import evaluate
from lafid_assets.release.evaluation_tasks import FOLDER, Subject
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clips.clip_set import ClipSet
from model.encoding.encoders import ClipEncoders
from model.evaluation.bench import Bench, MeasuringEngine, png_of, seal_bench, write_bench
from model.face_branch.trainable import assemble
from model.files import sha256_folder
from model.presets import preset
from model.release.checkpoint import EmbeddingSource, write_checkpoint
from model.release.drawing_settings import DrawingSettings
from tests.model.cached_clips import write_clips
from tests.model.conftest import encode_clips
from tests.model.evaluation.benches import small_facts
from tests.model.manifests import a_manifest

WIDTH = 128


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """An untrained model on embeddings as wide as dlib's, and cached clips of the test split."""
    build_tiny_base(tmp_path / "base")
    tiny, base = preset("tiny"), load_base(tmp_path / "base", "cpu")
    monkeypatch.setattr("tests.model.conftest.EMBEDDING_WIDTH", WIDTH)
    clip_list = write_clips(tmp_path, encode_clips(base), split=lambda _: "test")
    model = assemble(base, ClipSet(clip_list, "test").batch([0]).face, tiny.fusion, tiny.train)
    source = EmbeddingSource(name="dlib", version="20", width=WIDTH)
    manifest = a_manifest(tiny, base.info, face_engine=source, encoders_fingerprint=ClipEncoders(base).fingerprint)
    write_checkpoint(tmp_path / "run", model, manifest)
    drawing = DrawingSettings(device="cpu")
    return Subject("abc", tmp_path / "run", tmp_path / "base", tmp_path, tmp_path / "bench", clip_list, drawing, 4)


@pytest.fixture
def bench(subject: Subject) -> Bench:
    """Three cases that begin with a wide picture of the astronaut, of which the model's size shows a square around the face."""
    astronaut = pytest.importorskip("skimage.data", reason="needs a photograph of a face").astronaut()[:288]
    facts, pictures = small_facts(persons=3)
    wide = {"width": 512, "height": 288, "centre_xy_px": (224.0, 100.0)}
    cases = tuple(case.model_copy(update=wide) for case in facts.cases)
    pictures |= {case.first_frame: png_of(astronaut) for case in cases}
    persons = []
    for number, person in enumerate(facts.persons):
        embedding = tuple(np.eye(WIDTH)[number].tolist())
        gallery = tuple(face.model_copy(update={"embedding": embedding}) for face in person.gallery)
        persons.append(person.model_copy(update={"gallery": gallery}))
    engine = MeasuringEngine(name="dlib", version="20", width=WIDTH, fingerprint="another")
    made = seal_bench(facts.model_copy(update={"cases": cases, "persons": tuple(persons), "engine": engine}), pictures)
    assert subject.bench_dir is not None
    write_bench(subject.bench_dir, made, pictures)
    return made


@pytest.mark.long
def test_one_process_and_two_give_equal_measures_and_equal_videos(
    subject: Subject, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    kept = subject.root / FOLDER
    found: list[tuple[pl.DataFrame, ...]] = []
    digests: list[str] = []
    for processes in (1, 2):
        frames = evaluate(subject, bench, bench.cases, {"test": 5}, 600, processes)
        found.append(tuple(frames.values()))
        digests.append(sha256_folder(kept))
        shutil.rmtree(kept)
    assert all(one.equals(two) for one, two in zip(*found, strict=True))
    assert digests[0] == digests[1]
    measures, videos, faces = found[0]
    assert videos["status"].to_list() == ["ok"] * 3
    assert videos.select(pl.col("first_frame_psnr_db") > 30).to_series().all()
    assert set(videos["height"]) == set(videos["width"]) == {64}
    assert faces.height == 3 * 8
    value = dict(measures.select("metric", "value").iter_rows())
    assert value["flow_loss"] > 0
    assert value["motion_amplitude"] is not None
    assert "is not in the model store" in dict(measures.select("metric", "absent").iter_rows())["fid"]
