"""The site as `make docs` builds it: without a warning, without the network, and with everything that there is."""

import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lafid_assets.definitions import ASSETS, build_defs
from lafid_assets.outcomes import Reason
from lafid_assets.schemas import TABLES
from resources.settings import PROJECT_ROOT, Settings
from tests.docs.pages import PAGES
from tests.forked import Fresh
from tests.once import built_once

LOADED = {"src", "href", "srcset", "poster", "data"}
FOREIGN = re.compile(r"(https?:)?//", re.IGNORECASE)
NOWHERE = "http://127.0.0.1:9"
"""A proxy that is none: whoever fetches fails."""


@pytest.fixture(scope="session")
def site(fresh_processes: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    [line] = re.findall(r"^\t@\$\(BIN\)/python -m sphinx (.*) docs docs/_build$", (PROJECT_ROOT / "Makefile").read_text(), re.M)

    def build(folder: Path) -> None:
        script = "import runpy; runpy.run_module('sphinx', run_name='__main__')"
        offline = {"http_proxy": NOWHERE, "https_proxy": NOWHERE}
        [done] = fresh_processes(script, *shlex.split(line), "docs", folder, environments=[offline], cwd=PROJECT_ROOT)
        assert done.returncode == 0, done.stderr

    return built_once(tmp_path_factory, "site", build)


class _Loaded(HTMLParser):
    """Addresses of what a browser loads with a page: all but where a reader may go."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value or "" for name, value in attrs if name in LOADED]


def test_a_page_loads_nothing_from_another_host(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) >= len(PAGES)
    for page in pages:
        parser = _Loaded()
        parser.feed(page.read_text())
        assert parser.addresses
        assert not [address for address in parser.addresses if FOREIGN.match(address)], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text()), style.name


def test_a_page_of_the_sites_that_loads_from_another_host_would_be_seen() -> None:
    parser = _Loaded()
    parser.feed(
        '<a href="https://dagster.io">x</a><link href="//fonts.example/x.css"><script src="HTTPS://cdn.example/x.js"></script>'
    )
    assert [bool(FOREIGN.match(address)) for address in parser.addresses] == [True, True]


def _page(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text()


def test_every_table_and_column_is_in_the_dictionary(site: Path) -> None:
    page = _page(site, "tables")
    for table in TABLES:
        section = re.search(rf'<section id="{re.escape(table.name.replace("_", "-"))}">.*?</section>', page, re.DOTALL)
        assert section, table.name
        for column in table.columns:
            assert f">{column.name}</span>" in section[0], f"{table.name}.{column.name}"


def test_every_line_of_the_settings_is_there(site: Path) -> None:
    from lafid_assets.lafid_toml.settings_check import template

    page = _page(site, "settings")
    for part in re.split(r"^\[", template(), flags=re.MULTILINE)[1:]:
        section = part[: part.index("]")]
        shown = re.search(rf'<section id="{section.replace("_", "-")}">.*?</section>', page, re.DOTALL)
        assert shown, section
        for name in re.findall(r"^# (\w+) = ", part, re.MULTILINE):
            assert re.search(rf">{name}(\.\w+)?</span>", shown[0]), f"[{section}] {name}"


def test_every_asset_check_sensor_and_schedule_is_explained(site: Path, settings: Settings) -> None:
    defs, pages = build_defs(settings), _page(site, "automation") + _page(site, "checks")
    for each in (*defs.sensors, *defs.schedules):  # type: ignore[misc]
        assert f">{each.name}</span>" in pages, each.name
    for key in defs.resolve_asset_graph().asset_check_keys:
        assert f">{key.name}</span>" in pages, key.name
    for asset in ASSETS:
        assert asset.key.to_user_string() in _page(site, "curation") + _page(site, "index")


def test_every_reason_is_explained(site: Path) -> None:
    page = _page(site, "curation")
    for reason in Reason:
        assert f">{reason}</span>" in page, reason


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == PROJECT_ROOT], ids=lambda page: page.name)
def test_links_of_the_pages_outside_lead_somewhere(page: Path, site: Path) -> None:
    """Those of the site's own pages are Sphinx's to follow."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        if not FOREIGN.match(link):
            assert (PROJECT_ROOT / path).is_file(), link
            assert not anchor or f'id="{anchor}"' in _page(site, Path(path).stem), link
