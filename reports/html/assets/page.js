// Figures take the page's colours and width: at load, when the system turns light or dark, and on paper.
(function () {
  // plotly.js is in the page compressed; figures are drawn once it is unpacked
  async function draw() {
    if (!document.querySelector('.sizer-figure')) return;
    var packed = atob(document.getElementById('plotly-gz').textContent);
    var bytes = Uint8Array.from(packed, function (letter) { return letter.charCodeAt(0); });
    var unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    var script = document.createElement('script');
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
    await Promise.all(Array.from(document.querySelectorAll('.sizer-figure'), function (holder) {
      var figure = JSON.parse(holder.textContent);
      return Plotly.newPlot(holder.dataset.for, figure.data, figure.layout, figure.config);
    }));
  }
  var NARROW = 620, PAPER = 660, INK = '#1d2129', drawn = {}, closed = [];
  function each(work) { document.querySelectorAll('.js-plotly-plot').forEach(work); }
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
      legend = { orientation: 'h', x: 0, xanchor: 'left', y: 0, yref: 'container', yanchor: 'bottom' };
      margin = Object.assign(margin, { l: 50, r: 10, b: 90 + rows });
      height = height + rows;
    }
    var size = narrow ? 12 : first.axis;
    // a holder of the first height would leave the added lines of the legend over the text that follows
    if (height) figure.style.height = height + 'px';
    return Plotly.relayout(figure, { 'font.color': text, 'hoverlabel.bgcolor': panel,
      'modebar.bgcolor': panel, 'modebar.color': text, 'modebar.activecolor': text,
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
  window.addEventListener('load', function () { draw().then(screen); });
  window.addEventListener('beforeprint', paper);
  window.addEventListener('afterprint', screen);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', screen);
  var waiting;
  window.addEventListener('resize', function () {
    clearTimeout(waiting);
    waiting = setTimeout(screen, 150);
  });
})();
