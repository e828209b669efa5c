"""Small wav2vec2 models with random weights, built by the libraries that the real ones use."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from worker.speech.words.wav2vec2 import AlignModel

LETTERS = ["-", "|", *"etaonihsrdlumwcfgypbvk'xjqz"]
"""The classes of torchaudio's English models, blank first."""

CONVOLUTIONS = [(32, 10, 5), (32, 3, 2), (32, 3, 2), (32, 3, 2), (32, 3, 2), (32, 2, 2), (32, 2, 2)]
"""(channels, kernel, stride): strides and kernels of every wav2vec2, with fewer channels."""

Kind = Literal["torchaudio", "huggingface"]
Norm = Literal["group", "layer"]


def torchaudio_parameters(norm: Norm, classes: int = len(LETTERS)) -> dict[str, object]:
    """The arguments of `torchaudio.models.wav2vec2_model`."""
    return {
        "extractor_mode": f"{norm}_norm",
        "extractor_conv_layer_config": CONVOLUTIONS,
        "extractor_conv_bias": norm == "layer",
        "encoder_embed_dim": 48,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 32,
        "encoder_pos_conv_groups": 4,
        "encoder_num_layers": 2,
        "encoder_num_heads": 4,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 96,
        "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": norm == "layer",
        "encoder_layer_drop": 0.05,
        "aux_num_out": classes,
    }


def small_module(kind: Kind, norm: Norm, classes: int = len(LETTERS), seed: int = 0) -> nn.Module:
    """A model with seeded random weights whose outputs differ from frame to frame."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module: nn.Module
        if kind == "torchaudio":
            import torchaudio

            module = torchaudio.models.wav2vec2_model(**torchaudio_parameters(norm, classes))
            output = module.aux
        else:
            from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

            config = Wav2Vec2Config(  # type: ignore[no-untyped-call]  # untyped in transformers
                vocab_size=classes,
                hidden_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=96,
                conv_dim=[channels for channels, _, _ in CONVOLUTIONS],
                conv_kernel=[kernel for _, kernel, _ in CONVOLUTIONS],
                conv_stride=[stride for _, _, stride in CONVOLUTIONS],
                conv_bias=norm == "layer",
                feat_extract_norm=norm,
                do_stable_layer_norm=norm == "layer",
                num_conv_pos_embeddings=32,
                num_conv_pos_embedding_groups=4,
            )
            module = Wav2Vec2ForCTC(config)
            output = module.lm_head
        # Fresh weights say nearly the same in every frame; these make up their mind.
        assert isinstance(output, nn.Linear)
        nn.init.normal_(output.weight, std=1.0)
    return module.eval()


def small_model(
    kind: Kind = "torchaudio",
    norm: Norm = "group",
    *,
    letters: list[str] = LETTERS,
    spaced: bool = True,
    seed: int = 0,
    half: bool = False,
) -> AlignModel:
    module = small_module(kind, norm, len(letters), seed)
    return AlignModel(
        module.half() if half else module,
        {letter: code for code, letter in enumerate(letters)},
        kind=kind,
        name="small",
        spaced=spaced,
    )
