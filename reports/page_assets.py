"""Style and script of the pages: inlined, so that a page needs nothing but itself."""

from __future__ import annotations

from reports.bars import BARS_STYLE

# The page may run what is written in it and show images it made itself; it may fetch nothing, from anywhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

_LIGHT = """--ground: #ffffff; --panel: #f6f7f9; --text: #1d2129; --quiet: #5b6472;
        --line: #d9dde3; --accent: #0067a0; --warn: #b3470a;"""

STYLE = (
    ":root { color-scheme: light dark; "
    + _LIGHT
    + """ }
@media screen and (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --panel: #1d2127; --text: #e6e8ec; --quiet: #9aa3b0; --line: #343a44;
          --accent: #56b4e9; --warn: #f0a35e; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--text);
       font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .3rem; }
h4 { font-size: 1rem; margin: 1rem 0 .2rem; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; }
p.lead, .quiet, figcaption, summary { color: var(--quiet); }
p.lead { margin: 0 0 1.4rem; }
figcaption { font-size: .88rem; }
summary { cursor: pointer; margin: .6rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: .7rem;
         margin: 1rem 0; }
.tile { background: var(--panel); border-radius: 8px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .88rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: .35rem 2rem;
     margin: 1rem 0; }
dl div { display: flex; gap: 1rem; }
dt { color: var(--quiet); flex: 0 0 6rem; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
pre { background: var(--panel); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
      font-size: .85rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding: 0 0 .3rem; }
th, td { padding: .42rem 1rem .42rem 0; text-align: left; border-bottom: 1px solid var(--line);
         white-space: nowrap; vertical-align: top; font-weight: 400; }
thead th { color: var(--quiet); font-weight: 600; }
td.wide { white-space: normal; min-width: 16rem; }
.wide .plotly-graph-div { min-width: 660px; }
tr.front td, tr.front th { font-weight: 600; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr));
         gap: .5rem 1.2rem; }
.parts > div, figure { min-width: 0; }
figure { margin: 1rem 0; }
.parts figure { margin: 0 0 1rem; } .parts figure > :is(h3, h4) { margin-top: 0; }
figure h3, figure h4 { margin-bottom: 0; }
ul { padding-left: 1.2rem; }
li { margin: .35rem 0; }
.notice { background: var(--panel); border-left: 4px solid var(--warn); padding: .7rem 1rem;
          border-radius: 4px; }
@media (max-width: 600px) {
  main { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.5rem; }
  dl div { flex-direction: column; gap: 0; } dt { flex: none; } }
@page { margin: 14mm; }
@media print {
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  nav, .modebar { display: none !important; }
  h2, h3, h4, caption { break-after: avoid; } figure, tr, .tile, .notice { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding-right: .5rem; white-space: normal; }
  .parts { grid-template-columns: repeat(2, 1fr); } pre { white-space: pre-wrap; }
  a { color: inherit; text-decoration: none; } }
"""
    + BARS_STYLE
)

# Figures take the page's colours and width, now, when the reader's system turns light or dark, and on paper.
SCRIPT = """
(function () {
  var NARROW = 620, PAPER = 660, INK = '#1d2129', drawn = {}, closed = [];
  function each(work) { document.querySelectorAll('.plotly-graph-div').forEach(work); }
  function paint(figure, width) {
    var style = getComputedStyle(document.documentElement);
    // what is computed is still the screen's while a page is made ready for paper
    var text = width ? INK : style.getPropertyValue('--text').trim();
    var panel = style.getPropertyValue('--panel').trim();
    var first = drawn[figure.id] || (drawn[figure.id] = { legend: Object.assign({}, figure.layout.legend),
      margin: Object.assign({}, figure.layout.margin), height: figure.layout.height,
      axis: (figure.layout.xaxis.title || {}).font ? figure.layout.xaxis.title.font.size : 14 });
    var room = width || figure.clientWidth, narrow = room < NARROW;
    var names = figure.data.filter(function (t) { return t.showlegend !== false; }).map(function (t) {
      return (t.name || '').length;
    });
    var legend = Object.assign({}, first.legend), margin = Object.assign({}, first.margin);
    var height = first.height;
    if (narrow && figure.layout.showlegend !== false && first.legend.orientation === 'h') {
      // under the axis, where it covers no point; columns are as wide as the longest name
      var columns = Math.max(1, Math.floor((room - 60) / (50 + 8 * Math.max.apply(null, names))));
      var rows = Math.ceil(names.length / columns) * 24 + 20;
      legend = { orientation: 'h', x: 0, xanchor: 'left', y: -90 / (height - 120), yanchor: 'top' };
      margin = Object.assign(margin, { l: 50, r: 10, b: 90 + rows });
      height = height + rows;
    }
    var size = narrow ? 12 : first.axis;
    return Plotly.relayout(figure, { 'font.color': text, 'hoverlabel.bgcolor': panel,
      'hoverlabel.font.color': text, legend: legend, margin: margin, height: height,
      'xaxis.title.font.size': size, 'yaxis.title.font.size': size, width: width || null, autosize: !width });
  }
  function screen() {
    each(function (f) { paint(f); });
    closed.forEach(function (d) { d.open = false; });
    closed = [];
  }
  function paper() {
    each(function (f) { paint(f, f.closest('.parts') ? PAPER / 2 - 10 : PAPER); });
    closed = Array.from(document.querySelectorAll('details:not([open])'));
    closed.forEach(function (d) { d.open = true; });
  }
  window.addEventListener('load', screen);
  window.addEventListener('beforeprint', paper);
  window.addEventListener('afterprint', screen);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', screen);
  var waiting;
  window.addEventListener('resize', function () {
    clearTimeout(waiting);
    waiting = setTimeout(screen, 150);
  });
})();
"""
