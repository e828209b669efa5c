"""The page in a real browser: read, searched, played, corrected and saved, by keys and clicks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser import CONTROL, ENTER, ESCAPE, LEFT, RIGHT, SHIFT, TAB, Browser, started
from tests.engines import until
from tests.fakes.media import encode, tone, write_wav
from tests.fakes.transcripts import segments, transcript
from worker.results.html import Viewing, page
from worker.results.spelling import one_line
from worker.results.transcript import Segment, Transcript
from worker.viewer.recording import Recording
from worker.viewer.saving import Edits
from worker.viewer.server import ViewServer

pytestmark = pytest.mark.long

SPOKEN = ("Good mourning to you all.", "We sailed to Zürich.", "Then it rained, all day.")
SECONDS = 20.0

WIDE = "\uff21\uff22\uff23 \uff11\uff12 です"
"""Letters and digits as wide as those around them."""

CHOSEN = "document.querySelector('.chosen')"
LIT = "document.querySelector('.lit')?.textContent"
TIME = "document.getElementById('audio').currentTime"
STATUS = "document.getElementById('status').textContent"
FOUND = "document.getElementById('found').textContent"
PAUSED = "document.getElementById('audio').paused"
WORD = ".segment:nth-of-type({}) p > span:nth-of-type({})"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


Open = Callable[..., Path]


@pytest.fixture
def keep(browser: Browser, tmp_path: Path) -> Open:
    """Opens a page to keep, as a file."""

    def open_page(made: Transcript) -> Path:
        file = tmp_path / "page.html"
        file.write_text(page(made), encoding="utf-8")
        browser.open(file.as_uri())
        return file

    return open_page


@contextmanager
def served(folder: Path, made: Transcript, sound: Path) -> Iterator[str]:
    recording = Recording(sound, folder)
    server = ViewServer(
        0,
        page=page(made, Viewing(recording.sources)),
        recording=recording,
        edits=Edits(made, folder, "talk"),
    )
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def view(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a transcript as `view` does; corrections go to the folder that it returns."""
    with ExitStack() as stack:

        def open_page(made: Transcript, sound: Path | None = None) -> Path:
            sound = sound or write_wav(tmp_path / "talk.wav", tone(SECONDS))
            browser.resize(1280, 800)
            browser.open(stack.enter_context(served(tmp_path, made, sound)))
            assert browser.wait("document.getElementById('audio').duration > 0")
            return tmp_path

        yield open_page
        browser.script("window.onbeforeunload = null")
        browser.open("about:blank")
        assert browser.errors() == []


def texts(browser: Browser) -> list[str]:
    found: list[str] = browser.script(
        "return [...document.querySelectorAll('.segment p')].map(p => p.textContent)"
    )
    return found


# -- to read ----------------------------------------------------------------------------------


def test_hostile_texts_and_names_are_texts(browser: Browser, keep: Open) -> None:
    hostile = (
        "</script><script>document.title='hit'</script>",
        "<img src=x onerror=\"document.title='hit'\">",
        "'\"><svg onload=document.title='hit'>",
        "nul\x00 \u2028 \u2029 \u202etxt.exe &lt;b&gt; $name <!--",
    )
    made = transcript(*segments(*hostile, with_words=False), name=hostile[1])
    keep(made.model_copy(update={"metadata": {hostile[0]: hostile[2]}}))
    assert texts(browser) == [one_line(text) for text in hostile]
    assert browser.script("return document.title") == hostile[1].rpartition("/")[2]
    assert browser.script("return document.querySelectorAll('img, svg[onload]').length") == 0
    assert browser.script("return document.scripts.length") == 3
    assert browser.errors() == []


def test_a_search_goes_through_its_matches_by_keys(browser: Browser, keep: Open) -> None:
    keep(transcript(*segments(*SPOKEN)))
    browser.press("/")
    browser.type("ALL")
    assert browser.wait(f"{FOUND} === '1 of 2'")
    browser.press(ENTER)
    assert browser.wait(f"{FOUND} === '2 of 2'")
    marked = "[...CSS.highlights.get('found-now')].map(String).join()"
    assert browser.script(f"return {marked}") == "all"
    browser.press(ENTER)
    assert browser.wait(f"{FOUND} === '1 of 2'")
    browser.press(ENTER, held=SHIFT)
    assert browser.wait(f"{FOUND} === '2 of 2'")
    browser.press(ESCAPE)
    assert browser.wait(f"{FOUND} === ''")
    assert browser.script("return CSS.highlights.get('found').size") == 0


@pytest.mark.parametrize(
    ("spoken", "wanted", "match"),
    [
        ("We sailed to Zürich.", "zurich", "Zürich"),
        ("We sailed to Zürich.", "sailed to z", "sailed to Z"),
        (WIDE, "abc 12", WIDE[:6]),
        ("東京 タワー です", "タワー", "タワー"),
        ("مرحبا بكم جميعا", "بكم", "بكم"),
        ("a ﬁne İstanbul day", "fine istanbul", "ﬁne İstanbul"),
    ],
)
def test_a_search_finds_what_a_person_means(
    browser: Browser, keep: Open, spoken: str, wanted: str, match: str
) -> None:
    keep(transcript(*segments(spoken)))
    browser.script(
        "const q = document.getElementById('query'); q.value = arguments[0];"
        "q.dispatchEvent(new Event('input'))",
        wanted,
    )
    assert browser.script("return [...CSS.highlights.get('found')].map(String)") == [match]
    browser.script("document.getElementById('query').value = ''")


def test_words_in_doubt_are_gone_through_and_marks_taken_away(browser: Browser, keep: Open) -> None:
    keep(transcript(*segments(*SPOKEN, scores=[0.9, 0.2])))
    browser.press("d", "d")
    assert browser.script(f"return {CHOSEN}.textContent") == "you"
    assert "20 % sure" in browser.script(f"return {STATUS}")
    browser.press(RIGHT, held=SHIFT)
    assert browser.script(f"return document.activeElement === {CHOSEN}")
    assert browser.script(f"return {CHOSEN}.textContent") == "all."
    shade = "return getComputedStyle(document.querySelector('p .d3')).backgroundColor"
    assert browser.script(shade) != "rgba(0, 0, 0, 0)"
    browser.press("c")
    assert browser.script(shade) == "rgba(0, 0, 0, 0)"
    assert browser.script("return document.getElementById('shading').ariaPressed") == "false"


ENGLISH = segments(*SPOKEN * 12, scores=[0.95, 0.95, 0.6, 0.3, 0.9, 0.1])
JAPANESE = segments(
    *("おはよう ございます。 本日 は 港 の 橋 の 点検 に ついて お話し します。",) * 20
)
ARABIC = segments(*("صباح الخير، وشكرا لكم على الانضمام إلى مراجعة جسر الميناء في CT2.",) * 20)


@pytest.mark.parametrize(
    ("language", "spoken"), [("en", ENGLISH), ("ja", JAPANESE), ("ar", ARABIC)]
)
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_leaves_the_screen(
    browser: Browser, view: Open, language: str, spoken: tuple[Segment, ...], width: int
) -> None:
    localised = [one.model_copy(update={"language": language}) for one in spoken]
    long_name = "in/" + "a-recording-with-a-long-name-" * 5 + ".flac"
    view(transcript(*localised, name=long_name))
    browser.resize(width, 844)
    wide = "document.documentElement.scrollWidth"
    assert browser.script(f"return {wide}") <= width
    outside = browser.script(
        "return [...document.querySelectorAll('button, input, select, .segment p')]"
        ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect())"
        ".filter(box => box.left < 0 || box.right > innerWidth + 1).length"
    )
    assert outside == 0
    first = "document.querySelector('.segment p')"
    runs = browser.script(f"return getComputedStyle({first}).direction")
    assert runs == ("rtl" if language == "ar" else "ltr")


def test_two_hours_open_and_are_searched(
    browser: Browser, keep: Open, record_property: Callable[[str, object], None]
) -> None:
    lines = [" ".join(f"word{(n * 7 + line) % 97}" for n in range(20)) for line in range(1000)]
    file = keep(transcript(*segments(*lines, scores=[0.9, 0.3])))
    loaded = browser.script(
        "const [n] = performance.getEntriesByType('navigation'); return n.domContentLoadedEventEnd"
    )
    seconds = browser.script(
        "const q = document.getElementById('query'); q.value = 'word1';"
        "const began = performance.now(); q.dispatchEvent(new Event('input'));"
        "document.body.offsetHeight; return (performance.now() - began) / 1000"
    )
    assert re.fullmatch(r"1 of \d{4}", browser.script(f"return {FOUND}"))
    record_property(
        "figure",
        f"a page of 20 000 words: {file.stat().st_size / 1e6:.2f} MB, open in"
        f" {loaded / 1000:.2f} s, searched in {seconds:.2f} s",
    )


def test_speakers_are_named_by_what_they_are_called(browser: Browser, keep: Open) -> None:
    hostile = [
        "<img src=x onerror=\"document.title='hit'\">",
        "\"><svg onload=document.title='hit'>",
        "\u202etxt.exe",
        "אבג",
    ]
    spoken = [
        one.model_copy(update={"channel": label})
        for one, label in zip(segments(*SPOKEN, "So."), hostile, strict=True)
    ]
    browser.resize(1280, 800)
    keep(transcript(*spoken))
    names = "return [...document.querySelectorAll('.speaker')].map(e => e.textContent)"
    assert browser.script(names) == [*hostile[:2], "\ufffdtxt.exe", hostile[3]]
    assert browser.script("return document.querySelectorAll('img, svg[onload]').length") == 0
    styles = browser.script(
        "return [...document.querySelectorAll('.margin')].map(e => getComputedStyle(e))"
        ".map(style => style.borderRightStyle + ' ' + style.borderRightColor)"
    )
    assert len({style.split()[0] for style in styles}) == 4
    assert len(set(styles)) == 4
    assert browser.errors() == []


# -- to listen --------------------------------------------------------------------------------


def test_the_spoken_word_is_lit_and_keys_move_it(browser: Browser, view: Open) -> None:
    view(transcript(*segments(*SPOKEN)))
    browser.press(" ")
    assert browser.wait(f"{LIT} === 'Good'")
    assert browser.wait(f"{LIT} === 'to'")
    browser.press(" ")
    assert browser.wait(PAUSED)
    browser.script("document.getElementById('audio').currentTime = 3")
    browser.press(RIGHT)
    assert browser.script(f"return {TIME}") == pytest.approx(8.0)
    browser.press(LEFT)
    assert browser.script(f"return {TIME}") == pytest.approx(3.0)
    assert browser.wait(f"{LIT} === 'We'")
    assert browser.script("return document.querySelectorAll('.segment.now').length") == 1
    browser.press(LEFT)
    assert browser.script(f"return {TIME}") == 0


def test_channels_that_speak_at_once_are_lit_each_by_itself(browser: Browser, view: Open) -> None:
    first, second, third = segments("We sailed to Zürich, all of us.", "Yes.", "Then it rained.")
    aside = second.words[0].model_copy(update={"start": 1.0, "end": 1.4})
    second = second.model_copy(update={"start": 1.0, "end": 1.4, "words": (aside,)})
    labelled = [
        one.model_copy(update={"channel": label})
        for one, label in ((first, "agent"), (second, "customer"), (third, "agent"))
    ]
    view(transcript(*labelled))
    lit = "[...document.querySelectorAll('.lit')].map(e => e.textContent).join(' ')"
    for seconds, words in ((0.6, "We"), (1.1, "sailed Yes."), (1.75, "Zürich,")):
        browser.script(f"document.getElementById('audio').currentTime = {seconds}")
        assert browser.wait(f"{lit} === '{words}'")
    now = "[...document.querySelectorAll('.segment.now')].map(e => e.id).join()"
    assert browser.script(f"return {now}") == "s0"
    browser.script("document.getElementById('audio').currentTime = 4.6")
    assert browser.wait(f"{now} === 's2'")


def test_a_click_goes_to_the_word_and_a_time_to_its_segment(browser: Browser, view: Open) -> None:
    made = transcript(*segments(*SPOKEN))
    view(made)
    browser.click("#s1 p > span:nth-of-type(4)")
    assert browser.script(f"return {TIME}") == pytest.approx(made.segments[1].words[3].start)
    assert browser.wait(f"{LIT} === 'Zürich.'")
    browser.click("#s2 .time")
    assert browser.script(f"return {TIME}") == pytest.approx(made.segments[2].start)
    assert browser.script(f"return {PAUSED}") is True


def test_segments_without_words_are_lit_and_corrected_whole(browser: Browser, view: Open) -> None:
    made = transcript(*segments(*SPOKEN, with_words=False))
    folder = view(made)
    browser.click("#s1 p")
    assert browser.script(f"return {TIME}") == pytest.approx(made.segments[1].start)
    assert browser.wait(f"{LIT} === 'We sailed to Zürich.'")
    browser.press("e")
    browser.type("We flew.")
    browser.press(ENTER)
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Saved')")
    saved = Transcript.model_validate_json((folder / "talk.edited.json").read_bytes())
    assert [segment.text for segment in saved.segments] == [SPOKEN[0], "We flew.", SPOKEN[2]]


def test_what_the_browser_can_not_play_is_played_all_the_same(
    browser: Browser, view: Open, tmp_path: Path
) -> None:
    # Chromium has no decoder for Apple's lossless codec, though it plays the other one in m4a.
    odd = encode(tmp_path / "talk.m4a", tone(SECONDS), codec="alac")
    view(transcript(*segments(*SPOKEN)), odd)
    assert browser.script("return document.getElementById('audio').currentSrc").endswith(".wav")
    assert browser.script("return document.getElementById('audio').duration") == pytest.approx(
        SECONDS, abs=0.2
    )
    # The browser complains of the source that it passes over.
    browser.errors()


def test_nothing_is_asked_of_anyone_else(browser: Browser, view: Open) -> None:
    view(transcript(*segments(*SPOKEN)))
    url = urlsplit(browser.script("return location.href"))
    asked = browser.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert {urlsplit(name).netloc for name in asked} == {url.netloc}
    blocked = browser.script(
        "return fetch('http://127.0.0.1:9/').then(() => 'sent', error => String(error))"
    )
    assert "Failed to fetch" in blocked
    assert "Content Security Policy" in " ".join(browser.errors())


# -- to correct -------------------------------------------------------------------------------


def test_words_are_corrected_taken_back_and_saved(browser: Browser, view: Open) -> None:
    folder = view(transcript(*segments(*SPOKEN)))
    browser.click("#s0 p > span:nth-of-type(2)", times=2)
    browser.type("morning")
    browser.press(TAB)  # and on to the next word
    browser.type("for")
    browser.press(ENTER)
    assert texts(browser)[0] == "Good morning for you all."
    assert browser.script("return document.activeElement.textContent") == "for"
    browser.press("e")
    browser.type("nonsense")
    browser.press(ESCAPE)
    assert texts(browser)[0] == "Good morning for you all."
    browser.press("z", held=CONTROL)
    assert texts(browser)[0] == "Good morning to you all."
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Saved talk.edited.json')")
    saved = Transcript.model_validate_json((folder / "talk.edited.json").read_bytes())
    assert saved.segments[0].text == "Good morning to you all."
    assert [word.score for word in saved.segments[0].words][1:3] == [None, 0.9]
    assert "Good morning to you all." in (folder / "talk.edited.srt").read_text()


def test_keys_in_a_field_are_text_and_composing_does_not_end_it(
    browser: Browser, view: Open
) -> None:
    view(transcript(*segments(*SPOKEN)))
    browser.click("#s0 p > span:nth-of-type(1)", times=2)
    browser.type("a c/d ?e")
    assert browser.script("return document.activeElement.value") == "a c/d ?e"
    assert browser.script(f"return {PAUSED}") is True
    # What an input method sends for the Enter that takes its own suggestion.
    browser.script(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    assert browser.script("return document.activeElement.tagName") == "INPUT"
    browser.press(ESCAPE)
    assert texts(browser) == list(SPOKEN)


def test_a_page_loaded_anew_shows_what_was_saved_and_keeps_what_was_not(
    browser: Browser, view: Open
) -> None:
    folder = view(transcript(*segments(*SPOKEN)))
    url = browser.script("return location.href")
    browser.click("#s2 p > span:nth-of-type(3)", times=2)
    browser.type("snowed,")
    browser.press(ENTER)
    # A page with corrections that aren't saved asks before it goes.
    asks = "const e = new Event('beforeunload', {cancelable: true});"
    assert browser.script(f"{asks} return !window.dispatchEvent(e)") is True
    browser.click("#save")
    assert browser.wait(f"{STATUS}.startsWith('Saved')")
    assert browser.script(f"{asks} return !window.dispatchEvent(e)") is False
    browser.open(url)
    assert browser.wait("document.querySelector('.changed')?.textContent === 'snowed,'")
    assert browser.script("return document.getElementById('save').disabled") is True
    assert json.loads((folder / "talk.edited.json").read_text())["text"].endswith(
        "snowed, all day."
    )


def test_of_two_pages_the_second_to_save_says_so_and_keeps_what_it_has(
    browser: Browser, view: Open
) -> None:
    folder = view(transcript(*segments(*SPOKEN)))

    def saved_with(word: str) -> bool:
        return word in (folder / "talk.edited.txt").read_text()

    browser.script(
        "fetch('corrections', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({version: 0, segments: {2: {words: {2: 'snowed,'}}}})})"
        ".then(() => { window.otherSaved = true; })"
    )
    assert browser.wait("window.otherSaved")
    browser.click("#s0 p > span:nth-of-type(1)", times=2)
    browser.type("Bad")
    browser.press(ENTER)
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Not saved: another page saved corrections')")
    assert texts(browser)[0] == "Bad mourning to you all."
    assert browser.script("return document.getElementById('save').disabled") is False
    assert saved_with("snowed")
    assert not saved_with("Bad")
    url = browser.script("return location.href")
    browser.script("window.onbeforeunload = null")
    browser.errors()  # the refused request is in the console
    browser.click("#undo")
    browser.open(url)
    assert browser.wait("document.querySelector('.changed')?.textContent === 'snowed,'")
    for word in ("Bad", "Sad"):
        browser.click("#s0 p > span:nth-of-type(1)", times=2)
        browser.type(word)
        browser.press(ENTER)
        browser.press("s", held=CONTROL)
        # The button can't be pressed while it saves either.
        until(partial(saved_with, word))
    assert saved_with("snowed")


def test_a_word_emptied_is_removed_and_can_be_brought_back(browser: Browser, view: Open) -> None:
    folder = view(transcript(*segments(*SPOKEN)))
    browser.click("#s1 p > span:nth-of-type(2)", times=2)
    browser.press("\ue003")  # backspace
    browser.press(ENTER)
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Saved')")
    saved = json.loads((folder / "talk.edited.json").read_text())
    assert saved["segments"][1]["text"] == "We to Zürich."
    browser.click("#undo")
    browser.press("s", held=CONTROL)
    assert browser.wait("document.getElementById('save').disabled")
    saved = json.loads((folder / "talk.edited.json").read_text())
    assert saved["segments"][1]["text"] == "We sailed to Zürich."


def test_what_can_not_be_saved_is_said_and_stays(browser: Browser, view: Open) -> None:
    folder = view(transcript(*segments(*SPOKEN)))
    folder.rename(folder.with_name("elsewhere"))
    folder.touch()
    browser.click("#s0 p > span:nth-of-type(1)", times=2)
    browser.type("Bad")
    browser.press(ENTER)
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Not saved: ')")
    assert browser.script("return document.getElementById('save').disabled") is False
    assert texts(browser)[0] == "Bad mourning to you all."
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    browser.press("s", held=CONTROL)
    assert browser.wait(f"{STATUS}.startsWith('Saved')")
    browser.errors()  # the refused request is in the console


def test_a_search_follows_corrections(browser: Browser, view: Open) -> None:
    view(transcript(*segments(*SPOKEN)))
    browser.press("/")
    browser.type("mourning")
    assert browser.wait(f"{FOUND} === '1 of 1'")
    browser.click("#s0 p > span:nth-of-type(2)", times=2)
    browser.type("morning")
    browser.press(ENTER)
    assert browser.wait(f"{FOUND} === 'none'")
    browser.press("z", held=CONTROL)
    assert browser.wait(f"{FOUND} === '1 of 1'")


def test_every_control_is_reached_by_tab_and_shows_it(browser: Browser, view: Open) -> None:
    view(transcript(*segments(*SPOKEN)))
    reached = []
    for _ in range(14):
        browser.press(TAB)
        focused = browser.script(
            "const e = document.activeElement; const s = getComputedStyle(e);"
            "return [e.id || e.className || e.tagName, s.outlineStyle]"
        )
        if focused[0] == "BODY":  # behind the last
            break
        reached.append(focused[0])
        assert focused[1] != "none", focused
    assert {"skip", "query", "edit", "help-button", "play", "position", "speed", "shading"} <= set(
        reached
    )
