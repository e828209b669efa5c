"use strict";
// Searches the text without regard to case, accents and widths, and marks what it finds.
(() => {
  const form = document.getElementById("search");
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const buttons = [document.getElementById("previous"), document.getElementById("next")];
  const canMark = typeof Highlight === "function" && CSS.highlights;
  let index = null;
  let matches = [];
  let at = -1;

  /** Each character of a text as it is compared, with where it begins and ends in the text. */
  function folded(text) {
    let folds = "";
    const from = [];
    const to = [];
    let position = 0;
    for (const character of text) {
      const plain = character.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
      for (let unit = 0; unit < plain.length; unit += 1) {
        from.push(position);
        to.push(position + character.length);
      }
      folds += plain;
      position += character.length;
    }
    return { folds, from, to };
  }

  function makeIndex() {
    return page.segments.map((segment) => {
      const nodes = [];
      const walker = document.createTreeWalker(segment.querySelector("p"), NodeFilter.SHOW_TEXT);
      let text = "";
      while (walker.nextNode()) {
        nodes.push({ node: walker.currentNode, from: text.length });
        text += walker.currentNode.data;
      }
      return { segment, nodes, ...folded(text) };
    });
  }

  /** The text node that holds a position of a segment's text, and the place in it. */
  function placeOf(nodes, position, isEnd) {
    let low = 0;
    let high = nodes.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (nodes[middle].from < position || (!isEnd && nodes[middle].from === position)) low = middle;
      else high = middle - 1;
    }
    return [nodes[low].node, position - nodes[low].from];
  }

  function rangeOf(entry, first, end) {
    const range = document.createRange();
    range.setStart(...placeOf(entry.nodes, entry.from[first], false));
    range.setEnd(...placeOf(entry.nodes, entry.to[end - 1], true));
    return range;
  }

  function findAll(wanted) {
    const ranges = [];
    for (const entry of index) {
      let first = entry.folds.indexOf(wanted);
      while (first >= 0) {
        ranges.push(rangeOf(entry, first, first + wanted.length));
        first = entry.folds.indexOf(wanted, first + wanted.length);
      }
    }
    return ranges;
  }

  function mark() {
    if (!canMark) return;
    CSS.highlights.set("found", new Highlight(...matches));
    const now = new Highlight(...(at >= 0 ? [matches[at]] : []));
    now.priority = 1;
    CSS.highlights.set("found-now", now);
  }

  function tell() {
    found.textContent = !query.value ? "" : matches.length ? `${at + 1} of ${matches.length}` : "none";
    found.classList.toggle("none", Boolean(query.value) && !matches.length);
    for (const button of buttons) button.disabled = !matches.length;
  }

  function goTo(number) {
    if (!matches.length) return;
    at = (number + matches.length) % matches.length;
    mark();
    tell();
    const element = matches[at].startContainer.parentElement;
    page.show(element);
    if (!canMark) getSelection().setBaseAndExtent(...ends(matches[at]));
  }

  function ends(range) {
    return [range.startContainer, range.startOffset, range.endContainer, range.endOffset];
  }

  function search() {
    index ??= makeIndex();
    const wanted = folded(query.value.trim()).folds;
    matches = wanted ? findAll(wanted) : [];
    at = -1;
    if (matches.length) goTo(firstInSight());
    else {
      mark();
      tell();
    }
  }

  /** The first match that isn't above what is shown: a search doesn't begin at the top again. */
  function firstInSight() {
    const top = document.querySelector("header").getBoundingClientRect().bottom;
    // Segments are asked, not ranges: those out of sight have no layout yet.
    const shown = page.segments.find((one) => one.getBoundingClientRect().bottom > top);
    const isAbove = (range) =>
      shown && range.startContainer.compareDocumentPosition(shown) & Node.DOCUMENT_POSITION_FOLLOWING;
    return Math.max(matches.findIndex((range) => !isAbove(range)), 0);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  query.addEventListener("input", search);
  query.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      goTo(event.shiftKey ? at - 1 : at + 1);
    } else if (event.key === "Escape") {
      event.preventDefault();
      query.value = "";
      search();
      query.blur();
    }
  });
  buttons[0].addEventListener("click", () => goTo(at - 1));
  buttons[1].addEventListener("click", () => goTo(at + 1));
  page.onKey("/", () => {
    query.focus();
    query.select();
  });
  // A correction changes the text: what was found is found anew.
  document.addEventListener("correct", () => {
    index = null;
    if (query.value) search();
  });
})();
