"""The examples an operator copies: they load, and name only settings that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from worker.settings import Settings, default_text, load


def commented_in(text: str) -> str:
    """The example with its commented defaults switched on."""
    return re.sub(r"^#(?=\w+ ?=)", "", text, flags=re.MULTILINE)


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


def test_environment_file_loads_as_it_is(config_dir: Path) -> None:
    environ = variables((config_dir / "worker.env.example").read_text())
    settings = load({}, None, environ)
    assert settings.unknown_variables == ()
    assert settings.queue_url == environ["WORKER_QUEUE_URL"]
    # `auto` would go on with the CPU where the driver is broken.
    assert settings.device == "cuda"


def test_environment_file_shows_the_defaults(config_dir: Path) -> None:
    text = (config_dir / "worker.env.example").read_text()
    shown = variables(commented_in(text)).keys() - variables(text).keys()
    environ = {k: v for k, v in variables(commented_in(text)).items() if k in shown}
    assert load({}, None, environ).unknown_variables == ()
    # Examples of their own, not defaults.
    shown -= {"WORKER_ALLOWED_BUCKETS", "WORKER_METRICS_PORT", "HF_HUB_OFFLINE", "HF_TOKEN"}
    for name in sorted(shown):
        field = Settings.model_fields[name.removeprefix("WORKER_").lower()]
        assert environ[name] in (default_text(field), ""), name


def test_toml_file_loads_as_it_is(config_dir: Path) -> None:
    settings = load({}, config_dir / "worker.toml.example", {})
    assert settings.model == "large-v3"


def test_toml_file_names_every_setting(config_dir: Path, tmp_path: Path) -> None:
    text = commented_in((config_dir / "worker.toml.example").read_text())
    named = set(tomllib.loads(text))
    missing = set(Settings.model_fields) - named
    assert missing <= {"work_dir", "download_threads", "commit_threads"}, missing
    assert named <= set(Settings.model_fields)
