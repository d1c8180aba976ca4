// A formula wider than its column scrolls: a tab stop, as the theme gives to tables and code, lets the keyboard scroll it.
(() => {
  const mark = () =>
    document.querySelectorAll('mjx-container[display="true"]').forEach((e) => {
      if (e.scrollWidth > e.clientWidth) e.tabIndex = 0;
      else e.removeAttribute("tabindex");
    });
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(mark));
  addEventListener("resize", mark);
})();
