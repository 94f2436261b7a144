"""The registry's questions are tested where they are asked (`release.test_registered_model`); here what needs no registry."""

from resources.tracking import RegisteredVersion


def test_version_is_pulled_by_its_number() -> None:
    assert RegisteredVersion("lafid", "3").uri == "models:/lafid/3"
