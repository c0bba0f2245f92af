"""The explorer's server, for `sizer app` and `streamlit run app.py`: its pages behind a guard, compressed."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.middleware import Middleware
from streamlit import App

from explorer.served.guard import TOKEN_VARIABLE, Guard
from explorer.served.opening import opened
from explorer.served.static_files import StaticFiles

app = App(
    Path(__file__).parent / "explorer" / "served" / "navigation.py",
    middleware=[
        Middleware(Guard, token=os.environ.get(TOKEN_VARIABLE) or None),
        Middleware(StaticFiles),
    ],
    lifespan=opened,
)
