"""`lafid init` and `lafid settings`."""

from pathlib import Path
from typing import Any


def test_init_writes_every_setting_once(lafid: Any, home: Path) -> None:
    assert lafid("init").code == 0
    written = (home / "lafid.toml").read_text()
    assert '# engine = "auto"' in written
    assert "# pose_variation_min_deg = 45.0" in written
    assert "is there already: change it" in lafid("init").error
    assert (home / "lafid.toml").read_text() == written


def test_before_anything_is_curated_a_difference_is_none_and_makes_no_tables(lafid: Any, home: Path) -> None:
    asked = lafid("settings", "diff")
    assert (asked.code, asked.out.strip()) == (0, "nothing was curated yet: run `make demo` or `lafid curate DIR` first")
    assert not (home / "store" / "catalog.sqlite").exists()
