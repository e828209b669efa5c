"""The viewer over real sockets: what it serves, and to whom."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.transcripts import segments, transcript
from worker.errors import SettingsError
from worker.results.transcript import Transcript
from worker.viewer.recording import Recording
from worker.viewer.saving import Edits
from worker.viewer.server import MAX_BODY_BYTES, ViewServer

SOUND = bytes(range(256)) * 5000
PAGE = "<!doctype html>Good morning, 録音"
MADE = transcript(*segments("Good mourning."))
NOTHING = {"version": 0, "segments": {}}
CORRECTIONS = {"version": 0, "segments": {"0": {"words": {"1": "morning."}}}}


@contextmanager
def serving(folder: Path) -> Iterator[ViewServer]:
    (folder / "talk.mp3").write_bytes(SOUND)
    server = ViewServer(
        0,
        page=PAGE,
        recording=Recording(folder / "talk.mp3", folder),
        edits=Edits(MADE, folder, "talk"),
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewServer]:
    """One for all tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ViewServer]:
    """One that serves and saves in the test's own folder."""
    with serving(tmp_path) as server:
        yield server


class Answer:
    """One answer, read to its end."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()


def ask(
    server: ViewServer,
    name: str = "",
    *,
    method: str = "GET",
    body: bytes | None = None,
    path: str | None = None,
    **headers: str,
) -> Answer:
    """A request as a browser sends it; `_` in a header's name stands for a hyphen."""
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    try:
        connection.request(
            method,
            url.path + name if path is None else path,
            body,
            {key.replace("_", "-"): value for key, value in headers.items()},
        )
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post(server: ViewServer, body: bytes, **headers: str) -> Answer:
    """Corrections as the page sends them."""
    origin = f"http://{urlsplit(server.url).netloc}"
    sent = {"Content_Type": "application/json", "Origin": origin} | headers
    return ask(server, "corrections", method="POST", body=body, **sent)


def test_the_page_is_served_on_loopback_alone(server: ViewServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    answer = ask(server)
    assert (answer.status, answer.body.decode()) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    port = urlsplit(server.url).port
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in own - {"127.0.0.1"}:
        with pytest.raises(ConnectionError):
            socket.create_connection((str(address), port), timeout=5)


def test_nobody_else_may_read_frame_or_keep_it(server: ViewServer) -> None:
    asked = [("GET", name) for name in ("", "recording", "corrections", "nothing")]
    for method, name in [*asked, ("HEAD", ""), ("PUT", ""), ("OPTIONS", "corrections")]:
        headers = ask(server, name, method=method).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert not [name for name in headers if name.startswith("Access-Control")]
        assert "Python" not in str(headers)


@pytest.mark.parametrize(
    "path", ["/", "/recording", "//", "/x/", "/../", "/corrections", "/%2e%2e/", "/%ff/"]
)
def test_without_the_token_there_is_nothing(server: ViewServer, path: str) -> None:
    answer = ask(server, path=path)
    assert answer.status == 403
    assert PAGE.encode() not in answer.body


def test_each_run_has_its_own_token(server: ViewServer, tmp_path: Path) -> None:
    other = ViewServer(0, page=PAGE, recording=None, edits=Edits(MADE, tmp_path, "x"))
    other.stop()
    assert len(urlsplit(server.url).path) > 30
    assert urlsplit(server.url).path != urlsplit(other.url).path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8000", 200),  # a forwarded port has another number
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@127.0.0.1:80", 403),
        ("127.0.0.1:80:80", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_only_loopback_names_are_answered(server: ViewServer, host: str, status: int) -> None:
    assert ask(server, Host=host).status == status


def test_there_are_no_other_addresses(server: ViewServer) -> None:
    for name in ("talk.mp3", "../talk.mp3", "%2e%2e/talk.mp3", "recording/", "page.html"):
        assert ask(server, name).status == 404


def test_the_recording_is_served_whole_and_in_parts(server: ViewServer) -> None:
    whole = ask(server, "recording")
    assert (whole.status, whole.body) == (200, SOUND)
    assert whole.headers["Content-Type"] == "audio/mpeg"
    assert whole.headers["Accept-Ranges"] == "bytes"
    part = ask(server, "recording", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, SOUND[1000:2000])
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(SOUND)}"
    rest = ask(server, "recording", Range=f"bytes={len(SOUND) - 3}-")
    assert (rest.status, rest.body) == (206, SOUND[-3:])


def test_a_head_is_told_of_what_a_get_sends(server: ViewServer) -> None:
    for name in ("", "recording", "corrections", "nothing"):
        get, head = ask(server, name), ask(server, name, method="HEAD")
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("first", [len(SOUND), 10**22 - 1])
def test_a_range_behind_the_end_is_refused(server: ViewServer, first: int) -> None:
    answer = ask(server, "recording", Range=f"bytes={first}-")
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(SOUND)}"


def test_one_connection_serves_many_requests(server: ViewServer) -> None:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    for _ in range(3):
        connection.request("GET", f"{url.path}recording", headers={"Range": "bytes=0-9"})
        assert connection.getresponse().read() == SOUND[:10]
    connection.close()


def test_a_browser_that_goes_away_harms_nobody(
    server: ViewServer, capfd: pytest.CaptureFixture[str]
) -> None:
    url = urlsplit(server.url)
    for _ in range(3):
        with socket.create_connection((str(url.hostname), url.port or 0), timeout=5) as sock:
            sock.sendall(f"GET {url.path}recording HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            sock.recv(100)
    assert ask(server).status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.long
def test_a_recording_that_no_decoder_reads_is_no_page_and_is_said(
    own_server: ViewServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(own_server, "decoded.wav").status == 404
    assert "The recording can't be played" in caplog.text


def test_a_recording_that_is_gone_is_no_page(own_server: ViewServer, tmp_path: Path) -> None:
    (tmp_path / "talk.mp3").unlink()
    assert ask(own_server, "recording").status == 404
    assert ask(own_server).status == 200


def test_corrections_are_saved_and_shown_again(own_server: ViewServer, tmp_path: Path) -> None:
    assert json.loads(ask(own_server, "corrections").body) == NOTHING
    answer = post(own_server, json.dumps(CORRECTIONS).encode())
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["saved"].startswith("Saved talk.edited.json, ")
    saved = Transcript.model_validate_json((tmp_path / "talk.edited.json").read_bytes())
    assert saved.text == "Good morning."
    assert json.loads(answer.body)["version"] == 1
    assert json.loads(ask(own_server, "corrections").body) == CORRECTIONS | {"version": 1}


def test_of_two_pages_the_second_to_save_is_told_of_the_first(own_server: ViewServer) -> None:
    first, second = (
        json.dumps({"version": 0, "segments": {"0": {"words": {place: "x"}}}}).encode()
        for place in ("0", "1")
    )
    assert post(own_server, first).status == 200
    refused = post(own_server, second)
    assert refused.status == 409
    assert "another page saved corrections" in json.loads(refused.body)["error"]
    assert json.loads(ask(own_server, "corrections").body)["segments"] == {
        "0": {"words": {"0": "x"}}
    }


@pytest.mark.parametrize(
    ("body", "headers", "status", "why"),
    [
        (b"{}", {"Origin": "http://evil.example"}, 403, "page itself"),
        (b"{}", {"Origin": "null"}, 403, "page itself"),
        (b"{}", {"Origin": ""}, 403, "page itself"),
        (b"{}", {"Content_Type": "text/plain"}, 415, "JSON"),
        (b"{", {}, 400, "Invalid JSON"),
        (b'{"segments": {"9": {"words": {"0": "x"}}}}', {}, 400, "no segment 9"),
        (b'{"segments": {"0": {"words": {"0": 1}}}}', {}, 400, "segments.0.words.0: "),
        (b"\xff", {}, 400, "the corrections: "),
        (b"", {"Content_Length": str(MAX_BODY_BYTES + 1)}, 413, "at most"),
        (b"", {"Content_Length": "-1"}, 411, "length"),
        (b"", {"Content_Length": "x"}, 411, "length"),
        (b"0\r\n\r\n", {"Transfer_Encoding": "chunked"}, 411, "length"),
    ],
)
def test_what_is_no_correction_of_the_page_is_refused(
    server: ViewServer, body: bytes, headers: dict[str, str], status: int, why: str
) -> None:
    answer = post(server, body, **headers)
    assert answer.status == status
    assert why in json.loads(answer.body)["error"]
    assert json.loads(ask(server, "corrections").body) == NOTHING


def test_nothing_else_takes_anything(server: ViewServer) -> None:
    origin = f"http://{urlsplit(server.url).netloc}"
    assert ask(server, method="POST", body=b"{}", Origin=origin).status == 404
    assert ask(server, path="/corrections", method="POST", body=b"{}", Origin=origin).status == 403
    for method in ("PUT", "OPTIONS", "DELETE"):
        answer = ask(server, method=method, body=b"{}")
        assert (answer.status, answer.headers["Connection"]) == (501, "close")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_folder_that_can_not_be_written_is_said(own_server: ViewServer, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    tmp_path.touch()
    answer = post(own_server, json.dumps(CORRECTIONS).encode())
    assert answer.status == 500
    assert "Not a directory" in json.loads(answer.body)["error"]
    assert json.loads(ask(own_server, "corrections").body) == NOTHING


def test_a_request_that_fails_is_one_line_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(Recording):
        def file(self, name: str) -> Path | None:
            raise RuntimeError("a transcript's text")

    broken = Broken(tmp_path / "talk.mp3", tmp_path)
    server = ViewServer(0, page=PAGE, recording=broken, edits=Edits(MADE, tmp_path, "talk"))
    server.start()
    try:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "recording")
        assert ask(server).status == 200
    finally:
        server.stop()
    assert "A request failed" in caplog.text
    assert "a transcript's text" not in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_is_taken_is_named(server: ViewServer, tmp_path: Path) -> None:
    port = urlsplit(server.url).port
    assert port
    with pytest.raises(SettingsError, match=f"--port {port} can't be used"):
        ViewServer(port, page=PAGE, recording=None, edits=Edits(MADE, tmp_path, "x"))
