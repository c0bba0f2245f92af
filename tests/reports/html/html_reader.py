"""Read what a page shows: its tags, its text and the cells of its tables."""

from __future__ import annotations

from html.parser import HTMLParser

Attributes = dict[str, str | None]


class HtmlReader(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and tables by caption or title id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes]] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open or "style" in self._open:
            return
        self.texts.append(data)
        if "caption" in self._open:
            self.captions[-1] += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        """All text that is shown, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def rows(self, caption: str) -> dict[str, tuple[str, ...]]:
        """Cells of the one table whose caption starts so, by the heading of their row."""
        (place,) = (i for i, title in enumerate(self.captions) if title.startswith(caption))
        return {row[0]: tuple(row[1:]) for row in self.tables[place][1:]}
