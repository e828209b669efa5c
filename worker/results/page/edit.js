"use strict";
// Corrects words, and the texts of segments without words; takes corrections back; saves them.
(() => {
  const ADDRESS = "corrections";
  const buttons = {
    edit: document.getElementById("edit"),
    undo: document.getElementById("undo"),
    save: document.getElementById("save"),
  };
  const originals = new Map(); // element -> its text before the first correction
  const done = []; // what "undo" takes back: { element, before }
  let open = null; // the field that is open: { element, field, before, wasPlaying }
  let saved = "{}";
  let version = 0; // of what was saved, which the corrections here began with

  const isWord = (element) => element.matches("[data-w]");
  const wordsOf = (segment) => [...segment.querySelectorAll("p > [data-w]")];

  /** What can be corrected at a place in the page: a word, or a segment's text without words. */
  function correctable(target) {
    const word = target.closest("p > [data-w]");
    if (word) return word;
    const text = target.closest(".segment p");
    return text && !text.querySelector("[data-w]") ? text : null;
  }

  function set(element, text) {
    if (!originals.has(element)) originals.set(element, element.textContent);
    element.textContent = text;
    element.classList.toggle("changed", text !== originals.get(element));
  }

  /** After one or many were set. */
  function tell() {
    document.dispatchEvent(new CustomEvent("correct"));
    showState();
  }

  /** The corrections as the server takes them: by segment, then by word. */
  function corrections() {
    const segments = {};
    page.segments.forEach((segment, number) => {
      const changed = [...segment.querySelectorAll("p.changed, p > .changed")];
      if (!changed.length) return;
      if (!isWord(changed[0])) segments[number] = { text: changed[0].textContent };
      else {
        const all = wordsOf(segment);
        const entries = changed.map((word) => [all.indexOf(word), word.textContent]);
        segments[number] = { words: Object.fromEntries(entries) };
      }
    });
    return segments;
  }

  function isDirty() {
    return JSON.stringify(corrections()) !== saved;
  }

  function showState() {
    const dirty = isDirty();
    buttons.undo.disabled = !done.length;
    buttons.save.disabled = !dirty;
    buttons.save.classList.toggle("dirty", dirty);
  }

  function begin(element) {
    if (open) finish(true);
    const before = element.textContent;
    const field = document.createElement(isWord(element) ? "input" : "textarea");
    field.value = before;
    field.dir = "auto";
    field.spellcheck = true;
    field.setAttribute("aria-label", isWord(element) ? `Correct “${before}”` : "Correct the text");
    if (isWord(element)) field.size = Math.max(before.length, 3);
    const audio = document.getElementById("audio");
    open = { element, field, before, wasPlaying: Boolean(audio) && !audio.paused };
    if (open.wasPlaying) audio.pause();
    if (isWord(element)) words.choose(element, { quiet: true });
    element.replaceChildren(field);
    field.addEventListener("keydown", onFieldKey);
    field.addEventListener("blur", () => open?.field === field && finish(true));
    page.show(element);
    field.focus({ preventScroll: true });
    field.select();
  }

  function finish(take) {
    const { element, field, before, wasPlaying } = open;
    open = null;
    const text = take ? field.value.replace(/\s+/g, " ").trim() : before;
    element.textContent = before;
    if (text !== before) {
      done.push({ element, before });
      set(element, text);
      tell();
    }
    if (isWord(element)) words.choose(element, { focus: true, quiet: true });
    if (wasPlaying) document.getElementById("audio").play();
  }

  function onFieldKey(event) {
    if (event.isComposing) return;
    const { element } = open;
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter");
    } else if (event.key === "Tab" && isWord(element)) {
      const next = words.all[words.all.indexOf(element) + (event.shiftKey ? -1 : 1)];
      event.preventDefault();
      finish(true);
      if (next) begin(next);
    }
  }

  function undo() {
    const last = done.pop();
    if (!last) return;
    set(last.element, last.before);
    tell();
    if (isWord(last.element)) words.choose(last.element, { focus: true, quiet: true });
    page.say("The last correction is taken back.");
  }

  async function save() {
    if (open) finish(true);
    if (!isDirty()) return;
    const segments = corrections();
    buttons.save.disabled = true;
    try {
      const answer = await fetch(ADDRESS, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ segments, version }),
      });
      const said = await answer.json();
      if (answer.ok) {
        saved = JSON.stringify(segments);
        version = said.version;
      }
      page.say(answer.ok ? said.saved : `Not saved: ${said.error}`, answer.ok ? 10 : 60);
    } catch {
      page.say("Not saved: the viewer does not answer. Is it still running in its terminal?", 60);
    }
    showState();
  }

  /** After the page is loaded anew: what was saved before is shown again. */
  async function load() {
    const answer = await fetch(ADDRESS);
    if (!answer.ok) return;
    const { segments, version: found } = await answer.json();
    version = found;
    for (const [number, { words: changed, text }] of Object.entries(segments)) {
      const segment = page.segments[number];
      if (text !== undefined) set(segment.querySelector("p"), text);
      const all = wordsOf(segment);
      for (const [place, word] of Object.entries(changed ?? {})) set(all[place], word);
    }
    saved = JSON.stringify(corrections());
    tell();
  }

  function editChosen() {
    const chosen = words.chosen();
    const lit = document.querySelector(".lit");
    const element = chosen ?? (lit && correctable(lit));
    if (element) begin(element);
    else page.say("Choose a word first: click it, or press Shift and an arrow.");
  }

  document.getElementById("transcript").addEventListener("dblclick", (event) => {
    const element = correctable(event.target);
    if (!element || event.target === open?.field) return;
    event.preventDefault();
    getSelection().removeAllRanges();
    begin(element);
  });
  buttons.edit.addEventListener("click", editChosen);
  buttons.undo.addEventListener("click", undo);
  buttons.save.addEventListener("click", save);
  page.onKey("e", editChosen);
  page.onKey("Ctrl+z", undo);
  page.onKey("Ctrl+s", save);
  addEventListener("beforeunload", (event) => {
    if (open || isDirty()) event.preventDefault();
  });
  load();
})();
