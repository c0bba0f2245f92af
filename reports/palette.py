"""The colours of everything that is drawn, here or by plotly.js: no text has one, the page around it does."""

from __future__ import annotations

# A grey that shows on light and dark ground.
GREY = "#8a919c"
GRID = "rgba(138,145,156,0.25)"
# Okabe and Ito's colour-blind-safe palette (Color Universal Design, 2008)
BLUE, GREEN, VERMILION = "#0072B2", "#009E73", "#D55E00"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
GROUPS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
