"""Small wav2vec2 models with random weights, built by the libraries that the real ones use."""

from __future__ import annotations

from pathlib import Path
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


def save_torchaudio_model(path: Path) -> nn.Module:
    """A small model's weights, as torchaudio publishes those of its English one; the model."""
    module = small_module("torchaudio", "group")
    weights = module.state_dict()
    # Published weights have three unused classes, which torchaudio takes out on loading.
    for name in ("aux.weight", "aux.bias"):
        kept = weights[name]
        weights[name] = torch.cat([kept[:1], torch.zeros_like(kept[:3]), kept[1:]])
    torch.save(weights, path)
    return module


def save_hub_model(folder: Path) -> nn.Module:
    """A small model's files, as a repository on the hub has them; the model."""
    import transformers

    vocabulary = folder / "vocab.json"
    vocabulary.write_text('{"|": 0, "A": 1, "b": 2, "[UNK]": 3, "[PAD]": 4}')
    tokenizer = transformers.Wav2Vec2CTCTokenizer(  # type: ignore[no-untyped-call]
        str(vocabulary), unk_token="[UNK]", pad_token="[PAD]"
    )
    extractor = transformers.Wav2Vec2FeatureExtractor()  # type: ignore[no-untyped-call]
    processor = transformers.Wav2Vec2Processor(extractor, tokenizer)  # type: ignore[no-untyped-call]
    processor.save_pretrained(folder)
    module = small_module("huggingface", "layer", classes=len(tokenizer.get_vocab()))
    module.save_pretrained(folder)  # type: ignore[operator]  # of transformers
    return module
