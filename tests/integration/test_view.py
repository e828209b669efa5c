"""`view` as a process: it finds, serves and saves, and ends as a person ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.conftest import Aws
from tests.fakes.local_files import without_privileges
from tests.fakes.media import tone, wav_bytes
from tests.fakes.transcripts import segments, transcript
from worker.cli.view import view
from worker.errors import ExitCode, SettingsError
from worker.results.formats import render
from worker.results.transcript import Transcript
from worker.viewer.server import ViewServer

SOUND = wav_bytes(tone(2.0))


class Viewer(NamedTuple):
    """A running `view`, its page's address, and its folder for what is fetched."""

    process: subprocess.Popen[str]
    url: str
    scratch: Path

    def get(self, name: str = "") -> bytes:
        with urlopen(self.url + name, timeout=10) as answer:
            return bytes(answer.read())

    def end(self, how: signal.Signals) -> str:
        """Ends it; what it had said on stderr."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        assert out == ""
        return err


@contextmanager
def viewing(
    folder: Path, *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[Viewer]:
    scratch = folder / "scratch"
    # Left by one that was killed; whoever looks into `scratch` at the end sees that it is gone.
    (scratch / f"transcription-worker-{os.geteuid()}" / "1-killed").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "view", *arguments, "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=(environ or dict(os.environ))
        | {"TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as `nohup` starts it
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            pytest.fail(process.communicate()[1])
        yield Viewer(process, url, scratch)
    finally:
        process.kill()
        process.wait()


def correct(viewer: Viewer, words: dict[str, str]) -> str:
    """Saves corrections of the first segment; what the viewer says of them."""
    url = urlsplit(viewer.url)
    request = Request(
        f"{viewer.url}corrections",
        json.dumps({"segments": {"0": {"words": words}}}).encode(),
        {"Content-Type": "application/json", "Origin": f"http://{url.netloc}"},
    )
    with urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["saved"])


def test_a_local_transcript_is_shown_beside_its_recording_until_ctrl_c(tmp_path: Path) -> None:
    made = transcript(*segments("Good mourning."), name="talk.wav")
    (tmp_path / "talk.json").write_text(render(made, "json"), encoding="utf-8")
    (tmp_path / "talk.wav").write_bytes(SOUND)
    with viewing(tmp_path, "talk.wav") as viewer:
        assert ">mourning.</span>" in viewer.get().decode()
        viewer.process.send_signal(signal.SIGHUP)
        assert viewer.get("recording") == SOUND
        assert correct(viewer, {"1": "morning."}).endswith(f" in {tmp_path}")
        err = viewer.end(signal.SIGINT)
    assert viewer.process.returncode == ExitCode.OK
    assert err.splitlines() == ["corrections are saved as talk.edited.json", "Ctrl-C ends it"]
    assert list(viewer.scratch.iterdir()) == []
    saved = Transcript.model_validate_json((tmp_path / "talk.edited.json").read_bytes())
    assert saved.text == "Good morning."


def test_an_output_directory_that_can_not_be_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "talk.json").write_text(render(transcript(*segments("Good.")), "json"))
    with pytest.raises(SettingsError) as refused:
        view.main(
            [str(tmp_path / "talk.json"), "--output-dir", str(tmp_path / "file")],
            standalone_mode=False,
        )
    assert str(refused.value) == (
        f"--output-dir {tmp_path / 'file'} can't be written: {tmp_path / 'file'} is not a directory"
    )


def test_an_output_directory_that_takes_no_files_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(render(transcript(*segments("Good.")), "json"))
    for directory in ("/proc", "/proc/x"):
        with pytest.raises(SettingsError) as refused:
            view.main(
                [str(tmp_path / "talk.json"), "--output-dir", directory], standalone_mode=False
            )
        assert str(refused.value) == (
            f"--output-dir {directory} can't be written: no file can be made in /proc"
        )


def test_a_recording_under_a_name_that_no_file_can_have_is_said(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(render(transcript(*segments("Good.")), "json"))
    with pytest.raises(SettingsError, match=r"--recording x{300}: there is no such file"):
        view.main([str(tmp_path / "talk.json"), "--recording", "x" * 300], standalone_mode=False)


def test_a_transcript_in_a_read_only_directory_is_shown_and_said_so(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(server: ViewServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ViewServer, "wait", leave)
    with without_privileges() as folder:
        (folder / "locked").mkdir()
        (folder / "locked" / "talk.json").write_text(render(transcript(*segments("Good.")), "json"))
        (folder / "locked").chmod(0o500)
        view.main([str(folder / "locked" / "talk.json"), "--no-browser"], standalone_mode=False)
        said = capfd.readouterr().err
    assert (
        f"corrections can't be saved in {folder / 'locked'} (Permission denied): name another"
        " directory with --output-dir"
    ) in said


@pytest.mark.long  # the default run has tests/unit/viewer/test_fetching.py
def test_a_job_in_s3_is_shown_with_its_input_and_saved_here(aws: Aws, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    etag = aws.s3.put_object(Bucket=bucket, Key="in/call.wav", Body=SOUND)["ETag"].strip('"')
    made = transcript(*segments("Good mourning."), name=f"s3://{bucket}/in/call.wav", etag=etag)
    aws.s3.put_object(
        Bucket=bucket, Key="t/call-17/transcript.json", Body=render(made, "json").encode()
    )
    with viewing(tmp_path, f"s3://{bucket}/t/call-17/", environ=aws.environ) as viewer:
        assert viewer.get("recording") == SOUND
        correct(viewer, {"1": "morning."})
        err = viewer.end(signal.SIGTERM)
    assert viewer.process.returncode == ExitCode.OK
    assert f"fetching s3://{bucket}/in/call.wav" in err
    assert list(viewer.scratch.iterdir()) == []
    assert (tmp_path / "call-17.edited.txt").read_text() == "Good morning.\n"


@pytest.mark.long
def test_a_recording_that_changed_since_is_not_played(aws: Aws, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="in/call.wav", Body=SOUND)
    made = transcript(*segments("Good."), name=f"s3://{bucket}/in/call.wav", etag="0" * 32)
    aws.s3.put_object(Bucket=bucket, Key="x.json", Body=render(made, "json").encode())
    with viewing(tmp_path, f"s3://{bucket}/x.json", environ=aws.environ) as viewer:
        assert "<audio" not in viewer.get().decode()
        err = viewer.end(signal.SIGINT)
    assert "the recording is not shown: " in err
    assert "no recording was found: name one with --recording" in err
