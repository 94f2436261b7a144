"""Whose terms a model stands under."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.release.licences import Licensed, licensed_parts, objections
from lafid_assets.schemas import DATASET_VERSION_ROWS
from resources.lake.lake import Lake

TINY = {"name": "tiny", "repository": None}


def test_every_licence_says_which_part_it_belongs_to(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    engine = {"engine": "dlib", "engine_licence": "non-commercial-research"}
    measured = ["dlib: non-commercial-research", "silero-vad: MIT"]
    rows = [
        row_of(
            DATASET_VERSION_ROWS,
            clip_id=clip,
            dataset_version=version,
            source=source,
            licence=licence,
            **engine,
            model_licences=by,
        )
        for clip, version, source, licence, by in (
            ("a", "v1", "OpenHumanVid", "CC-BY-NC-ND-4.0", measured),
            ("b", "v1", "OpenHumanVid", "CC-BY-NC-ND-4.0", [*measured, "whisper: large: MIT"]),
            ("c", "v1", "NASA", "public-domain", []),
            ("d", "v2", "elsewhere", "proprietary", []),
        )
    ]
    lake.put({"dataset_version_rows": DATASET_VERSION_ROWS.frame(rows)}, "all", "f")
    with lake.snapshot() as reader:
        told = [
            str(part) for part in licensed_parts(reader, "v1", {"name": "wan", "repository": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"})
        ]
        assert told == [
            "clips NASA: public-domain",
            "clips OpenHumanVid: CC-BY-NC-ND-4.0",
            "measuring model silero-vad: MIT",
            "measuring model whisper: large: MIT",
            "face engine dlib: non-commercial-research",
            "base wan: Apache-2.0",
        ]
        assert str(licensed_parts(reader, "v1", TINY)[-1]) == "base tiny: none"
        assert str(licensed_parts(reader, "v1", {"name": "own", "repository": "me/own"})[-1]) == "base own: unstated"
        assert [str(part) for part in licensed_parts(reader, "v3", TINY)] == ["base tiny: none"]


@pytest.mark.parametrize(
    "licence", ["MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "public-domain", "BSD-3-Clause"]
)
def test_free_terms_allow_everything(licence: str) -> None:
    assert objections([Licensed("part", licence)], "commercial") == []


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("CC-BY-NC-4.0", True),
        ("cc by-nc-nd 4.0", True),
        ("CC-BY-NC-ND-4.0", True),
        ("non-commercial-research", True),
        ("Noncommercial use only", True),
        ("unstated", False),
        ("CC-BY-ND-4.0", False),
        ("Apache-2.0 with a rider", False),
        ("Ncorp licence", False),
    ],
)
def test_commercial_use_needs_terms_that_allow_it(licence: str, forbidden: bool) -> None:
    (objection,) = objections([Licensed("part", licence)], "commercial")
    assert objection.forbidden == forbidden
    assert objections([Licensed("part", licence)], "research") == []
