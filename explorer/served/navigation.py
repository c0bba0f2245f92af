"""Navigation of the explorer: the script that the server in app.py runs; its pages are in explorer/pages/."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer.widgets.html import style_sheets

_PAGES = Path(__file__).parents[1] / "pages"

# no icons, of the site or of a page: Streamlit would fetch the browser tab's icon from the network
st.set_page_config(page_title="sizer", layout="wide")
# Rules of every page, once: a sheet that comes and goes with an element, or a rule for part of a class's name
# ([class*=...]), makes the browser look at the whole page again whenever something on it changes.
st.html(
    "<style>.stMainBlockContainer { padding: 4rem 3rem; }"
    # Streamlit's captions are too faint to read for many: less than 4.5 to 1
    "[data-testid=stCaptionContainer] { color: inherit; opacity: 0.85; }"
    # figures side by side, but below one another where each would have less room than its axis needs
    ".st-key-wide_pair [data-testid=stColumn] { min-width: min(300px, 100%); }"
    ".st-key-scroll_parallel { overflow-x: auto; }"
    ".st-key-scroll_parallel > :has([data-testid=stPlotlyChart]) { min-width: 640px; }"
    # until a page is drawn to its end, Streamlit keeps a button below the one that takes its place
    ".st-key-first_search_action > * ~ * { display: none; }"
    "[data-testid=stMain] [data-testid=stPageLink] a { border: 1px solid rgba(138, 145, 156, .6);"
    " padding: .35rem .8rem; }"
    # plotly's buttons would lie over a figure's title, grey on grey
    ".js-plotly-plot .modebar { display: none !important; }"
    # what was chosen is red by default, as errors are
    "[data-testid=stMultiSelect] [data-tag], [data-testid=stMultiSelect] [data-tag] button {"
    " background-color: rgba(138, 145, 156, .22); color: inherit; }"
    "[data-testid=stMultiSelect] [data-tag] button { background-color: transparent; }"
    # title and subtitle above a drawing
    "div .sizer-words > :is(h3, p) { font-size: .875rem; line-height: 1.4; margin: 0; padding: 0; }"
    "div .sizer-words > h3 { font-size: 1.08rem; font-weight: 600; }"
    "div .sizer-words > p { opacity: .8; overflow-wrap: anywhere; }"
    ".sizer-narrow { display: none; opacity: .8; font-size: .875rem; margin: 0; }"
    "@media (max-width: 767px) { .sizer-narrow { display: block; } }"
    "@media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem; } }"
    f"{style_sheets()}</style>"
)
chosen = st.navigation(
    [
        st.Page(_PAGES / "start" / "page.py", title="Start", url_path="start", default=True),
        st.Page(_PAGES / "size" / "page.py", title="Size a model", url_path="size"),
        st.Page(_PAGES / "users" / "page.py", title="Users", url_path="users"),
        st.Page(_PAGES / "compare" / "page.py", title="Compare", url_path="compare"),
        st.Page(_PAGES / "design" / "page.py", title="Design", url_path="design"),
        st.Page(_PAGES / "search" / "page.py", title="Search", url_path="search"),
        st.Page(_PAGES / "study" / "page.py", title="Results", url_path="study"),
        st.Page(_PAGES / "evidence" / "page.py", title="Evidence", url_path="evidence"),
    ],
    position="top",
)
st.html('<p class="sizer-narrow">Pages and controls are behind » at the top left.</p>')
chosen.run()
