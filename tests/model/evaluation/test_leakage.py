"""Whom a model knows: by file, recording, name and look, each told once and the surest first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.evaluation.bench import Bench
from model.evaluation.leakage import TrainedClip, find_leaks
from tests.model.evaluation.benches import WIDTH, direction, small_bench

STRANGER = direction(4, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Two persons, two cases each."""
    return small_bench(tmp_path / "bench", cases_each=2)


@pytest.fixture
def trained() -> Callable[..., TrainedClip]:
    """A clip that has nothing to do with the bench, but for what is named."""

    def make(clip_id: str = "other", **changes: Any) -> TrainedClip:
        facts = {"content_sha256": "f" * 64, "recording_id": None, "identity_id": "nobody", "engine": "invented"}
        look = np.array(changes.pop("embedding", STRANGER), np.float32)
        return TrainedClip(clip_id=clip_id, embedding=look, **(facts | changes))

    return make


def test_a_model_that_saw_nobody_of_it_leaks_nothing(bench: Bench, trained: Callable[..., TrainedClip]) -> None:
    assert find_leaks(bench, [], 0.6) == []
    assert find_leaks(bench, [trained()], 0.6) == []


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("content", {"content_sha256": "10" * 32}),
        ("recording", {"recording_id": "clip-1-1", "engine": "another"}),
        ("identity", {"identity_id": "person-1"}),
        ("likeness", {"embedding": direction(1, 1)}),
    ],
)
def test_each_way_of_knowing_a_person_leaks_that_person_alone(
    bench: Bench, trained: Callable[..., TrainedClip], kind: str, changes: dict[str, Any]
) -> None:
    [leak] = find_leaks(bench, [trained("a"), trained("b", **changes), trained("c", **changes)], 0.6)
    assert (leak.kind, leak.identity_id, leak.trained_clip_id) == (kind, "person-1", "b")
    assert ("a cosine of 0.999, 0.600 being one person" in leak.sentence) == (kind == "likeness")
    assert "person-1" in leak.sentence
    assert "clip b " in leak.sentence


def test_shots_of_one_recording_are_one_recording(bench: Bench, trained: Callable[..., TrainedClip]) -> None:
    person = bench.persons[0]
    shot = person.clips[0].model_copy(update={"recording_id": "film"})
    of_film = person.model_copy(update={"clips": (shot,)})
    filmed = bench.model_copy(update={"persons": (of_film, bench.persons[1])})
    assert [leak.kind for leak in find_leaks(filmed, [trained(recording_id="film")], None)] == ["recording"]
    assert [leak.kind for leak in find_leaks(filmed, [trained("film")], None)] == ["recording"]
    assert find_leaks(filmed, [trained(recording_id="another film")], None) == []


def test_a_shot_of_the_same_recording_with_somebody_else_is_no_leak(bench: Bench, trained: Callable[..., TrainedClip]) -> None:
    """Two persons in one file, each in shots of their own: only one of them was trained on."""
    person = bench.persons[0]
    shot = person.clips[0].model_copy(update={"recording_id": "film", "content_sha256": "e" * 64})
    filmed = bench.model_copy(update={"persons": (person.model_copy(update={"clips": (shot,)}), bench.persons[1])})
    of_film = {"recording_id": "film", "content_sha256": "e" * 64}
    stranger = trained(**of_film)
    assert find_leaks(filmed, [stranger], 0.6) == []
    # Nobody knows who is in it: another engine's embedding, or no figures.
    assert [leak.kind for leak in find_leaks(filmed, [trained(**of_film, engine="another")], 0.6)] == ["recording"]
    assert [leak.kind for leak in find_leaks(filmed, [stranger], None)] == ["recording"]
    # The same person by name or look, the same shot, and the whole film.
    assert [leak.kind for leak in find_leaks(filmed, [trained(**of_film, identity_id="person-0")], 0.6)] == ["recording"]
    assert [leak.kind for leak in find_leaks(filmed, [trained(**of_film, embedding=direction(0, 1))], 0.6)] == ["recording"]
    assert [leak.kind for leak in find_leaks(filmed, [trained(shot.clip_id, **of_film)], 0.6)] == ["content"]
    assert [leak.kind for leak in find_leaks(filmed, [trained("film", content_sha256="e" * 64)], 0.6)] == ["content"]


def test_likeness_begins_at_the_cosine_and_counts_for_the_bench_s_engine_alone(
    bench: Bench, trained: Callable[..., TrainedClip]
) -> None:
    alike = trained(embedding=direction(0, 1))
    mean = np.mean([face.embedding for face in bench.persons[0].gallery], axis=0)
    cosine = float(alike.embedding.astype(np.float32) @ (mean / np.linalg.norm(mean)))
    assert [leak.kind for leak in find_leaks(bench, [alike], cosine - 1e-6)] == ["likeness"]
    assert find_leaks(bench, [alike], cosine + 1e-6) == []
    assert find_leaks(bench, [alike], None) == []
    assert find_leaks(bench, [trained(embedding=direction(0, 1), engine="another")], 0.6) == []
    assert find_leaks(bench, [trained(embedding=(1.0,) * (WIDTH + 1))], 0.6) == []


def test_what_is_sure_is_told_and_not_that_it_looks_so_too(bench: Bench, trained: Callable[..., TrainedClip]) -> None:
    same = trained("b", identity_id="person-0", embedding=direction(0, 0))
    file = trained("a", content_sha256="00" * 32, identity_id="person-0")
    shot = trained("c", recording_id="clip-0-0", engine="another")
    assert [(leak.kind, leak.trained_clip_id) for leak in find_leaks(bench, [shot, same, file], 0.6)] == [
        ("content", "a"),
        ("recording", "c"),
        ("identity", "b"),
    ]
