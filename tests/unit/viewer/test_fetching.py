"""What lies in S3 is fetched to look at, or one sentence says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Aws
from worker.errors import JobError, SettingsError
from worker.viewer.fetching import Fetcher, is_remote


def test_a_transcript_is_named_by_its_key_or_by_its_job_s_folder(aws: Aws, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="t/call-17/transcript.json", Body=b"{}")
    fetcher = Fetcher(tmp_path)
    for end in ("", "transcript.json"):
        file = fetcher.transcript(f"s3://{bucket}/t/call-17/{end}")
        assert file.read_bytes() == b"{}"
        file.unlink()
    for missing in (f"s3://{bucket}/t/call-18/", f"s3://{bucket}-none/t/call-18/"):
        with pytest.raises(JobError) as refused:
            fetcher.transcript(missing)
        assert str(refused.value) == (
            f"{missing}transcript.json is not there: name a transcript (.json), or the folder of a"
            " job's results with a slash at its end"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_fetched_in_the_state_in_which_it_was_transcribed(
    aws: Aws, tmp_path: Path
) -> None:
    bucket = aws.make_bucket()
    uri = f"s3://{bucket}/in/../call 17.flac"
    etag = aws.s3.put_object(Bucket=bucket, Key="in/../call 17.flac", Body=b"sound")["ETag"]
    fetcher = Fetcher(tmp_path)
    assert fetcher.recording(uri, etag=etag) == tmp_path / "recording.flac"
    assert (tmp_path / "recording.flac").read_bytes() == b"sound"
    aws.s3.put_object(Bucket=bucket, Key="in/../call 17.flac", Body=b"another")
    with pytest.raises(JobError) as changed:
        fetcher.recording(uri, etag=etag)
    assert changed.value.code == "input_changed"
    assert str(changed.value) == (
        f"{uri} was overwritten since it was transcribed: name a recording with --recording"
    )
    with pytest.raises(
        JobError, match=r"none\.flac is not there: name a recording with --recording"
    ):
        fetcher.recording(f"s3://{bucket}/in/none.flac")


def test_a_wrong_uri_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="3 to 63 lower-case letters"):
        Fetcher(tmp_path).transcript("s3://Bucket/key")


@pytest.mark.parametrize(
    ("text", "remote"), [("s3://b/k", True), ("talk.json", False), ("s3/talk.json", False)]
)
def test_a_scheme_tells_what_is_fetched_from_what_lies_here(text: str, remote: bool) -> None:
    assert is_remote(text) is remote
