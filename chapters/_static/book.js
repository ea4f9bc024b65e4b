// A formula that is wider than the page scrolls by itself, so the keyboard must reach it.
addEventListener("load", () => {
  const mend = () => {
    for (const formula of document.querySelectorAll("mjx-container[display]")) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  };
  window.MathJax?.startup?.promise?.then(mend);
  addEventListener("resize", mend);
});
