"use strict";
// Plays the recording: what is spoken is lit, and a chosen word is gone to.
(() => {
  const STEP_SECONDS = 5;
  const LINGER_SECONDS = 0.25; // a word stays lit over a short pause behind it
  const NEAR_SECONDS = 0.02; // media clocks are coarser than the times of words
  const REST_MS = 4000; // who scrolls by hand is left alone for so long
  const audio = document.getElementById("audio");
  const play = document.getElementById("play");
  const position = document.getElementById("position");
  const now = document.getElementById("now");
  const length = document.getElementById("length");
  const speed = document.getElementById("speed");
  const lanes = channels().map((segments) => ({ parts: segments.flatMap(partsOf), lit: null }));
  let scrolledAt = -REST_MS;

  /** The segments of each channel: in one they are in order, those of two overlap. */
  function channels() {
    const found = new Map();
    for (const segment of page.segments) {
      const name = segment.dataset.channel ?? "";
      if (!found.has(name)) found.set(name, []);
      found.get(name).push(segment);
    }
    return [...found.values()];
  }

  /** What of a segment is lit: its words, or all of its text where it has none. */
  function partsOf(segment) {
    const timed = [...segment.querySelectorAll("p > [data-w]")];
    if (timed.length) return timed.map((element) => ({ element, segment, ...words.values(element) }));
    const [start, end] = segment.dataset.t.split(" ").map(Number);
    return [{ element: segment.querySelector("p"), segment, start, end }];
  }

  function spokenAt(parts, seconds) {
    let low = 0;
    let high = parts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (parts[middle].start <= seconds + NEAR_SECONDS) low = middle + 1;
      else high = middle;
    }
    const part = parts[low - 1];
    return part && seconds < part.end + LINGER_SECONDS ? part : null;
  }

  function light() {
    for (const lane of lanes) lightIn(lane);
  }

  function lightIn(lane) {
    const part = spokenAt(lane.parts, audio.currentTime);
    const { lit } = lane;
    if (part === lit) return;
    lit?.element.classList.remove("lit");
    if (lit && lit.segment !== part?.segment) lit.segment.classList.remove("now");
    lane.lit = part;
    if (!part) return;
    part.element.classList.add("lit");
    part.segment.classList.add("now");
    if (!audio.paused && performance.now() - scrolledAt > REST_MS) page.show(part.element);
  }

  function showTime() {
    const text = page.clock(audio.currentTime);
    now.textContent = text;
    position.value = String(audio.currentTime);
    position.setAttribute("aria-valuetext", `${text} of ${length.textContent}`);
  }

  function follow() {
    light();
    if (!audio.paused) requestAnimationFrame(follow);
  }

  function showState() {
    const playing = !audio.paused;
    play.classList.toggle("playing", playing);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (playing) follow();
  }

  async function toggle() {
    if (!audio.paused) audio.pause();
    else await audio.play().catch(() => {}); // the source's own error says why
  }

  function goTo(seconds) {
    const end = Number.isFinite(audio.duration) ? audio.duration : Number(position.max);
    audio.currentTime = Math.min(Math.max(seconds, 0), end);
    showTime();
    light();
  }

  function giveUp() {
    play.disabled = position.disabled = speed.disabled = true;
    page.say("The recording can’t be played here; the terminal may say why.", 30);
  }

  audio.addEventListener("play", showState);
  audio.addEventListener("pause", showState);
  audio.addEventListener("timeupdate", () => { showTime(); light(); });
  audio.addEventListener("seeked", () => { showTime(); light(); });
  audio.addEventListener("durationchange", () => {
    if (!Number.isFinite(audio.duration)) return;
    position.max = String(audio.duration);
    length.textContent = page.clock(audio.duration);
  });
  audio.addEventListener("error", giveUp);
  audio.querySelector("source:last-of-type").addEventListener("error", giveUp);
  if (audio.networkState === HTMLMediaElement.NETWORK_NO_SOURCE) giveUp();
  play.addEventListener("click", toggle);
  position.addEventListener("input", () => goTo(Number(position.value)));
  speed.addEventListener("change", () => {
    audio.playbackRate = Number(speed.value);
  });
  document.addEventListener("choose", (event) => goTo(event.detail.start));
  document.getElementById("transcript").addEventListener("click", (event) => {
    const segment = event.target.closest(".time, .segment p:not(:has([data-w]))")?.closest(".segment");
    if (!segment || event.target.matches("textarea")) return;
    event.preventDefault();
    goTo(Number(segment.dataset.t.split(" ")[0]));
  });
  for (const name of ["wheel", "touchmove"]) {
    addEventListener(name, () => { scrolledAt = performance.now(); }, { passive: true });
  }
  page.onKey(" ", toggle);
  page.onKey("ArrowLeft", () => goTo(audio.currentTime - STEP_SECONDS));
  page.onKey("ArrowRight", () => goTo(audio.currentTime + STEP_SECONDS));
})();
