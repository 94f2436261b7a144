"""Who may be passed on."""

import polars as pl
import pytest

from lafid_assets.dataset.export.licences import (
    DEFAULT_ALLOWED,
    DEFAULT_ALLOWED_MODELS,
    FOOTAGE,
    MODELS,
    LicenceRefused,
    require_allowed,
    split_by_licence,
)
from lafid_assets.ingest.provenance import OPENHUMANVID, UNSTATED
from lafid_assets.sample_footage.build import PROVENANCE
from model.face_engine.dlib_weights import DlibWeights
from model.model_store.registry import REGISTRY


def _rows(*licences: str, models: tuple[str, ...] = ()) -> pl.DataFrame:
    clips = [f"clip-{n}" for n in range(len(licences))]
    return pl.DataFrame(
        {"clip_id": clips, "licence": list(licences), "model_licences": [list(models)] * len(clips)},
        schema_overrides={"model_licences": pl.List(pl.String)},
    )


def test_only_what_is_on_the_list_may_go() -> None:
    may, refused = split_by_licence(_rows("CC0-1.0", "cc-by-4.0", "unstated", "CC-BY-NC-ND-4.0", "CC-BY-4"))
    assert may["licence"].to_list() == ["CC0-1.0", "cc-by-4.0"]
    assert refused[FOOTAGE]["licence"].to_list() == ["unstated", "CC-BY-NC-ND-4.0", "CC-BY-4"]
    assert refused[MODELS].is_empty()


def test_the_list_can_be_extended_by_name() -> None:
    may, refused = split_by_licence(_rows("CC-BY-NC-ND-4.0", "unstated"), ["cc-by-nc-nd-4.0"])
    assert (may["licence"].to_list(), refused[FOOTAGE]["licence"].to_list()) == (["CC-BY-NC-ND-4.0"], ["unstated"])


def test_every_model_must_be_on_the_list_of_models() -> None:
    mit, own, strange = "whisper: MIT", "mine: unstated", "m: v2: GPL-3.0"
    assert split_by_licence(_rows("CC0-1.0", models=(mit, "dlib: non-commercial-research")))[0].height == 1
    may, refused = split_by_licence(_rows("CC0-1.0", models=(mit, own, strange, "without terms")))
    assert may.is_empty()
    assert refused[MODELS].select("model", "licence").rows() == [
        ("mine", "unstated"),
        ("m: v2", "GPL-3.0"),
        ("without terms", "unstated"),
    ]
    assert refused[FOOTAGE].is_empty()
    assert split_by_licence(_rows("CC0-1.0", models=(own,)), ["unstated"])[0].is_empty(), "each list has its own extension"
    assert split_by_licence(_rows("CC0-1.0", models=(own,)), (), ["UNSTATED"])[0].height == 1


def test_sample_footage_may_go_and_footage_of_others_may_not() -> None:
    assert PROVENANCE.licence in DEFAULT_ALLOWED
    assert not {OPENHUMANVID.licence, UNSTATED.licence} & set(DEFAULT_ALLOWED)


def test_models_of_the_registry_may_be_used_and_nameless_terms_not() -> None:
    assert {entry.licence for entry in REGISTRY} <= set(DEFAULT_ALLOWED_MODELS)
    assert DlibWeights.licence in DEFAULT_ALLOWED_MODELS
    assert "unstated" not in DEFAULT_ALLOWED_MODELS


def test_refusal_names_licences_rows_and_remedies() -> None:
    rows = _rows("unstated", *["CC-BY-NC-ND-4.0"] * 4, "CC0-1.0", models=("mine: unstated",))
    with pytest.raises(LicenceRefused) as refused:
        require_allowed(split_by_licence(rows)[1])
    said = str(refused.value)
    assert "5 clips have a licence that is not on the allow-list: " in said
    assert "CC-BY-NC-ND-4.0 (4 clips: clip-1, clip-2, clip-3, ...); unstated (1 clips: clip-0)" in said
    assert "--allow-licence 'CC-BY-NC-ND-4.0'" in said
    assert "6 clips were measured by models whose licence is not on the allow-list of models: unstated of mine (6 clips:" in said
    assert "--allow-model-licence 'unstated'" in said
    assert said.endswith("or leave them out with --skip-refused")
    require_allowed(split_by_licence(rows.clear())[1])
