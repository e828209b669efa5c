"""A host gets one question, whoever asks and however often; what comes of it is a clause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.fakes.model_hosts import REFUSED, UNRESOLVED, BlackHole, HttpServer
from worker.speech.fetch import files, hosts
from worker.speech.fetch.hosts import NotFetched, reach


def trouble(url: str, seconds: float = 5.0) -> str:
    """Why a host of plain files can't be reached; empty if it can."""
    try:
        reach(f"{url}/model.pt", files.ask, seconds)
    except NotFetched as error:
        return str(error)
    return ""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_hosts", {})


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (200, {"Content-Type": "application/octet-stream"}, ""),
        (404, {"Content-Type": "text/html"}, ""),
        (200, {"Content-Type": "text/html; charset=utf-8"}, "the network may want a login"),
        (403, {}, "the answer is HTTP 403"),
        (503, {}, "the answer is HTTP 503"),
    ],
)
def test_what_answers_may_be_of_no_use(status: int, headers: dict[str, str], why: str) -> None:
    with HttpServer(status, headers) as server:
        found = trouble(server.url)
        assert (why in found) if why else not found
        assert trouble(server.url) == found
        assert [method for method, *_ in server.requests] == ["HEAD"]


def test_what_does_not_answer_has_one_clause() -> None:
    assert trouble(REFUSED) == "127.0.0.1:9 can't be reached (the connection is refused)"
    assert trouble(UNRESOLVED) == "hub.invalid can't be reached (its name can't be resolved)"
    with BlackHole() as hole:
        for _ in range(3):
            assert trouble(hole.url, 0.05).endswith("can't be reached (no answer within 0.05 s)")
        assert hole.questions == 1


def test_a_proxy_is_named_because_it_may_be_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
    assert trouble(UNRESOLVED) == (
        "hub.invalid can't be reached through the proxy that HTTPS_PROXY names "
        "(the connection is refused)"
    )


class Question:
    """Answers when it is let, and counts."""

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.let = threading.Event()
        self.asked = 0

    def __call__(self, url: str, seconds: float) -> str:
        del url, seconds
        self.asked += 1
        assert self.let.wait(30)
        return self.answer


def outcomes(question: Callable[[str, float], str], seconds: float, askers: int) -> list[str]:
    """What so many threads learn that ask at once."""
    found: list[str] = []

    def ask() -> None:
        try:
            reach("http://a.invalid/x", question, seconds)
            found.append("")
        except NotFetched as error:
            found.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_who_ask_share_one_question() -> None:
    question = Question("it is closed")
    threading.Timer(0.05, question.let.set).start()
    assert set(outcomes(question, 30.0, 8)) == {"a.invalid can't be reached (it is closed)"}
    assert question.asked == 1


def test_a_late_answer_counts_and_no_second_question_is_asked_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts, "MODELS_SECONDS", 0.0)
    question = Question()
    for _ in range(3):
        (found,) = outcomes(question, 0.01, 1)
        assert "no answer within 0.01 s" in found
    assert question.asked == 1
    monkeypatch.setattr(hosts, "MODELS_SECONDS", 300.0)
    question.let.set()
    end = time.monotonic() + 30
    while outcomes(question, 0.01, 1) != [""] and time.monotonic() < end:
        time.sleep(0.002)
    assert outcomes(question, 0.01, 1) == [""]
    assert question.asked == 1


def test_an_old_answer_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpServer(503) as server:
        assert "HTTP 503" in trouble(server.url)
        server.status = 200
        assert "HTTP 503" in trouble(server.url)
        monkeypatch.setattr(hosts, "MODELS_SECONDS", 0.0)
        assert trouble(server.url) == ""
