"""How Sphinx makes the site. `make docs` builds it; every warning is an error there, and nothing is fetched.

Belongs here: Sphinx's settings, and filling pages in. Not here: what is filled in (`generated`).
"""

import sys
import warnings
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

warnings.filterwarnings("ignore", module="dagster")  # what is beta there is no news to a reader

project = "LaFID"
html_title = "LaFID"
author = "The LaFID team"
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
exclude_patterns = ["_static", "_build"]
smartquotes = False  # it makes dashes of options
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def fill_in(_: Sphinx, page: str, source: list[str]) -> None:
    """Put what a generator writes in the place of its mark, an HTML comment such as `<!-- generated: tables -->`."""
    import generated

    for name, write in generated.WRITERS.items():
        mark = f"<!-- generated: {name} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, write())


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", fill_in)
