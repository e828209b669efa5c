"""A browser reads our vtt: the voices, and the text without them."""

from __future__ import annotations

import pytest

from tests.browser import started
from tests.spoken import LABELS, segment, transcript, words_of
from worker.results.formats import render
from worker.results.subtitles.cues import cues
from worker.results.transcript import SubtitleOptions

pytestmark = pytest.mark.long

READ = """
const [vtt, done] = arguments;
const track = document.createElement("track");
track.src = URL.createObjectURL(new Blob([vtt], { type: "text/vtt" }));
track.addEventListener("load", () => done([...track.track.cues].map((cue) => {
  const html = cue.getCueAsHTML();
  const voices = [...html.querySelectorAll("span[title]")].map((voice) => voice.title);
  return [cue.startTime, cue.endTime, voices, html.textContent];
})));
track.addEventListener("error", () => done(null));
document.body.append(Object.assign(document.createElement("video"), { id: "video" }));
document.getElementById("video").append(track);
track.track.mode = "hidden";
"""


@pytest.mark.parametrize(
    "options",
    [
        SubtitleOptions(),
        SubtitleOptions(vtt_word_times=True),
        SubtitleOptions(highlight_words=True),
    ],
)
def test_a_browser_finds_the_voices(
    tmp_path_factory: pytest.TempPathFactory, options: SubtitleOptions
) -> None:
    spoken = []
    for number, label in enumerate([*LABELS, None]):
        start = 5.0 * number
        words = words_of(("Good", start, start + 1.0), ("<day>", start + 1.0, start + 4.0))
        said = segment(start, start + 4.0, "Good <day>", words)
        spoken.append(said.model_copy(update={"speaker": label}))
    whole = transcript(*spoken, options=options)
    with started(tmp_path_factory.mktemp("profile")) as browser:
        browser.open("about:blank")
        found = browser.script_async(READ, render(whole, "vtt"))
        assert browser.errors() == []
    expected = []
    for cue in cues(whole):
        voices = [] if cue.said_by is None else [cue.said_by]
        middle = cue.words[1].start_ms / 1000
        ends = [cue.start_ms / 1000, cue.end_ms / 1000]
        times = [ends]
        if options.highlight_words:
            times = [[ends[0], middle], [middle, ends[1]]]
        expected += [[*time, voices, cue.text] for time in times]
    assert found == expected
