"""Settings of the face analysis."""

import pytest

from lafid_assets.faces.settings import AnalysisSettings, ScanMargins, family
from resources.face_engine import EngineChoice


@pytest.mark.parametrize(
    "changed", [{"rate_hz": 0}, {"rate_hz": 61}, {"max_frames": 0}, {"scan_looks": 2}, {"audit_share": 1.1}, {"speed": 1}]
)
def test_settings_have_bounds(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        AnalysisSettings(**changed)


def test_parts_are_what_engine_and_scan_read() -> None:
    settings = AnalysisSettings(engine="dlib", scan_looks=9)
    assert settings.engine_choice == EngineChoice(engine="dlib")
    assert settings.scan_margins == ScanMargins(scan_looks=9)
    assert AnalysisSettings(scan="off").scan_margins is None


def test_figures_belong_to_a_family_of_engines() -> None:
    assert family("insightface/buffalo_l") == "insightface"
    assert family("dlib") == "dlib"
