"""OpenS2V-Eval's files: layouts as its repository has them, with invented content."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.evaluation.opens2v import (
    ABSENT_FILE,
    NOT_OURS,
    SCORE_FIELDS,
    OpenS2VError,
    means_of,
    read_prompts,
    read_scores,
    requests_of,
    write_scores,
)

KINDS = {
    "singlehuman": ["Images/singlehuman/man/1.png"],
    "singleface": ["Images/singleface/crop_woman/1.png"],
    "humanobj": ["Images/humanobj/thing/book/0.png", "Images/humanobj/human/woman/celebrity/1.jpg"],
    "faceobj": ["Images/humanobj/human/crop_man/synthesis/5.png", "Images/humanobj/environment/park/1.jpg"],
    "multihuman": ["Images/multihuman/man/1.jpg", "Images/multihuman/woman/1.jpg"],
    "multiface": ["Images/multiface/crop_woman/1.jpg", "Images/multiface/crop_man/2.jpg"],
    "singleobj": ["Images/singleobject/cup/52.jpg"],
    "multiobject": ["Images/multiobject/cup/1.jpg", "Images/multiobject/manual/2.jpg"],
}
"""A key's beginning to the pictures of its prompts, as the benchmark lays them out."""


@pytest.fixture
def prompts() -> dict[str, Any]:
    """One prompt of each kind."""
    return {
        f"{kind}_{number}": {
            "img_paths": paths,
            "prompt": f"Prompt of {kind}.",
            "class_label": ["Man"] * len(paths),
            "synthesis_flag": "wrong",
        }
        for number, (kind, paths) in enumerate(KINDS.items(), 1)
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def put(content: Any) -> Path:
        path = tmp_path / "Open-Domain_Eval.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return put


def test_persons_are_asked_for_by_the_picture_that_facesim_compares_with(
    prompts: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    for paths in KINDS.values():
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    asked, left_out = requests_of(read_prompts(write(prompts)), tmp_path)
    assert [(one.key, one.prompt, one.photo.relative_to(tmp_path).as_posix()) for one in asked] == [
        ("singlehuman_1", "Prompt of singlehuman.", "Images/singlehuman/man/1.png"),
        ("singleface_2", "Prompt of singleface.", "Images/singleface/crop_woman/1.png"),
        ("humanobj_3", "Prompt of humanobj.", "Images/humanobj/human/woman/celebrity/1.jpg"),
        ("faceobj_4", "Prompt of faceobj.", "Images/humanobj/human/crop_man/synthesis/5.png"),
    ]
    assert asked[0].video_name == "singlehuman_1.mp4"
    assert left_out == {
        "multihuman_5": "multihuman does not ask for one person",
        "multiface_6": "multiface does not ask for one person",
        "singleobj_7": "singleobj does not ask for one person",
        "multiobject_8": "multiobject does not ask for one person",
    }


def test_a_missing_picture_is_told_and_costs_its_prompt_alone(
    prompts: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    photo = tmp_path / "Images/singlehuman/man/1.png"
    photo.parent.mkdir(parents=True)
    photo.touch()
    prompts["singleface_2"]["img_paths"] = ["Images/elsewhere/1.png"]
    asked, left_out = requests_of(read_prompts(write(prompts)), tmp_path)
    assert [one.key for one in asked] == ["singlehuman_1"]
    assert left_out["faceobj_4"] == f"{tmp_path}/{KINDS['faceobj'][0]} is missing: download the benchmark's Images"
    assert left_out["singleface_2"] == "none of its pictures lies in a folder of persons"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"img_paths": ["../../etc/man/passwd"]}, "singlehuman_1 is no prompt .*leads out of the benchmark's folder"),
        ({"img_paths": ["/etc/man/passwd"]}, "leads out of the benchmark's folder"),
        ({"prompt": 7}, "singlehuman_1 is no prompt .prompt: "),
        ({"more": 1}, "singlehuman_1 is no prompt .more: "),
    ],
)
def test_what_is_no_prompt_is_refused_by_its_key(
    prompts: dict[str, Any], write: Callable[[Any], Path], change: dict[str, Any], told: str
) -> None:
    prompts["singlehuman_1"] |= change
    with pytest.raises(OpenS2VError, match=told):
        read_prompts(write(prompts))


@pytest.mark.parametrize(
    ("content", "told"), [("[]", "holds no object"), ("{", "is no JSON"), ('{"../x_1": {}}', "is no key such as singlehuman_1")]
)
def test_a_file_of_something_else_is_refused(write: Callable[[Any], Path], content: str, told: str) -> None:
    with pytest.raises(OpenS2VError, match=told):
        read_prompts(write(content))


def test_without_a_file_it_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(OpenS2VError, match=r"name a prompts file \(Open-Domain_Eval\.json"):
        read_prompts(tmp_path / "none.json")


def test_scores_are_written_in_its_layout_and_what_is_absent_is_no_zero(tmp_path: Path) -> None:
    facesim = {"singleface_3": {"cur_score": 0.5, "arc_score": 0.25}, "faceobj_14": {"arc_score": 0.75}, "humanobj_2": {}}
    write_scores(tmp_path, {"facesim.json": facesim}, {"facesim.json": {"cur_score": "its network is not in the model store"}})
    assert {path.name for path in tmp_path.iterdir()} == {"facesim.json", ABSENT_FILE}
    assert json.loads((tmp_path / "facesim.json").read_text()) == {
        "singleface_3": {"cur_score": 0.5, "arc_score": 0.25},
        "faceobj_14": {"arc_score": 0.75},
    }
    absent = json.loads((tmp_path / ABSENT_FILE).read_text())
    assert absent.pop("facesim.json") == {"cur_score": "its network is not in the model store"}
    assert absent == {name: {"all": why} for name, why in NOT_OURS.items()}
    assert set(NOT_OURS) | {"facesim.json"} == set(SCORE_FIELDS)
    assert means_of(read_scores(tmp_path)) == {"facesim.json: cur_score": (0.5, 1), "facesim.json: arc_score": (0.5, 2)}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("facesim.json", {"singleface_3": {"cur_score": float("nan")}}),
        ("facesim.json", {"singleface_3": {"score": 1.0}}),
        ("clip.json", {"singleface_3": {"score": 1.0}}),
        ("facesim.json", {"../3": {"cur_score": 1.0}}),
    ],
)
def test_what_is_no_score_is_not_written(tmp_path: Path, name: str, entry: dict[str, Any]) -> None:
    with pytest.raises(OpenS2VError):
        write_scores(tmp_path, {name: entry}, {})
    assert not list(tmp_path.iterdir())


def test_files_of_its_own_programs_are_read_and_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "motionscore.json").write_text('{"faceobj_14": {"motion_fb": 0.35, "motion_lk": 6.5}}')
    (tmp_path / "naturalscore_1.json").write_text('{"faceobj_14": "4", "singleface_3": "error", "humanobj_1": "3"}')
    (tmp_path / "facesim.json").write_text('{"faceobj_14": {"cur_score": NaN, "arc_score": true}}')
    found = read_scores(tmp_path)
    assert found == {
        "facesim.json": {},
        "motionscore.json": {"faceobj_14": {"motion_fb": 0.35, "motion_lk": 6.5}},
        "naturalscore_1.json": {"faceobj_14": {"score": 4.0}, "humanobj_1": {"score": 3.0}},
    }
    assert means_of(found)["naturalscore_1.json: score"] == (3.5, 2)
    (tmp_path / "gmescore.json").write_text('{"faceobj_14": {"gme": 1.0}}')
    with pytest.raises(OpenS2VError, match=r"gmescore\.json: faceobj_14 has a field gme"):
        read_scores(tmp_path)
