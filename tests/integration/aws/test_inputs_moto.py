"""Inputs against moto's S3, directly and through a bad network."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.proxy import FlakyProxy, Mischief
from worker.aws.clients import Clients, make_clients
from worker.aws.inputs import S3Inputs
from worker.errors import ErrorCode, Interrupted, JobError
from worker.uris import S3Uri


@pytest.fixture
def inputs(clients: Clients) -> S3Inputs:
    return S3Inputs(clients.s3)


def inputs_through(proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> S3Inputs:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    return S3Inputs(make_clients().s3)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_an_object_is_fetched_with_what_is_known_of_it(
    aws: Aws, inputs: S3Inputs, tmp_path: Path
) -> None:
    bucket = aws.make_bucket(versioned=True)
    data = noise(1_200_000)
    put = aws.s3.put_object(Bucket=bucket, Key="a b/ü.flac", Body=data, Metadata={"who": "me"})
    head = inputs.head(S3Uri(bucket, "a b/ü.flac"))
    assert head is not None
    assert not head.ours
    checks: list[int] = []
    fetched = inputs.fetch(
        S3Uri(bucket, "a b/ü.flac"),
        tmp_path / "input",
        etag=head.etag,
        max_bytes=len(data),
        check=lambda: checks.append(1),
    )
    assert (tmp_path / "input").read_bytes() == data
    assert fetched.etag == head.etag == put["ETag"].strip('"')
    assert fetched.bytes == head.bytes == len(data)
    assert fetched.metadata == {"who": "me"}
    assert len(checks) > 4


def test_a_version_stays_what_it_was(aws: Aws, inputs: S3Inputs, tmp_path: Path) -> None:
    bucket = aws.make_bucket(versioned=True)
    first = aws.s3.put_object(Bucket=bucket, Key="k", Body=b"first")
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"second")
    fetched = inputs.fetch(
        S3Uri(bucket, "k"), tmp_path / "x", version_id=first["VersionId"], max_bytes=100
    )
    assert (tmp_path / "x").read_bytes() == b"first"
    assert fetched.etag == first["ETag"].strip('"')
    head = inputs.head(S3Uri(bucket, "k"), version_id=first["VersionId"])
    assert head is not None
    assert head.bytes == 5


@pytest.mark.parametrize(
    ("key", "etag", "limit", "code"),
    [
        ("missing", None, 10, ErrorCode.INPUT_NOT_FOUND),
        ("k", "0" * 32, 10, ErrorCode.INPUT_CHANGED),
        ("k", None, 4, ErrorCode.INPUT_TOO_LARGE),
        ("empty", None, 10, ErrorCode.EMPTY_FILE),
    ],
)
def test_what_cannot_be_fetched_has_a_code_and_leaves_no_file(
    aws: Aws,
    inputs: S3Inputs,
    tmp_path: Path,
    key: str,
    etag: str | None,
    limit: int,
    code: ErrorCode,
) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    aws.s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with pytest.raises(JobError) as caught:
        inputs.fetch(S3Uri(bucket, key), tmp_path / "input", etag=etag, max_bytes=limit)
    assert caught.value.code is code
    assert key in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_named(inputs: S3Inputs, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no bucket 'nowhere-at-all'"):
        inputs.fetch(S3Uri("nowhere-at-all", "k"), tmp_path / "input", max_bytes=10)
    assert inputs.head(S3Uri("nowhere-at-all", "k")) is None


def test_a_check_that_raises_ends_a_download(aws: Aws, inputs: S3Inputs, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="k", Body=noise(1_200_000))
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 4:
            raise Interrupted("draining")

    with pytest.raises(Interrupted):
        inputs.fetch(S3Uri(bucket, "k"), tmp_path / "input", max_bytes=10**7, check=check)
    assert len(checks) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_goes_on_where_it_broke(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = aws.make_bucket()
    data = noise(1_000_000)
    aws.s3.put_object(Bucket=bucket, Key="k", Body=data)
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        inputs = inputs_through(proxy, monkeypatch)
        proxy.spoil_next(*[Mischief.TRUNCATE] * 3)
        fetched = inputs.fetch(S3Uri(bucket, "k"), tmp_path / "input", max_bytes=10**7)
        assert proxy.calls == 4
        assert proxy.answered_bytes == len(data), "nothing is fetched twice"
    assert (tmp_path / "input").read_bytes() == data
    assert fetched.bytes == len(data)


def test_a_multipart_object_is_fetched_whatever_its_etag_looks_like(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = aws.make_bucket()
    upload = aws.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for number, data in ((1, noise(5 * 1024 * 1024)), (2, b"tail")):
        part = aws.s3.upload_part(
            Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=data
        )
        parts.append({"ETag": part["ETag"], "PartNumber": number})
    aws.s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=upload,
        MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # a list of dicts
    )
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        inputs = inputs_through(proxy, monkeypatch)
        proxy.spoil_next(Mischief.TRUNCATE)
        fetched = inputs.fetch(S3Uri(bucket, "k"), tmp_path / "input", max_bytes=10**7)
    assert fetched.etag.endswith("-2")
    assert (tmp_path / "input").read_bytes() == noise(5 * 1024 * 1024) + b"tail"
