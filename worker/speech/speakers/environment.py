"""The environment of a process that loads models which tell speakers apart."""

from __future__ import annotations

from worker.speech.children.rules import child_environment

__all__ = ["models_environment"]

_KEPT_VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "TORCH_HOME"),
)
"""Which card it is, and where models lie."""


def models_environment(threads: int) -> dict[str, str]:
    """All variables of such a process: no credential, because to load a model is to run its code.

    Args:
        threads: of the models.
    """
    return child_environment(
        _KEPT_VARIABLES,
        {
            "OMP_NUM_THREADS": str(threads),
            # Threads that wait for work would spin, on cores that decode.
            "OMP_WAIT_POLICY": "PASSIVE",
            # What a model names has been fetched, and nobody is told what is done here.
            "HF_HUB_OFFLINE": "1",
            "PYANNOTE_METRICS_ENABLED": "0",
        },
    )
