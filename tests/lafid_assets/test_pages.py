"""Pages of HTML: whatever they are given is text, and nothing runs but their own script."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from lafid_assets import pages
from tests.page_elements import EVIL, Page

SOURCES = Path(pages.__file__).parent
TEMPLATES = sorted((SOURCES / "templates").glob("*.html"))


def _evaluation(**shown: object) -> str:
    empty = {"head": (), "rows": ()}
    told = {"first": "m", "bench": {"name": "", "version": "", "cases": [], "engine": {"name": "", "version": ""}}, "persons": 1}
    told |= {"notes": [], "compared": None, "curves": "data:", "cases": [], "others": empty, "measures": empty, "absent": empty}
    return pages.render("evaluation.html", **told | shown)


def test_what_a_page_is_given_is_text() -> None:
    page = Page(_evaluation(notes=[EVIL], measures={"head": (EVIL,), "rows": [(EVIL,)]}))
    page.require_harmless(scripts=0)
    assert not page.of("b")
    assert page.text.count(EVIL) == 3


def test_a_page_that_lacks_something_is_none() -> None:
    with pytest.raises(UndefinedError, match="'first' is undefined"):
        pages.render("evaluation.html")


def test_the_policy_names_the_style_and_no_script_by_its_hash() -> None:
    html = _evaluation()
    [style] = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    named = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{named}'" in Page(html).policy
    assert "script-src 'none'" in Page(html).policy


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_no_template_goes_around_the_escaping(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)
    assert not re.search(r"[\w-]=\{\{", text), "an attribute without quotes ends at a space"


def test_html_is_written_by_templates_alone() -> None:
    code = [path for path in SOURCES.rglob("*.py") if path != Path(pages.__file__)]
    assert [path.name for path in code if re.search(r"</\w+>|from html import|jinja2|Markup", path.read_text())] == []
