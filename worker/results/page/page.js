"use strict";
// What the other scripts share: the page's elements, what it says, and its keys.
const page = (() => {
  const segments = [...document.querySelectorAll(".segment")];
  const status = document.getElementById("status");
  const help = document.getElementById("help");
  const actions = new Map();
  let fading = 0;

  /** Says something for some seconds, or until something else is said. */
  function say(text, seconds = 6) {
    clearTimeout(fading);
    status.textContent = text;
    fading = setTimeout(() => { status.textContent = ""; }, seconds * 1000);
  }

  /** Seconds as m:ss, or h:mm:ss from an hour on. */
  function clock(seconds) {
    const whole = Math.floor(seconds);
    const rest = String(whole % 60).padStart(2, "0");
    const minutes = Math.floor(whole / 60) % 60;
    const hours = Math.floor(whole / 3600);
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }

  /** Has a key do something: "c", "Shift+ArrowLeft", "Ctrl+s" (on a Mac, Command too). */
  function onKey(name, action) {
    actions.set(name, action);
  }

  function keyName(event) {
    const letter = event.key.length === 1;
    const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
    const shift = event.shiftKey && !letter ? "Shift+" : "";
    return control + shift + (letter ? event.key.toLowerCase() : event.key);
  }

  /** Whether the element that has the focus needs the key itself. */
  function isTaken(event, name) {
    const target = event.target;
    if (help.open || !(target instanceof Element)) return help.open;
    if (target.matches("input[type=range]")) return /Arrow|Home|End|Page/.test(name);
    if (target.matches("input, textarea, select")) return name !== "Ctrl+s";
    return target.matches("button, a, summary") && (name === " " || name === "Enter");
  }

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || event.defaultPrevented) return;
    const name = keyName(event);
    const action = actions.get(name);
    if (!action || isTaken(event, name)) return;
    event.preventDefault();
    action();
  });

  /** Brings an element into sight, if it isn't, below the header. */
  function show(element, block = "center") {
    const box = element.getBoundingClientRect();
    const top = document.querySelector("header").getBoundingClientRect().bottom;
    if (box.top < top + 8 || box.bottom > innerHeight - 48) element.scrollIntoView({ block });
  }

  function measureHeader() {
    const height = document.querySelector("header").offsetHeight;
    document.documentElement.style.setProperty("--header", `${height + 12}px`);
  }

  function nameLanguages() {
    if (!Intl.DisplayNames) return;
    const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
    for (const element of document.querySelectorAll("[data-language]")) {
      try {
        element.textContent = names.of(element.dataset.language);
      } catch {
        // What is no language code stays as it is.
      }
    }
  }

  document.querySelector(".tools").hidden = false;
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
  onKey("?", () => help.showModal());
  measureHeader();
  addEventListener("resize", measureHeader);
  nameLanguages();
  return { segments, say, clock, onKey, show };
})();
