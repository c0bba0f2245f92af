"""What all figures share: title and subtitle taken off one as text, and the room they leave."""

from __future__ import annotations

import plotly.graph_objects as go

from reports.figures import split_title, style


def test_words_are_text_and_the_drawing_is_smaller_by_their_room() -> None:
    figure = go.Figure()
    style(figure, title="Size &amp; speed", subtitle="study &lt;b&gt;")
    figure.update_layout(height=540, margin={"t": 95})
    title, subtitle, drawn = split_title(figure)
    assert (title, subtitle) == ("Size & speed", "study <b>")
    assert drawn.layout.title.text is None
    assert (drawn.layout.margin.t, drawn.layout.height) == (39, 484)
    assert figure.layout.title.text == "Size &amp; speed"  # the figure itself is as it was


def test_a_narrow_margin_leaves_room_for_what_stands_above_the_axes() -> None:
    figure = go.Figure()
    figure.update_layout(height=200, margin={"t": 30})
    assert split_title(figure)[2].layout.margin.t == 24
    assert split_title(figure)[:2] == ("", "")
