"use strict";
// Words and how sure the model was of them: one may be chosen, by a click or by keys.
const words = (() => {
  const all = [...document.querySelectorAll("p > [data-w]")];
  const order = new Map(all.map((word, number) => [word, number]));
  const shading = document.getElementById("shading");
  let chosen = null;

  /** A word's times in seconds, and its score in percent (NaN where not known). */
  function values(word) {
    const [start, end, score] = word.dataset.w.split(" ").map(Number);
    return { start, end, score: score === undefined ? NaN : score };
  }

  function describe(word) {
    const { start, score } = values(word);
    const sure = Number.isNaN(score) ? "" : `, ${score} % sure`;
    return `${word.textContent} – ${page.clock(start)}${sure}`;
  }

  /** Makes a word the chosen one; who listens for "choose" goes to it in the recording. */
  function choose(word, { focus = false, quiet = false } = {}) {
    if (chosen) {
      chosen.classList.remove("chosen");
      chosen.removeAttribute("tabindex");
    }
    chosen = word;
    word.classList.add("chosen");
    word.tabIndex = 0;
    if (focus) {
      page.show(word);
      word.focus({ preventScroll: true });
    }
    if (quiet) return;
    page.say(describe(word), 3);
    document.dispatchEvent(new CustomEvent("choose", { detail: values(word) }));
  }

  function step(by) {
    if (!all.length) return;
    const from = chosen ? order.get(chosen) : by > 0 ? -1 : all.length;
    const word = all[Math.min(Math.max(from + by, 0), all.length - 1)];
    choose(word, { focus: true });
  }

  function nextInDoubt() {
    const from = chosen ? order.get(chosen) + 1 : 0;
    const isInDoubt = (word) => word.className.split(" ").some((name) => /^d\d$/.test(name));
    const word = all.slice(from).find(isInDoubt) || all.find(isInDoubt);
    if (word) choose(word, { focus: true });
    else page.say("No word is in doubt.");
  }

  function toggleShading() {
    const plain = document.body.classList.toggle("plain");
    if (shading) shading.setAttribute("aria-pressed", String(!plain));
  }

  document.getElementById("transcript").addEventListener("click", (event) => {
    if (event.target.matches("input, textarea")) return;
    const word = event.target.closest("[data-w]");
    // A click that ends a selection of text is none.
    if (word && order.has(word) && getSelection().isCollapsed) choose(word);
  });
  document.addEventListener("mouseover", (event) => {
    const word = event.target instanceof Element && event.target.closest("p > [data-w]");
    if (word) word.title = describe(word);
  });
  if (shading) {
    shading.hidden = false;
    shading.addEventListener("click", toggleShading);
    page.onKey("c", toggleShading);
  }
  page.onKey("Shift+ArrowLeft", () => step(-1));
  page.onKey("Shift+ArrowRight", () => step(1));
  page.onKey("d", nextInDoubt);
  return { all, values, choose, chosen: () => chosen };
})();
