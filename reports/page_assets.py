"""Style and script of the report page: inlined, so that the page needs nothing but itself."""

from __future__ import annotations

# The page may run what is written in it and show images it made itself; it may fetch nothing, from anywhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f6f7f9; --text: #1d2129; --quiet: #5b6472;
        --line: #d9dde3; --accent: #0072b2; --warn: #b3470a; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --panel: #1d2127; --text: #e6e8ec; --quiet: #9aa3b0; --line: #343a44;
          --accent: #56b4e9; --warn: #f0a35e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
       font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .3rem; }
p.lead, .quiet { color: var(--quiet); }
p.lead { margin: 0 0 1.4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: .7rem;
         margin: 1rem 0; }
.tile { background: var(--panel); border-radius: 8px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .88rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: .35rem 2rem;
     margin: 1rem 0; }
dl div { display: flex; gap: 1rem; }
dt { color: var(--quiet); flex: 0 0 6rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem 1rem .42rem 0; text-align: left; border-bottom: 1px solid var(--line);
         white-space: nowrap; vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
th.number, td.number { text-align: right; }
td.wide { white-space: normal; min-width: 10rem; }
tr.front td { font-weight: 600; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: .5rem 1.2rem; }
.parts > div, .figure { min-width: 0; }
ul { padding-left: 1.2rem; }
li { margin: .35rem 0; }
.notice { background: var(--panel); border-left: 4px solid var(--warn); padding: .7rem 1rem;
          border-radius: 4px; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""

# Figures take the page's colours, now and when the reader's system turns light or dark.
SCRIPT = """
(function () {
  function paint() {
    var style = getComputedStyle(document.documentElement);
    var text = style.getPropertyValue('--text').trim(), panel = style.getPropertyValue('--panel').trim();
    document.querySelectorAll('.plotly-graph-div').forEach(function (figure) {
      var change = { 'font.color': text, 'hoverlabel.bgcolor': panel, 'hoverlabel.font.color': text,
                     'title.font.color': text, 'title.subtitle.font.color': text };
      Plotly.relayout(figure, change).then(function () { Plotly.Plots.resize(figure); });
    });
  }
  window.addEventListener('load', paint);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
})();
"""
