// A formula or table that is wider than the page scrolls by itself, so the keyboard must reach it.
addEventListener("load", () => {
  const mend = () => {
    for (const wide of document.querySelectorAll("mjx-container[display], .pst-scrollable-table-container")) {
      if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
      else wide.removeAttribute("tabindex");
    }
  };
  mend();
  window.MathJax?.startup?.promise?.then(mend);
  addEventListener("resize", mend);
});
