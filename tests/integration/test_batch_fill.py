"""Many one-window jobs and long files share batches, and share no words: with the real model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Aws
from worker.bench.loads import Clip, make_loads
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine

BATCH = 8


@pytest.mark.long
@pytest.mark.timeout(900)
def test_forty_jobs_and_two_long_files_fill_their_batches_and_keep_their_texts(
    aws: Aws, speech_dir: Path, tmp_path: Path
) -> None:
    clips = sorted((speech_dir / "english-more").glob("*.flac"))
    bucket = aws.make_bucket()
    queues = aws.make_queues()
    long = [joined(clips[start::2], tmp_path / f"long-{start}.wav") for start in (0, 1)]
    clips = clips[:40]
    for clip in (*long, *clips):
        aws.s3.upload_file(str(clip), bucket, f"in/{clip.name}")
        job = {"job_id": clip.stem, "input": f"s3://{bucket}/in/{clip.name}", "words": False}
        aws.sqs.send_message(QueueUrl=queues.url, MessageBody=json.dumps(job))
    log = tmp_path / "worker.log"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "worker", "run", "--queue-url", queues.url),
            *("--model", "base", "--device", "cpu", "--compute-type", "int8"),
            *("--context", "full", "--max-wait", "5"),
            *("--idle-timeout", "3", "--log-format", "json", "--log-file", str(log)),
        ],
        env=aws.environ,
        cwd=REPOSITORY,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0
    batches = [
        event
        for event in map(json.loads, log.read_text().splitlines())
        if event["event"] == "batch.completed" and event["temperature"] == 0.0
    ]
    assert sum(batch["windows"] for batch in batches) >= len(clips)
    fill = sum(batch["windows"] for batch in batches) / sum(batch["capacity"] for batch in batches)
    assert fill >= 0.9, f"{fill:.2f}"
    together = {}
    for recording in long:
        key = f"transcripts/{recording.stem}/transcript.json"
        said = json.loads(aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        assert len(said["segments"]) > 8
    for clip in clips:
        key = f"transcripts/{clip.stem}/transcript.json"
        body = aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        together[clip.stem] = json.loads(body)["text"]
    assert together == _one_at_a_time(clips)


def joined(clips: Sequence[Path], target: Path) -> Path:
    """The clips in one file of some minutes, half a second apart."""
    loads = make_loads([Clip(clip, None) for clip in clips], ["joined"], target.parent)
    return loads[0].paths[0].rename(target)


def _one_at_a_time(clips: list[Path]) -> dict[str, str]:
    engine = Engine(
        EngineConfig(
            model="base",
            device="cpu",
            compute_type="int8",
            batch_size=BATCH,
            batch_size_given=True,
            context="full",
            word_times="none",
            self_test=False,
        )
    )
    engine.start()
    try:
        return {
            clip.stem: " ".join(
                segment.text
                for segment in engine.submit(clip, Options(words=False), name=clip.stem)
                .future.result(120)
                .segments
            )
            for clip in clips
        }
    finally:
        engine.stop()
