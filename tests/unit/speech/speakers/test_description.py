"""A pipeline's configuration is understood, or refused with a clause that says why."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.pipelines import COMMUNITY_CONFIG, OLDER_CONFIG, SEGMENTATION, WESPEAKER
from worker.speech.speakers.description import BrokenPipeline, Description, Part, parse


def test_community_1_has_three_parts_in_its_own_folder() -> None:
    found = parse(yaml.safe_load(COMMUNITY_CONFIG))
    assert found == Description(
        parts=(
            Part("segmentation", "$model/segmentation"),
            Part("embedding", "$model/embedding"),
            Part("plda", "$model/plda"),
        ),
        clustering="VBxClustering",
        exclude_overlap=True,
        step=None,
        numbers={
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    )


def test_3_1_has_two_parts_of_the_hub() -> None:
    text = OLDER_CONFIG.format(segmentation=SEGMENTATION, embedding=WESPEAKER)
    found = parse(yaml.safe_load(text))
    assert found.parts == (Part("segmentation", SEGMENTATION), Part("embedding", WESPEAKER))
    assert found.clustering == "AgglomerativeClustering"


def _config(**params: Any) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(COMMUNITY_CONFIG)
    config["pipeline"]["params"] |= params
    return config


def test_a_part_may_be_written_as_place_and_folder() -> None:
    found = parse(_config(plda={"checkpoint": "owner/name", "subfolder": "plda"}))
    assert found.parts[2] == Part("plda", "owner/name", "plda")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "it is no mapping"),
        ({}, "pipeline is no mapping"),
        ({"pipeline": {"name": "os.system"}}, "its pipeline is 'os.system', not pyannote.audio."),
        (_config(clustering="KMeansClustering"), "its clustering is 'KMeansClustering', not VBx"),
        (_config(segmentation=None), "it names no segmentation"),
        (_config(plda=None), "it names no plda"),
        (_config(embedding=["a"]), "its embedding is no path and no name"),
        (_config(embedding="a/b@main"), "its embedding is 'a/b@main': a revision can't be asked"),
        (_config(segmentation_step=0), "its segmentation_step is 0, not above 0 and at most 1"),
    ],
)
def test_what_can_t_be_used_is_refused_with_a_reason(config: object, why: str) -> None:
    with pytest.raises(BrokenPipeline) as caught:
        parse(config)
    assert why in str(caught.value)


_anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(["a"]), st.just({"a": 1})
)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["clustering", "segmentation", "embedding", "plda", "segmentation_step"]),
        _anything,
    )
)
def test_whatever_stands_there_is_understood_or_refused(params: dict[str, Any]) -> None:
    config = _config(**params) | {"params": params}
    try:
        found = parse(config)
    except BrokenPipeline:
        return
    assert [part.name for part in found.parts][:2] == ["segmentation", "embedding"]
