"""The store against moto's S3, directly and through a bad network."""

from __future__ import annotations

import hashlib
import random
import threading
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.proxy import FlakyProxy, Mischief
from worker.aws.clients import Clients, make_clients
from worker.aws.results import CommitOutcome, Store, result_metadata
from worker.errors import ErrorCode, Interrupted, JobError

SIBLINGS = {
    "transcript.srt": (b"1\n", "application/x-subrip"),
    "transcript.txt": (b"text\n", "text/plain; charset=utf-8"),
}
META = result_metadata(job_id="j", request_hash="h" * 64, input_uri="s3://in/k", etag="e")


@cache
def clients_of(endpoint: str) -> Clients:
    """Clients of `AWS_ENDPOINT_URL`; making them takes half a second."""
    return make_clients()


@pytest.fixture
def store(aws: Aws) -> Store:
    return Store(clients_of(aws.endpoint).s3)


def store_through(proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    return Store(make_clients().s3)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def keys(aws: Aws, bucket: str) -> set[str]:
    return {item["Key"] for item in aws.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def versions(aws: Aws, bucket: str) -> dict[str, int]:
    listed = aws.s3.list_object_versions(Bucket=bucket)
    counts: dict[str, int] = {}
    for version in listed.get("Versions", []):
        counts[version["Key"]] = counts.get(version["Key"], 0) + 1
    assert not listed.get("DeleteMarkers")
    return counts


# Inputs.


def test_an_object_is_fetched_with_what_is_known_of_it(
    aws: Aws, store: Store, tmp_path: Path
) -> None:
    bucket = aws.make_bucket(versioned=True)
    data = noise(1_200_000)
    put = aws.s3.put_object(Bucket=bucket, Key="a b/ü.flac", Body=data, Metadata={"who": "me"})
    head = store.head(bucket, "a b/ü.flac")
    assert head is not None
    assert not head.ours
    checks: list[int] = []
    fetched = store.fetch(
        bucket,
        "a b/ü.flac",
        tmp_path / "input",
        etag=head.etag,
        max_bytes=len(data),
        check=lambda: checks.append(1),
    )
    assert (tmp_path / "input").read_bytes() == data
    assert fetched.etag == head.etag == put["ETag"].strip('"')
    assert fetched.bytes == head.bytes == len(data)
    assert fetched.metadata == {"who": "me"}
    assert fetched.version_id == put["VersionId"]
    assert len(checks) > 4


def test_a_version_stays_what_it_was(aws: Aws, store: Store, tmp_path: Path) -> None:
    bucket = aws.make_bucket(versioned=True)
    first = aws.s3.put_object(Bucket=bucket, Key="k", Body=b"first")
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"second")
    fetched = store.fetch(bucket, "k", tmp_path / "x", version_id=first["VersionId"], max_bytes=100)
    assert (tmp_path / "x").read_bytes() == b"first"
    assert fetched.version_id == first["VersionId"]
    head = store.head(bucket, "k", version_id=first["VersionId"])
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
    aws: Aws, store: Store, tmp_path: Path, key: str, etag: str | None, limit: int, code: ErrorCode
) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    aws.s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with pytest.raises(JobError) as caught:
        store.fetch(bucket, key, tmp_path / "input", etag=etag, max_bytes=limit)
    assert caught.value.code is code
    assert key in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no bucket 'nowhere-at-all'"):
        store.fetch("nowhere-at-all", "k", tmp_path / "input", max_bytes=10)
    assert store.head("nowhere-at-all", "k") is None


def test_a_check_that_raises_ends_a_download(aws: Aws, store: Store, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="k", Body=noise(1_200_000))
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 4:
            raise Interrupted("draining")

    with pytest.raises(Interrupted):
        store.fetch(bucket, "k", tmp_path / "input", max_bytes=10**7, check=check)
    assert len(checks) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_goes_on_where_it_broke(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = aws.make_bucket()
    data = noise(1_000_000)
    aws.s3.put_object(Bucket=bucket, Key="k", Body=data)
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        store = store_through(proxy, monkeypatch)
        proxy.spoil_next(*[Mischief.TRUNCATE] * 3)
        fetched = store.fetch(bucket, "k", tmp_path / "input", max_bytes=10**7)
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
        store = store_through(proxy, monkeypatch)
        proxy.spoil_next(Mischief.TRUNCATE)
        fetched = store.fetch(bucket, "k", tmp_path / "input", max_bytes=10**7)
    assert fetched.etag.endswith("-2")
    assert (tmp_path / "input").read_bytes() == noise(5 * 1024 * 1024) + b"tail"


# Commits.


def commit(store: Store, bucket: str, text: bytes = b"{}") -> CommitOutcome:
    return store.commit(bucket, "out/j/", SIBLINGS, text, META)


def test_a_commit_writes_all_and_clears_up(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket()
    store.save_checkpoint(bucket, "out/j/", b"state", META)
    store.put_error(bucket, "out/j/", b"{}", META)
    assert store.committed(bucket, "out/j/") is None
    assert commit(store, bucket) is CommitOutcome.COMMITTED
    assert keys(aws, bucket) == {f"out/j/transcript.{e}" for e in ("json", "srt", "txt")}
    head = aws.s3.head_object(Bucket=bucket, Key="out/j/transcript.srt")
    assert head["ContentType"] == "application/x-subrip"
    assert head["Metadata"]["transcription-worker"] == "1"
    record = store.committed(bucket, "out/j/")
    assert record is not None
    assert record.job_id == "j"
    assert record.answers(request_hash="h" * 64, input_uri="s3://in/k", etag='"e"')
    own = store.head(bucket, "out/j/transcript.json")
    assert own is not None
    assert own.ours


def test_a_second_commit_changes_nothing(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket(versioned=True)
    assert commit(store, bucket, b"first") is CommitOutcome.COMMITTED
    assert commit(store, bucket, b"second") is CommitOutcome.ALREADY
    assert versions(aws, bucket) == {f"out/j/transcript.{e}": 1 for e in ("json", "srt", "txt")}


def test_a_commit_of_another_program_is_no_answer(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="out/j/transcript.json", Body=b"{}")
    assert commit(store, bucket) is CommitOutcome.ALREADY
    record = store.committed(bucket, "out/j/")
    assert record is not None
    assert not record.answers(request_hash="h" * 64, input_uri="s3://in/k", etag="e")


def test_siblings_of_a_writer_that_died_are_replaced(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="out/j/transcript.srt", Body=b"half a thought")
    assert commit(store, bucket) is CommitOutcome.COMMITTED
    body = aws.s3.get_object(Bucket=bucket, Key="out/j/transcript.srt")["Body"].read()
    assert body == SIBLINGS["transcript.srt"][0]


def test_of_many_writers_one_wins_and_its_files_are_untouched(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket(versioned=True)
    outcomes: list[CommitOutcome] = []
    first = commit(store, bucket, b"winner")

    def race(n: int) -> None:
        outcomes.append(
            store.commit(
                bucket,
                "out/j/",
                {"transcript.srt": (f"{n}".encode(), "text/plain")},
                f"{n}".encode(),
                META,
            )
        )

    threads = [threading.Thread(target=race, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert first is CommitOutcome.COMMITTED
    assert outcomes == [CommitOutcome.ALREADY] * 6
    assert set(versions(aws, bucket).values()) == {1}


@pytest.mark.parametrize("write", [1, 2, 3])
def test_our_own_write_whose_answer_was_lost_is_ours(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    bucket = aws.make_bucket(versioned=True)
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        store = store_through(proxy, monkeypatch)
        proxy.spoil_next(*[None] * (write - 1), Mischief.RESET_AFTER)
        assert commit(store, bucket) is CommitOutcome.COMMITTED
        assert proxy.spoiled == {Mischief.RESET_AFTER: 1}
    assert versions(aws, bucket) == {f"out/j/transcript.{e}": 1 for e in ("json", "srt", "txt")}


def test_commits_and_downloads_through_a_bad_network(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = aws.make_bucket(versioned=True)
    data = noise(400_000)
    aws.s3.put_object(Bucket=bucket, Key="in/k", Body=data)
    with FlakyProxy(aws.endpoint, share=0.25, seed=11, delay_seconds=0.1) as proxy:
        store = store_through(proxy, monkeypatch)
        for n in range(12):
            prefix = f"out/j{n}/"
            fetched = store.fetch(bucket, "in/k", tmp_path / "x", max_bytes=10**7)
            digest = hashlib.sha256((tmp_path / "x").read_bytes()).digest()
            assert digest == hashlib.sha256(data).digest()
            assert fetched.bytes == len(data)
            assert store.committed(bucket, prefix) is None
            store.save_checkpoint(bucket, prefix, b"state", META)
            outcome = store.commit(bucket, prefix, SIBLINGS, b"{}", META)
            assert outcome is CommitOutcome.COMMITTED
        assert set(proxy.spoiled) == set(Mischief)
    left = keys(aws, bucket) - {"in/k"}
    assert left == {f"out/j{n}/transcript.{e}" for n in range(12) for e in ("json", "srt", "txt")}
    listed = aws.s3.list_object_versions(Bucket=bucket)["Versions"]
    transcripts = [v["Key"] for v in listed if v["Key"].endswith("transcript.json")]
    assert len(transcripts) == 12


# Errors and checkpoints.


def test_checkpoints_are_kept_replaced_and_removed(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket()
    assert store.load_checkpoint(bucket, "out/j/") is None
    store.save_checkpoint(bucket, "out/j/", b"one", META)
    store.save_checkpoint(bucket, "out/j/", b"two", {**META, "fingerprint": "f"})
    loaded = store.load_checkpoint(bucket, "out/j/")
    assert loaded is not None
    assert loaded.data == b"two"
    assert loaded.metadata["fingerprint"] == "f"
    store.delete_checkpoint(bucket, "out/j/")
    store.delete_checkpoint(bucket, "out/j/")
    assert keys(aws, bucket) == set()


def test_a_checkpoint_survives_a_cut_off_answer(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = aws.make_bucket()
    state = noise(500_000)
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        store = store_through(proxy, monkeypatch)
        store.save_checkpoint(bucket, "out/j/", state, META)
        proxy.spoil_next(Mischief.TRUNCATE, Mischief.TRUNCATE)
        loaded = store.load_checkpoint(bucket, "out/j/")
    assert loaded is not None
    assert loaded.data == state


def test_an_error_is_written_and_removed_without_delete_markers(aws: Aws, store: Store) -> None:
    bucket = aws.make_bucket(versioned=True)
    store.delete_error(bucket, "out/j/")
    assert versions(aws, bucket) == {}
    store.put_error(bucket, "out/j/", b"{}", META)
    head = aws.s3.head_object(Bucket=bucket, Key="out/j/error.json")
    assert head["Metadata"]["job-id"] == "j"
    assert head["ContentType"] == "application/json"
    store.delete_error(bucket, "out/j/")
    assert keys(aws, bucket) == set()
