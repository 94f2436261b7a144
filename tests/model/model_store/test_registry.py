"""What is known of models, and how strict licences are."""

import re

import pytest

from model.model_store.registry import REGISTRY, TERMS, Licence, ModelUnknown, find_entry, strictest


def test_names_are_unique_and_found() -> None:
    names = [entry.name for entry in REGISTRY]
    assert len(set(names)) == len(names)
    assert all(find_entry(name).name == name for name in names)
    assert {"buffalo_l", "antelopev2", "scrfd_2.5g", "scrfd_500m", "6drepnet", "fsanet", "face_mesh"} <= set(names)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelUnknown, match="there is no model 'yolo': choose one of buffalo_l, antelopev2"):
        find_entry("yolo")


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
def test_digests_are_digests_and_addresses_are_safe(entry) -> None:
    for file in entry.files:
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.url is None or file.url.startswith("https://")
        assert "/" not in file.name
    assert entry.licence in TERMS


def test_the_strictest_licence_binds() -> None:
    assert strictest(Licence.MIT, Licence.RESEARCH, Licence.APACHE_2) is Licence.RESEARCH
    assert strictest(Licence.MIT, Licence.APACHE_2) is Licence.APACHE_2
    assert [licence.needs_acceptance for licence in Licence] == [False, False, False, True]


def test_insightface_weights_are_for_research() -> None:
    """Their makers' terms: whatever else a mirror's licence file says."""
    for name in ("buffalo_l", "antelopev2", "buffalo_s", "scrfd_2.5g", "scrfd_500m", "2d106"):
        assert find_entry(name).licence is Licence.RESEARCH


def test_the_signs_of_6drepnet_are_told_to_be_assumed() -> None:
    inference = find_entry("6drepnet").inference
    assert inference is not None
    assert "assumed" in inference
    assert "lafid models check" in inference
