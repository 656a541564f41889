// Widgets that are no part of ipywidgets come from this site too, not from a CDN.
window.requirejs.config({
  paths: { anywidget: new URL("vendor/anywidget", document.currentScript.src).href },
});
// Widgets ask for formulas in the way of MathJax 2; the pages have MathJax 3, or none.
window.addEventListener("load", () => {
  const mathjax = window.MathJax;
  if (mathjax?.startup && !mathjax.Hub) {
    mathjax.Hub = { Queue: (call) => mathjax.startup.promise.then(() => mathjax.typesetPromise([call[2]])) };
  }
});
