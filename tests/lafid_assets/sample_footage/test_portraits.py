"""The portraits: there, free to use, and never insightface's photograph."""

import ast
from pathlib import Path

import numpy as np
import pytest

from lafid_assets import sample_footage
from lafid_assets.sample_footage.portraits import PORTRAITS, Portrait


@pytest.mark.parametrize("portrait", PORTRAITS.values(), ids=lambda portrait: portrait.name)
def test_a_portrait_is_a_picture_with_its_sitter_inside(portrait: Portrait) -> None:
    picture = portrait.load()
    height, width = picture.shape[:2]
    outline = np.array(portrait.outline)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert (outline >= 0).all()
    assert (outline <= (width - 1, height - 1)).all()
    x1, y1, x2, y2 = portrait.face_box
    assert outline[:, 0].min() < x1 < x2 < outline[:, 0].max()
    assert outline[:, 1].min() < y1 < y2 < outline[:, 1].max()


@pytest.mark.parametrize("portrait", PORTRAITS.values(), ids=lambda portrait: portrait.name)
def test_a_portrait_is_in_the_public_domain_and_says_where_it_lies(portrait: Portrait) -> None:
    assert portrait.licence.startswith("public-domain")
    assert portrait.provenance.split(".")[0].split(" ")[0] in {"skimage", "matplotlib"}


def test_the_footage_takes_nothing_from_insightface() -> None:
    imported = set()
    for module in Path(sample_footage.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert "skimage" in imported
    assert "insightface" not in imported
    assert "dagster" not in imported
