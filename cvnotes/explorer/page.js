// Wakes the explorers and the exercises of a page. There is no kernel and no server: Python runs
// here, by Brython, which is loaded once, when the first of them comes near the view.
(() => {
  "use strict";

  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const stamp = document.currentScript.src.split("?")[1];
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const fields = (box) => [...box.querySelectorAll("input, select")];
  const part = (box, name) => box.querySelector(`[data-part=${name}]`);
  const nameOf = (box) => box.dataset.function.split(":")[1];

  // --- a control: its values as text, and the index of the one it shows -----------------

  const values = (field) => field.dataset.values.split("|");

  function index(field) {
    if (field.type === "checkbox") return field.checked ? 1 : 0;
    return field.type === "range" ? Number(field.value) : field.selectedIndex;
  }

  function setIndex(field, i) {
    const last = values(field).length - 1;
    i = Math.max(0, Math.min(last, i));
    if (field.type === "checkbox") field.checked = i === 1;
    else if (field.type === "range") field.value = i;
    else field.selectedIndex = i;
    showLabel(field);
  }

  function showLabel(field) {
    if (field.type !== "range") return;
    const label = field.dataset.labels.split("|")[index(field)];
    field.setAttribute("aria-valuetext", label);
    field.parentNode.querySelector("output").textContent = label;
  }

  // --- the state of an explorer, in the link and out of it ------------------------------

  function stateOf(box) {
    return fields(box).map((f) => `${f.name}=${encodeURIComponent(values(f)[index(f)])}`).join("&");
  }

  function setState(box, query) {
    const wanted = new URLSearchParams(query);
    for (const field of fields(box)) {
      const i = wanted.has(field.name) ? values(field).indexOf(wanted.get(field.name)) : -1;
      if (i >= 0) setIndex(field, i);
    }
  }

  function linked() {
    const [name, query] = location.hash.slice(1).split("?");
    if (query === undefined) return null;
    const box = [...document.querySelectorAll(".cv-explorer")].find((b) => nameOf(b) === name);
    return box ? { box, query } : null;
  }

  // --- waking ---------------------------------------------------------------------------

  function script(name) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = `${folder}${name}${stamp ? "?" + stamp : ""}`;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${name} could not be loaded`));
      document.head.append(element);
    });
  }

  let python = null;

  function wake() {
    python ||= script("brython.js")
      .then(() => script("cvnotes-python.js"))
      .then(() => {
        __BRYTHON__.runPythonSource("import cvnotes.explorer.page", "cvnotes_wake");
        document.querySelectorAll(".cv-explorer").forEach(wakeExplorer);
        document.querySelectorAll(".cv-exercise").forEach(wakeExercise);
        follow();
      })
      .catch((error) => {
        document.querySelectorAll(".cv-explorer, .cv-exercise").forEach((box) => {
          box.dataset.failed = error.message;
        });
        throw error;
      });
    return python;
  }

  function follow() {
    const found = linked();
    if (!found) return;
    setState(found.box, found.query);
    draw(found.box);
    found.box.scrollIntoView({ block: "center", behavior: "instant" });
  }

  function draw(box) {
    const [picture, sentence, failed] = cvnotes.draw(box.dataset.key, fields(box).map(index));
    const frame = part(box, "picture");
    // A state without a picture keeps the place of the last one, so that the page doesn't jump.
    if (failed && frame.firstChild) frame.style.minHeight = `${frame.offsetHeight}px`;
    frame.innerHTML = picture;
    const words = part(box, "sentence");
    words.textContent = sentence;
    words.classList.toggle("cv-failed", failed === 1);
  }

  function wakeExplorer(box, key) {
    const data = part(box, "data");
    box.dataset.key = key;
    cvnotes.load(box.dataset.key, box.dataset.function, data ? data.textContent : "");
    const start = fields(box).map(index);
    let address;

    function change() {
      fields(box).forEach(showLabel);
      draw(box);
      // Browsers allow some hundred changes of the address in half a minute; a drag makes more.
      clearTimeout(address);
      address = setTimeout(() => history.replaceState(null, "", `#${nameOf(box)}?${stateOf(box)}`), 150);
    }

    box.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    box.querySelector("fieldset").disabled = false;
    fields(box).forEach((field) => field.addEventListener("input", change));
    addTools(box, start, change);
    addPlayer(box, change);
    addPointer(part(box, "picture"), box, change);
    box.dataset.ready = "";
  }

  function button(words, action, run) {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = words;
    element.dataset.action = action;
    element.addEventListener("click", run);
    return element;
  }

  function addTools(box, start, change) {
    const row = document.createElement("div");
    row.className = "cv-tools";
    row.append(
      button("Reset", "reset", () => {
        fields(box).forEach((field, i) => setIndex(field, start[i]));
        change();
      }),
      button("Copy link", "link", (event) => {
        const link = `${location.href.split("#")[0]}#${nameOf(box)}?${stateOf(box)}`;
        const said = (words) => {
          event.target.textContent = words;
          setTimeout(() => (event.target.textContent = "Copy link"), 1500);
        };
        if (!navigator.clipboard) {
          history.replaceState(null, "", link);
          said("It is in the address bar");
        } else {
          navigator.clipboard.writeText(link).then(() => said("Copied"), () => said("Not allowed here"));
        }
      })
    );
    box.querySelector("fieldset").append(row);
  }

  function addPlayer(box, change) {
    const control = box.querySelector("[data-play]");
    if (!control) return;
    const field = control.querySelector("input");
    const row = box.querySelector(".cv-tools");
    let timer = null;

    function step() {
      setIndex(field, index(field) === values(field).length - 1 ? 0 : index(field) + 1);
      change();
    }
    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }
    const play = button("Play", "play", () => {
      if (timer) return stop();
      play.textContent = "Pause";
      timer = setInterval(step, 700);
    });
    row.prepend(button("Step", "step", () => { stop(); step(); }));
    if (!calm.matches) row.prepend(play);
    calm.addEventListener("change", stop);
    fields(box).forEach((f) => f.addEventListener("input", stop));
  }

  // Elements of the picture may stand for controls: data-set by a click, data-drag-x and -y by
  // a drag. The picture is drawn anew at each step, so the listeners stand on its frame.
  function addPointer(frame, box, change) {
    const field = (name) => fields(box).find((f) => f.name === name);
    let drag = null;

    frame.addEventListener("click", (event) => {
      const target = event.target.closest("[data-set]");
      if (!target) return;
      setState(box, target.dataset.set);
      change();
    });
    frame.addEventListener("pointerdown", (event) => {
      const target = event.target.closest("[data-drag-x], [data-drag-y]");
      if (!target) return;
      event.preventDefault();
      drag = { x: target.dataset.dragX, y: target.dataset.dragY };
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      const svg = frame.querySelector("svg");
      if (!drag || !svg) return;
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const before = stateOf(box);
      for (const axis of ["x", "y"]) {
        if (!drag[axis]) continue;
        const [name, origin, step] = drag[axis].split(" ");
        setIndex(field(name), Math.round((point[axis] - Number(origin)) / Number(step)));
      }
      if (stateOf(box) !== before) change();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      frame.addEventListener(end, () => (drag = null));
    }
  }

  function wakeExercise(box) {
    const answer = box.querySelector("textarea");
    const status = box.querySelector("[role=status]");
    const stub = answer.value;
    const show = (kind, message) => {
      status.dataset.status = kind;
      status.replaceChildren();
      message.split("`").forEach((text, i) => {
        const element = i % 2 ? document.createElement("code") : document.createTextNode(text);
        if (i % 2) element.textContent = text;
        status.append(element);
      });
    };
    const first = [status.dataset.status, status.textContent];
    box.querySelector("[data-action=check]").addEventListener("click", () => {
      show("running", "Checking …");
      // The words are painted before the check begins.
      setTimeout(() => show(...cvnotes.check(box.dataset.exercise, answer.value)), 30);
    });
    box.querySelector("[data-action=reset]").addEventListener("click", () => {
      answer.value = stub;
      show(...first);
    });
    // Tab indents, as in an editor; Escape first, and Tab leaves the field, for the keyboard.
    let leaving = false;
    answer.addEventListener("keydown", (event) => {
      if (event.key === "Tab" && !event.shiftKey && !leaving) {
        event.preventDefault();
        answer.setRangeText("    ", answer.selectionStart, answer.selectionEnd, "end");
      }
      leaving = event.key === "Escape";
    });
    box.querySelector(".cv-editor").hidden = false;
    box.dataset.ready = "";
  }

  // --- when -----------------------------------------------------------------------------

  function start() {
    const boxes = document.querySelectorAll(".cv-explorer, .cv-exercise");
    if (!boxes.length) return;
    const near = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        near.disconnect();
        wake();
      },
      { rootMargin: "600px" }
    );
    boxes.forEach((box) => near.observe(box));
    if (linked()) wake();
    window.addEventListener("hashchange", () => linked() && wake().then(follow));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
