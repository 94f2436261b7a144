"""The picture of the rooms on the architecture page is the code's own."""

from pathlib import Path
from types import ModuleType

import pytest

from resources.settings import PROJECT_ROOT


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PROJECT_ROOT / "docs"))
    import rooms

    return rooms


def test_the_picture_shows_the_code_as_it_is(house: ModuleType) -> None:
    assert house.PICTURE.read_text() == house.picture(), "python docs/rooms.py draws it anew"


def test_an_import_is_counted_once_for_each_name_and_inside_functions(
    house: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, text in {
        "sensors": "from lafid_assets.faces import scan, survey\n",
        "lafid_assets/faces": "def late():\n    import model.files\n",
        "resources": "",
        "model": "import os\n",
    }.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text(text)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    counted = {(str(room), str(into)): times for (room, into), times in house.imports().items()}
    assert counted == {("sensors/", "lafid_assets/faces"): 2, ("lafid_assets/faces", "model/"): 1}
    assert [str(room) for room in house.rooms()] == ["sensors/", "lafid_assets/faces", "resources/", "model/"]


def test_every_room_is_in_the_table(house: ModuleType) -> None:
    lines = house.table().splitlines()[2:]
    assert len(lines) == len(house.rooms()) > 30
    assert all(line.split("|")[4].strip() for line in lines)
