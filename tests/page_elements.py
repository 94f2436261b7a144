"""A page of HTML as a browser sees it: its elements with their attributes, and its text."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

PLANTED = (
    "<script>document.title='run'</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "' onmouseover='alert(3)",
    "javascript:alert(4)",
    "[a](javascript:alert(5)) ![b](http://evil.example/b.png) </style></script><b>bold</b>",
    "{{ 7 * 7 }}{% raw %}&lt;i&gt;",
)
"""What strangers may write into captions, names and sources."""
EVIL = " ".join(PLANTED)
_HANDLER = re.compile(r"on\w+")


@dataclass
class Page(HTMLParser):
    """What a page holds.

    Attributes:
        elements: tag and attributes of each, in order.
        texts: all its text, that of styles and scripts left out.
    """

    html: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._within = ""
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within not in ("style", "script"):
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def of(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        [policy] = [meta["content"] for meta in self.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
        return policy

    def require_harmless(self, scripts: int) -> None:
        """No handler, no address outside the page, no script but its own.

        Args:
            scripts: how many it has.
        """
        names = [name for _, attributes in self.elements for name in attributes]
        assert not [name for name in names if _HANDLER.fullmatch(name)]
        assert len(self.of("script")) == scripts
        assert not {tag for tag, _ in self.elements} & {"iframe", "object", "embed", "base", "link", "form"}
        addresses = [attributes[name] for _, attributes in self.elements for name in ("src", "href") if name in attributes]
        assert all(address.startswith("data:") for address in addresses), addresses
        assert "default-src 'none'" in self.policy
        assert "unsafe" not in self.policy
