"""`lafid opens2v` around a stand-in model: which prompts are drawn, what is scored, and what is absent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.encoding.face_processor import FaceError
from model.evaluation.measures import networks as networks_module
from tests.lafid_assets.cli.stand_in import StandIn
from tests.model.evaluation.measures.invented import FrameFinder, face_picture, networks_of


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Three of one person, of whom one has no picture, and one of two persons."""
    entry = {"class_label": ["man"], "synthesis_flag": "False"}
    told = {
        key: entry | {"img_paths": [f"Images/man/{key}.png"], "prompt": f"the words of {key}"}
        for key in ("singlehuman_1", "singleface_2", "humanobj_3", "multihuman_4")
    }
    folder = tmp_path / "eval"
    (folder / "Images" / "man").mkdir(parents=True)
    for key in ("singlehuman_1", "singleface_2", "multihuman_4"):
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "Images" / "man" / f"{key}.png")
    (folder / "Open-Domain_Eval.json").write_text(json.dumps(told))
    return folder / "Open-Domain_Eval.json"


def test_prompts_of_one_person_are_drawn_once_and_what_is_not_scored_is_absent(
    lafid: Any, stand_in: StandIn, prompts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "facesim.json").write_text('{"singlehuman_1": {"cur_score": 0.9}}')  # of another model's video
    (out / "nexusscore.json").write_text('{"singlehuman_1": {"retrieval_score": 0.5}}')  # by the benchmark's own program
    ended = lafid("opens2v", prompts, "--out", out, "--steps", 2)
    assert "nexusscore.json: retrieval_score 0.5000 over 1 videos" in ended.out
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in out.glob("*.mp4")) == ["singleface_2.mp4", "singlehuman_1.mp4"]
    assert [words for words, _ in stand_in.drawn] == ["the words of singlehuman_1", "the words of singleface_2"]
    assert [picture.size for picture in stand_in.asked["photos"]] == [(64, 64)]
    absent = json.loads((out / "absent.json").read_text())
    assert "does not ask for one person" in absent["facesim.json"]["multihuman_4"]
    assert "is missing: download" in absent["facesim.json"]["humanobj_3"]
    assert "not in the model store" in absent["facesim.json"]["singlehuman_1"]
    assert "nexusscore.json" in absent
    assert not (out / "facesim.json").exists()
    assert "drawn before, for the same request" in lafid("opens2v", prompts, "--out", out, "--steps", 2).out
    assert len(stand_in.drawn) == 2


def test_scores_are_the_benchmarks_and_a_picture_without_a_face_costs_its_own_video(
    lafid: Any, stand_in: StandIn, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def curricular(crops: np.ndarray) -> np.ndarray:
        return torch.nn.functional.normalize(torch.ones(len(crops), 4)).numpy()

    found = networks_of(faces=FrameFinder(), curricular=curricular)
    monkeypatch.setattr(networks_module, "Networks", lambda _store: found)
    draws = stand_in.generate

    def one_fails(image: Any, prompt: str, **request: Any) -> np.ndarray:
        if prompt.endswith("singleface_2"):
            raise FaceError("the photo shows no face")
        return draws(image, prompt, **request)

    monkeypatch.setattr(stand_in, "generate", one_fails)
    Image.fromarray(face_picture(0, (8, 8, 40))).save(prompts.parent / "Images" / "man" / "singlehuman_1.png")
    assert lafid("opens2v", prompts, "--out", tmp_path / "out").code == 0
    absent = json.loads((tmp_path / "out" / "absent.json").read_text())["facesim.json"]
    assert absent["singleface_2"] == "the photo shows no face"
    assert "singlehuman_1" not in absent
    scores = json.loads((tmp_path / "out" / "facesim.json").read_text())
    assert scores == {"singlehuman_1": {"cur_score": 0.0, "arc_score": 0.0}}, "its rule: no frame with a face is worth 0"


def test_a_file_that_asks_for_nothing_of_ours_is_refused(lafid: Any, stand_in: StandIn, prompts: Path, tmp_path: Path) -> None:
    told = {key: entry for key, entry in json.loads(prompts.read_text()).items() if key == "multihuman_4"}
    prompts.write_text(json.dumps(told))
    assert "asks for nothing that a model of one person can draw" in lafid("opens2v", prompts, "--out", tmp_path / "o").error
