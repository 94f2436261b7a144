"""Who may be passed on."""

import polars as pl
import pytest

from lafid_assets.dataset.export.licences import DEFAULT_ALLOWED, LicenceRefused, require_allowed, split_by_licence
from lafid_assets.ingest.provenance import OPENHUMANVID, UNSTATED
from lafid_assets.ingest.sample_footage.build import PROVENANCE


def _rows(*licences: str) -> pl.DataFrame:
    return pl.DataFrame({"clip_id": [f"clip-{n}" for n in range(len(licences))], "licence": list(licences)})


def test_only_what_is_on_the_list_may_go() -> None:
    may, may_not = split_by_licence(_rows("CC0-1.0", "cc-by-4.0", "unstated", "CC-BY-NC-ND-4.0", "CC-BY-4"))
    assert may["licence"].to_list() == ["CC0-1.0", "cc-by-4.0"]
    assert may_not["licence"].to_list() == ["unstated", "CC-BY-NC-ND-4.0", "CC-BY-4"]


def test_the_list_can_be_extended_by_name() -> None:
    may, may_not = split_by_licence(_rows("CC-BY-NC-ND-4.0", "unstated"), ["cc-by-nc-nd-4.0"])
    assert (may["licence"].to_list(), may_not["licence"].to_list()) == (["CC-BY-NC-ND-4.0"], ["unstated"])


def test_sample_footage_may_go_and_footage_of_others_may_not() -> None:
    assert PROVENANCE.licence in DEFAULT_ALLOWED
    assert not {OPENHUMANVID.licence, UNSTATED.licence} & set(DEFAULT_ALLOWED)


def test_refusal_names_licences_rows_and_remedies() -> None:
    rows = _rows("unstated", *["CC-BY-NC-ND-4.0"] * 4)
    with pytest.raises(LicenceRefused) as refused:
        require_allowed(rows)
    assert "5 clips have a licence that is not on the allow-list" in str(refused.value)
    assert "CC-BY-NC-ND-4.0 (4 clips: clip-1, clip-2, clip-3, ...); unstated (1 clips: clip-0)" in str(refused.value)
    assert "--allow-licence 'CC-BY-NC-ND-4.0'" in str(refused.value)
    assert "--skip-refused" in str(refused.value)
    require_allowed(rows.clear())
