"""The explorer's entry, for `streamlit run app.py`: navigation only; its pages live in explorer/."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer.size_controls import SIZE_LEFT

_PAGES = Path(__file__).parent / "explorer"

# no icons, of the site or of a page: Streamlit would fetch the browser tab's icon from the network
st.set_page_config(page_title="sizer", layout="wide")
st.html(
    "<style>.stMainBlockContainer { padding: 4rem 3rem; }"
    # Streamlit's captions are too faint to read for many: less than 4.5 to 1
    "[data-testid=stCaptionContainer] { color: inherit; opacity: 0.85; }"
    "@media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem; } }</style>"
)
chosen = st.navigation(
    [
        st.Page(_PAGES / "size.py", title="Size a model", url_path="size", default=True),
        st.Page(_PAGES / "compare.py", title="Compare", url_path="compare"),
        st.Page(_PAGES / "design.py", title="Design", url_path="design"),
        st.Page(_PAGES / "searches.py", title="Search", url_path="search"),
        st.Page(_PAGES / "frontier.py", title="Open a study", url_path="study"),
        st.Page(_PAGES / "evidence.py", title="Evidence", url_path="evidence"),
    ],
    position="top",
)
if chosen.title != "Size a model":
    st.session_state[SIZE_LEFT] = True  # so that a link back to it counts
chosen.run()
