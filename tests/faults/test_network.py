"""A bad network: a fifth of all calls is delayed, reset, cut off or answered with an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.proxy import FlakyProxy
from tests.fakes.site import Site, site, wait_for
from tests.fakes.sqs_strict import StrictSqs


def _run(aws: Aws, folder: Path, *, jobs: int, seconds: float, seed: int) -> tuple[Site, str]:
    with StrictSqs(stale_delete="ignore") as sqs:
        with (
            FlakyProxy(aws.endpoint, share=0.2, seed=seed, delay_seconds=0.3) as objects,
            FlakyProxy(sqs.endpoint, share=0.2, seed=seed + 1, delay_seconds=0.3) as messages,
            site(
                aws,
                folder,
                versioned=True,
                sqs=sqs,
                endpoint=objects.endpoint,
                sqs_endpoint=messages.endpoint,
                max_receives=30,
            ) as place,
        ):
            for number in range(jobs):
                place.job(f"job-{number:03}", seconds=40, seed=number)
            workers = [place.worker(idle_timeout=600, visibility=10) for _ in range(2)]
            wait_for(lambda: not place.waiting(), seconds, "messages are left")
            objects.share = messages.share = 0.0
            for worker in workers:
                worker.process.terminate()
            assert [worker.wait(30) for worker in workers] == [0, 0]
            assert place.done() == {f"job-{number:03}" for number in range(jobs)}
            commits = {
                key: count
                for key, count in place.versions().items()
                if key.endswith("/transcript.json")
            }
            assert set(commits.values()) == {1}, "a result was written twice"
            assert place.failed() == {}
            assert place.dead() == []
            assert place.leftovers() == []
            spoiled = objects.spoiled + messages.spoiled
            calls = objects.calls + messages.calls
            assert sum(spoiled.values()) >= jobs, "too little mischief to show anything"
        figures = ", ".join(
            f"{kind.value} {count}"
            for kind, count in sorted(spoiled.items(), key=lambda item: item[0].value)
        )
        return place, f"{jobs} jobs, {calls} calls, of which spoiled: {figures}"


@pytest.mark.timeout(120)
def test_all_jobs_commit_once_over_a_bad_network(aws: Aws, tmp_path: Path) -> None:
    _run(aws, tmp_path, jobs=12, seconds=90, seed=11)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hundred_jobs_commit_once_over_a_bad_network(
    aws: Aws, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    _, text = _run(aws, tmp_path, jobs=100, seconds=540, seed=12)
    figures(text)
