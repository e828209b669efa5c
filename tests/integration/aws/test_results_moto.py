"""Results against moto's S3, directly and through a bad network."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.proxy import FlakyProxy, Mischief
from worker.aws.clients import Clients, make_clients
from worker.aws.inputs import S3Inputs
from worker.aws.results import CommitOutcome, Present, ResultStore, result_metadata
from worker.uris import ResultPlace, S3Uri

SIBLINGS = {
    "transcript.srt": (b"1\n", "application/x-subrip"),
    "transcript.txt": (b"text\n", "text/plain; charset=utf-8"),
}
META = result_metadata(job_id="j", request_hash="h" * 64, input_uri="s3://in/k", etag="e")


@pytest.fixture
def store(clients: Clients) -> ResultStore:
    return ResultStore(clients.s3)


def store_through(proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    return ResultStore(make_clients().s3)


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


def commit(store: ResultStore, bucket: str, text: bytes = b"{}") -> CommitOutcome:
    return store.commit(ResultPlace(bucket, "out/j/"), SIBLINGS, text, META)


def test_a_commit_writes_all_and_the_place_is_tidied(
    aws: Aws, store: ResultStore, clients: Clients
) -> None:
    bucket = aws.make_bucket()
    store.save_checkpoint(ResultPlace(bucket, "out/j/"), b"state", META)
    store.put_error(ResultPlace(bucket, "out/j/"), b"{}", META)
    assert store.committed(ResultPlace(bucket, "out/j/")) is None
    assert commit(store, bucket) is CommitOutcome.COMMITTED
    store.tidy(ResultPlace(bucket, "out/j/"))
    assert keys(aws, bucket) == {f"out/j/transcript.{e}" for e in ("json", "srt", "txt")}
    head = aws.s3.head_object(Bucket=bucket, Key="out/j/transcript.srt")
    assert head["ContentType"] == "application/x-subrip"
    assert head["Metadata"]["transcription-worker"] == "1"
    record = store.committed(ResultPlace(bucket, "out/j/"))
    assert record is not None
    assert head["Metadata"]["job-id"] == "j"
    assert record.answers(request_hash="h" * 64, input_uri="s3://in/k", etag='"e"')
    own = S3Inputs(clients.s3).head(S3Uri(bucket, "out/j/transcript.json"))
    assert own is not None
    assert own.ours


def test_a_second_commit_changes_nothing(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket(versioned=True)
    assert commit(store, bucket, b"first") is CommitOutcome.COMMITTED
    assert commit(store, bucket, b"second") is CommitOutcome.ALREADY
    assert versions(aws, bucket) == {f"out/j/transcript.{e}": 1 for e in ("json", "srt", "txt")}


def test_a_commit_of_another_program_is_no_answer(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="out/j/transcript.json", Body=b"{}")
    assert commit(store, bucket) is CommitOutcome.ALREADY
    record = store.committed(ResultPlace(bucket, "out/j/"))
    assert record is not None
    assert not record.answers(request_hash="h" * 64, input_uri="s3://in/k", etag="e")


def test_siblings_of_a_writer_that_died_are_replaced(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="out/j/transcript.srt", Body=b"half a thought")
    assert commit(store, bucket) is CommitOutcome.COMMITTED
    body = aws.s3.get_object(Bucket=bucket, Key="out/j/transcript.srt")["Body"].read()
    assert body == SIBLINGS["transcript.srt"][0]


def test_of_many_writers_one_wins_and_its_files_are_untouched(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket(versioned=True)
    outcomes: list[CommitOutcome] = []
    first = commit(store, bucket, b"winner")

    def race(n: int) -> None:
        outcomes.append(
            store.commit(
                ResultPlace(bucket, "out/j/"),
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
        inputs = S3Inputs(make_clients().s3)
        for n in range(12):
            place = ResultPlace(bucket, f"out/j{n}/")
            fetched = inputs.fetch(S3Uri(bucket, "in/k"), tmp_path / "x", max_bytes=10**7)
            digest = hashlib.sha256((tmp_path / "x").read_bytes()).digest()
            assert digest == hashlib.sha256(data).digest()
            assert fetched.bytes == len(data)
            assert store.committed(place) is None
            store.save_checkpoint(place, b"state", META)
            outcome = store.commit(place, SIBLINGS, b"{}", META)
            assert outcome is CommitOutcome.COMMITTED
            store.tidy(place)
        assert set(proxy.spoiled) == set(Mischief)
    left = keys(aws, bucket) - {"in/k"}
    assert left == {f"out/j{n}/transcript.{e}" for n in range(12) for e in ("json", "srt", "txt")}
    listed = aws.s3.list_object_versions(Bucket=bucket)["Versions"]
    transcripts = [v["Key"] for v in listed if v["Key"].endswith("transcript.json")]
    assert len(transcripts) == 12


# Listings, errors and checkpoints.


@pytest.mark.parametrize("prefix", ["out/j/", "ou+t/a b/ü%20&/"])
def test_a_listing_tells_what_lies_there_and_nothing_of_folders_below(
    aws: Aws, store: ResultStore, prefix: str
) -> None:
    bucket = aws.make_bucket()
    place = ResultPlace(bucket, prefix)
    assert store.present(place) == Present(frozenset())
    for key in ("transcript.json", "below/error.json"):
        aws.s3.put_object(Bucket=bucket, Key=prefix + key, Body=b"{}")
    present = store.present(place)
    assert present.names == frozenset({"transcript.json"})
    assert store.committed(place, present) is not None
    assert store.load_checkpoint(place, present) is None
    assert store.error(place, present) is None


def test_checkpoints_are_kept_replaced_and_removed(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket()
    assert store.load_checkpoint(ResultPlace(bucket, "out/j/")) is None
    store.save_checkpoint(ResultPlace(bucket, "out/j/"), b"one", META)
    store.save_checkpoint(ResultPlace(bucket, "out/j/"), b"two", {**META, "fingerprint": "f"})
    loaded = store.load_checkpoint(ResultPlace(bucket, "out/j/"))
    assert loaded == b"two"
    head = aws.s3.head_object(Bucket=bucket, Key="out/j/checkpoint.json")
    assert head["Metadata"]["fingerprint"] == "f"
    store.delete_checkpoint(ResultPlace(bucket, "out/j/"))
    store.delete_checkpoint(ResultPlace(bucket, "out/j/"))
    assert keys(aws, bucket) == set()


def test_a_checkpoint_survives_a_cut_off_answer(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = aws.make_bucket()
    state = noise(500_000)
    with FlakyProxy(aws.endpoint, share=0) as proxy:
        store = store_through(proxy, monkeypatch)
        store.save_checkpoint(ResultPlace(bucket, "out/j/"), state, META)
        proxy.spoil_next(Mischief.TRUNCATE, Mischief.TRUNCATE)
        loaded = store.load_checkpoint(ResultPlace(bucket, "out/j/"))
    assert loaded == state


def test_what_is_not_there_leaves_no_delete_markers(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket(versioned=True)
    place = ResultPlace(bucket, "out/j/")
    store.delete_checkpoint(place)
    store.tidy(place)
    assert versions(aws, bucket) == {}


def test_an_error_is_written_and_removed(aws: Aws, store: ResultStore) -> None:
    bucket = aws.make_bucket()
    place = ResultPlace(bucket, "out/j/")
    assert store.error(place) is None
    store.put_error(place, b"{}", META)
    head = aws.s3.head_object(Bucket=bucket, Key="out/j/error.json")
    assert head["Metadata"]["job-id"] == "j"
    assert head["ContentType"] == "application/json"
    found = store.error(place)
    assert found is not None
    assert found.metadata["job-id"] == "j"
    store.tidy(place)
    assert keys(aws, bucket) == set()
