"""Which answers are those of a host of models, and what went wrong, in a few words."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.fetch.judging import explain, judge_hub, judge_plain


@pytest.mark.parametrize(
    ("status", "headers", "useful"),
    [
        (200, {"x-repo-commit": "0123"}, True),
        (302, {"x-repo-commit": "0123", "location": "https://cdn.example/file"}, True),
        (307, {"location": "/renamed/name/resolve/main/config.json"}, True),
        (302, {"location": "https://login.example/?next=hub"}, False),
        (302, {}, False),
        (200, {"content-type": "text/html"}, False),
        (401, {}, True),
        (404, {}, True),
        (403, {"x-error-code": "GatedRepo"}, True),
        (403, {}, False),
        (429, {}, False),
        (502, {}, False),
    ],
)
def test_a_hub_is_known_by_what_its_client_insists_on(
    status: int, headers: dict[str, str], useful: bool
) -> None:
    assert (judge_hub(status, headers) == "") is useful


def test_a_page_is_no_file() -> None:
    assert judge_plain(200, {"content-type": "TEXT/HTML"})
    assert not judge_plain(200, {})


def test_an_error_without_a_known_cause_is_named_and_hides_secrets() -> None:
    error = ValueError("odd http://user:secret@host/\nand more")
    assert explain(error) == "ValueError: odd http://***@host/"
    assert explain(KeyError()) == "KeyError"


@pytest.mark.parametrize("raised", [True, False])
def test_the_innermost_cause_is_what_is_told(raised: bool) -> None:
    outer = OSError("many words of a library")
    if raised:
        outer.__cause__ = ConnectionError()
        outer.__cause__.__context__ = socket.gaierror(-2, "unknown")
    else:
        outer.__context__ = TimeoutError("read")
    assert explain(outer) == ("its name can't be resolved" if raised else "no answer")


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["content-type", "location", "etag"]),
        st.sampled_from(["", "/elsewhere", "https://login.example", "text/html", "[::1"]),
    ),
)
def test_no_refusal_passes_for_a_host_and_every_hub_does(
    status: int, headers: dict[str, str]
) -> None:
    if status >= 400 and status not in (401, 404):
        assert judge_plain(status, headers) == judge_hub(status, headers) != ""
    assert judge_hub(status, headers | {"x-repo-commit": "0123"}) == ""
