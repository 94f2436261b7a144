"""The bench's folder: whole, movable, the same version for the same content, and noticed when it was changed."""

import json
import shutil
from pathlib import Path

import pytest

from model.evaluation.bench import (
    BENCH_FILE,
    BenchError,
    BenchFacts,
    read_bench,
    read_bench_picture,
    seal_bench,
    verify_bench,
    write_bench,
)
from tests.model.evaluation.benches import small_bench, small_facts


def test_a_bench_is_read_as_it_was_written_also_where_it_was_moved(tmp_path: Path) -> None:
    written = small_bench(tmp_path / "made")
    shutil.move(tmp_path / "made", tmp_path / "else where")
    assert verify_bench(tmp_path / "else where") == written
    assert read_bench_picture(tmp_path / "else where", written.cases[0].first_frame).shape == (48, 64, 3)


def test_its_version_says_what_is_drawn_and_measured_and_nothing_else() -> None:
    facts, pictures = small_facts()
    version = seal_bench(facts, pictures).version
    assert len(version) == 16
    assert seal_bench(facts.model_copy(update={"dataset_version": "another"}), pictures).version == version
    seeded = (facts.cases[0].model_copy(update={"seed": 7}), *facts.cases[1:])
    floor = facts.bounds | {"yaw_0_20": facts.bounds["yaw_0_20"].model_copy(update={"stranger_floor": 0.21})}
    others = [
        seal_bench(facts.model_copy(update=change), pictures).version
        for change in ({"cases": seeded}, {"bounds": floor}, {"licences": {"invented": "GPL"}}, {"name": "other"})
    ]
    changed = pictures | {facts.cases[0].first_frame: pictures[facts.cases[1].first_frame]}
    assert len({version, *others, seal_bench(facts, changed).version}) == 6


def test_a_file_that_is_no_part_of_it_does_not_matter(tmp_path: Path) -> None:
    bench = small_bench(tmp_path / "bench")
    (tmp_path / "bench" / "first_frames" / ".DS_Store").write_bytes(b"x")
    assert verify_bench(tmp_path / "bench") == bench


def test_a_changed_or_missing_picture_is_noticed(tmp_path: Path) -> None:
    bench = small_bench(tmp_path / "bench")
    picture = tmp_path / "bench" / bench.persons[1].gallery[2].path
    whole = picture.read_bytes()
    picture.write_bytes(whole[:-1])
    with pytest.raises(BenchError, match="copy it again"):
        verify_bench(tmp_path / "bench")
    picture.unlink()
    with pytest.raises(BenchError, match=r"lacks 1 of its pictures, the first galleries/001/02\.png"):
        verify_bench(tmp_path / "bench")
    with pytest.raises(BenchError, match="cannot be read"):
        read_bench_picture(tmp_path / "bench", bench.persons[1].gallery[2].path)


def test_a_line_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    small_bench(tmp_path / "bench")
    path = tmp_path / "bench" / BENCH_FILE
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(BenchError, match="was changed"):
        read_bench(tmp_path / "bench")


@pytest.mark.parametrize(
    ("told", "field", "value"),
    [
        ("format_version", "format_version", 2),
        ("cases.0.first_frame", "first_frame", "first_frames/../../secret.png"),
        ("cases.0.first_frame", "first_frame", "/etc/passwd.png"),
        ("cases.0.reached_yaw_deg", "reached_yaw_deg", "NaN"),
        ("shows a person without a gallery", "identity_id", "nobody"),
    ],
)
def test_what_no_bench_can_be_is_refused_by_name(tmp_path: Path, told: str, field: str, value: object) -> None:
    small_bench(tmp_path / "bench")
    path = tmp_path / "bench" / BENCH_FILE
    content = json.loads(path.read_text())
    (content if field == "format_version" else content["cases"][0])[field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match=told):
        read_bench(tmp_path / "bench")


def test_an_embedding_of_another_width_or_length_is_none_of_the_engine() -> None:
    facts, _ = small_facts()
    content = facts.model_dump()
    content["persons"][0]["gallery"][1]["embedding"] = [1.0] * 8
    with pytest.raises(ValueError, match=r"galleries/000/01\.png is not 8 numbers of unit length"):
        BenchFacts.model_validate(content)


def test_where_there_is_no_bench_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="lafid bench"):
        read_bench(tmp_path)
    with pytest.raises(BenchError, match="lafid bench"):
        read_bench(tmp_path / "none")


def test_nothing_is_written_over_and_nothing_half(tmp_path: Path) -> None:
    bench = small_bench(tmp_path / "bench")
    facts, pictures = small_facts()
    with pytest.raises(BenchError, match="is there already"):
        write_bench(tmp_path / "bench", bench, pictures)
    del pictures[bench.pictures[-1]]
    with pytest.raises(BenchError, match=bench.pictures[-1]):
        seal_bench(facts, pictures)
    with pytest.raises(KeyError):
        write_bench(tmp_path / "half", bench, pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["bench"]
