"""`lafid sweep` says what goes and how much that frees."""

import pytest

from lafid_assets.cli import sweep as module
from lafid_assets.cli.sweep import run_sweep
from resources.lake.lake import Lake
from resources.leases.leases import StoreBusy
from resources.settings import Settings


@pytest.mark.parametrize(
    ("dry_run", "told"),
    [(True, "0.004 GB would be freed in 3 files and folders"), (False, "0.004 GB freed in 3 files and folders")],
)
def test_it_says_how_much_is_freed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry_run: bool, told: str
) -> None:
    asked = []

    def swept(_lake: object, *, dry_run: bool) -> dict[str, int]:
        asked.append(dry_run)
        return {"latents/shards/a.safetensors": 1_500_000, "latents/clips-0.parquet": 1_500_000}

    def superseded(_lake: object, *, dry_run: bool) -> dict[str, int]:
        asked.append(dry_run)
        return {"benches/0123": 1_000_000}

    monkeypatch.setattr(module, "sweep", swept)
    monkeypatch.setattr(module, "drop_superseded", superseded)
    run_sweep(settings, dry_run=dry_run)
    shown = capsys.readouterr().out
    assert asked == [dry_run] * 2
    assert "latents/shards/a.safetensors  1.50 MB" in shown
    assert "benches/0123  1.00 MB" in shown
    assert told in shown


def test_it_removes_nothing_under_a_run(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run has just cached is named by no row yet."""
    asked = []
    monkeypatch.setattr(module, "sweep", lambda _lake, *, dry_run: asked.append(dry_run) or {})
    monkeypatch.setattr(module, "drop_superseded", lambda _lake, *, dry_run: asked.append(dry_run) or {})
    with lake.leases.at_work("a Dagster run"):
        with pytest.raises(StoreBusy, match="others are at work in the store, and lafid sweep .*a Dagster run"):
            run_sweep(settings, dry_run=False)
        run_sweep(settings, dry_run=True)
    assert asked == [True, True]
