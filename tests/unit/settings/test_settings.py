"""Settings: who wins, what is said of a wrong value, what is hidden, and the page's table."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from tests.conftest import REPOSITORY
from worker.errors import ExitCode, SettingsError
from worker.jobs.fields import JOB_FIELDS
from worker.settings import Settings, allowed, changed, default_text, describe, load, table

PAGE = REPOSITORY / "config" / "README.md"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_a_user_meets_first() -> None:
    settings = load(environ={})
    assert settings.model == "large-v3"
    assert settings.batch_size == 64
    assert settings.beam_size == 5
    assert settings.compute_type == "int8_float16"
    assert settings.num_workers == 0
    assert settings.idle_timeout == 300
    assert settings.visibility_timeout == 120
    assert settings.device == "auto"
    assert settings.vad == "silero"
    assert settings.allowed_buckets == ()
    assert settings.output is None
    assert {settings.origin(name) for name in Settings.model_fields} == {"default"}


def test_command_line_over_environment_over_file_over_default(tmp_path: Path) -> None:
    config = write(
        tmp_path / "worker.toml", 'batch_size = 2\nbeam_size = 2\nmodel = "base"\nmax_wait = 1\n'
    )
    settings = load(
        {"batch_size": "4", "device": None},
        config,
        {"WORKER_BATCH_SIZE": "3", "WORKER_BEAM_SIZE": "3", "WORKER_DEVICE": "cpu"},
    )
    assert (settings.batch_size, settings.origin("batch_size")) == (4, "command line --batch-size")
    assert (settings.beam_size, settings.origin("beam_size")) == (
        3,
        "environment variable WORKER_BEAM_SIZE",
    )
    assert (settings.model, settings.origin("model")) == ("base", str(config))
    assert (settings.device, settings.origin("device")) == (
        "cpu",
        "environment variable WORKER_DEVICE",
    )
    assert settings.max_wait == 1.0
    assert (settings.vad, settings.origin("vad")) == ("silero", "default")


def test_building_settings_directly_reads_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_BATCH_SIZE", "7")
    assert Settings().batch_size == 64
    assert load().batch_size == 7


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("allowed_buckets", "one, two,", ("one", "two")),
        ("language_options", "fr, de,fr", ("de", "fr")),
        ("carry_context", "off", "off"),
        ("multilingual", "true", True),
        ("output", "s3://results/a", "s3://results/a/"),
        ("output", "s3://results", "s3://results/"),
        ("max_input_bytes", "500", 500),
        ("max_input_bytes", "2GiB", 2 * 2**30),
        ("log_level", "debug", "DEBUG"),
        ("metrics_emf", "true", True),
        ("metrics_port", "9100", 9100),
        ("work_dir", "/var/tmp/w", Path("/var/tmp/w")),  # noqa: S108  # a value, not a file
        ("notify_url", "arn:aws:sns:eu-west-1:1:t", "arn:aws:sns:eu-west-1:1:t"),
    ],
)
def test_values_as_people_write_them(name: str, text: str, value: object) -> None:
    assert getattr(load(environ={f"WORKER_{name.upper()}": text}), name) == value
    assert getattr(load({name: text}, environ={}), name) == value


def test_lists_and_numbers_as_toml_has_them(tmp_path: Path) -> None:
    config = write(
        tmp_path / "w.toml", 'allowed_buckets = ["a-bucket"]\nmetrics_emf = true\nmax_wait = 0.5\n'
    )
    settings = load(config=config, environ={})
    assert settings.allowed_buckets == ("a-bucket",)
    assert settings.metrics_emf is True
    assert settings.max_wait == 0.5


def test_an_empty_variable_is_no_value() -> None:
    assert load(environ={"WORKER_BATCH_SIZE": "", "WORKER_OUTPUT": ""}) == load(environ={})


@pytest.mark.parametrize("name", ["model", "model_dir", "diarize_model", "work_dir", "log_file"])
def test_an_empty_name_or_path_is_not_the_current_directory(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} = ' ' \(command line --.*\): must be "):
        load({name: " "}, environ={})


def test_every_wrong_value_is_reported_with_its_origin_and_what_is_allowed(tmp_path: Path) -> None:
    config = write(tmp_path / "w.toml", "max_wait = -1\n")
    with pytest.raises(SettingsError) as caught:
        load(
            {"device": "gpu"},
            config,
            {"WORKER_BATCH_SIZE": "many", "WORKER_VISIBILITY_TIMEOUT": "5", "WORKER_MODEL": "base"},
        )
    assert caught.value.exit_code == ExitCode.SETTINGS
    assert str(caught.value).splitlines() == [
        "4 settings are wrong:",
        "  visibility_timeout = '5' (environment variable WORKER_VISIBILITY_TIMEOUT): must be "
        "a whole number from 10 to 43200",
        "  device = 'gpu' (command line --device): must be one of auto, cuda, cpu",
        "  batch_size = 'many' (environment variable WORKER_BATCH_SIZE): must be a whole number "
        "from 1 to 1024",
        f"  max_wait = -1 ({config}): must be a number from 0 to 60",
    ]


WRONG = {
    "queue_url": ("my-queue", "arn:aws:sqs:us-east-1:1:q"),
    "dead_letter_url": ("dead",),
    "output": ("bucket/prefix", "s3://", "s3://UPPER/x", "https://bucket/x"),
    "visibility_timeout": ("9", "43201", "1.5"),
    "download_threads": ("0",),
    "commit_threads": ("0",),
    "max_failures": ("0",),
    "device": ("gpu",),
    "compute_type": ("int4",),
    "batch_size": ("0", "-1", "64.5"),
    "beam_size": ("0",),
    "transcriber": ("fast",),
    "vad": ("webrtc",),
    "word_times": ("yes",),
    "context": ("short",),
    "carry_context": ("yes", "true"),
    "language_options": ("german", "en,xx", "EN"),
    "multilingual": ("perhaps",),
    "num_workers": ("-1", "65"),
    "cpu_threads": ("-1",),
    "max_wait": ("-0.1", "61", "nan"),
    "held_seconds": ("-1", "inf"),
    "self_test": ("perhaps", "2"),
    "idle_timeout": ("-1", "nan"),
    "min_uptime": ("-1",),
    "on_idle": ("reboot",),
    "drain_timeout": ("-1",),
    "watchdog_timeout": ("0",),
    "max_input_bytes": ("0", "-1", "lots"),
    "max_audio_seconds": ("0",),
    "prepare_memory_bytes": ("0",),
    "prepare_stall_seconds": ("0",),
    "log_level": ("LOUD",),
    "log_format": ("xml",),
    "metrics_port": ("0", "65536"),
    "metrics_emf": ("perhaps",),
    "price_per_hour": ("-1", "free"),
    "notify_url": ("me@example.org",),
    "vtt_word_times": ("2",),
}
ANYTHING = {"model", "model_dir", "diarize_model", "work_dir", "log_file", "allowed_buckets"}
"""Settings that any text may be; whether it is good shows when it is used."""


def test_the_cases_cover_every_setting() -> None:
    assert set(WRONG) | ANYTHING == set(Settings.model_fields)


@pytest.mark.parametrize(("name", "text"), [(n, text) for n in WRONG for text in WRONG[n]])
def test_each_setting_refuses_what_it_may_not_be(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={f"WORKER_{name.upper()}": text})
    message = str(caught.value)
    assert f"{name} = {text!r} (environment variable WORKER_{name.upper()}): must be " in message
    assert allowed(Settings.model_fields[name]) in message


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    config = write(tmp_path / "w.toml", "batch_sise = 4\n")
    with pytest.raises(SettingsError, match=r"batch_sise .*: no such setting; did you mean batch_"):
        load(config=config, environ={})


def test_an_unknown_variable_is_reported_not_refused() -> None:
    settings = load(environ={"WORKER_MODLE": "base", "WORKER_SERVICE_HOST": "10.0.0.1"})
    assert settings.unknown_variables[0] == "WORKER_MODLE is no setting; did you mean WORKER_MODEL?"
    assert len(settings.unknown_variables) == 2
    assert "10.0.0.1" not in "".join(settings.unknown_variables)


@pytest.mark.parametrize("text", ["= 3", "a = [", "\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    config = write(tmp_path / "w.toml", text)
    with pytest.raises(SettingsError, match=r"w\.toml: not readable as TOML"):
        load(config=config, environ={})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: there is no such file"):
        load(config=tmp_path / "missing.toml", environ={})


def test_credentials_in_urls_are_hidden() -> None:
    secret = "http://key:hunter2@127.0.0.1/1/q"
    settings = load(environ={"WORKER_QUEUE_URL": secret})
    assert settings.queue_url == secret
    shown = {row.name: row.value for row in describe(settings)}
    assert shown["queue_url"] == "http://***@127.0.0.1/1/q"
    with pytest.raises(SettingsError) as caught:
        load(environ={"WORKER_QUEUE_URL": "ftp://key:hunter2@host/q"})
    assert "hunter2" not in str(caught.value)


def test_what_differs_from_the_defaults_is_shown_without_secrets(tmp_path: Path) -> None:
    assert changed(load(environ={})) == {}
    config = write(tmp_path / "w.toml", "beam_size = 5\nbatch_size = 8\n")
    settings = load({"self_test": False}, config, {"WORKER_QUEUE_URL": "http://a:b@host/1/q"})
    assert changed(settings) == {
        "queue_url": "http://***@host/1/q",
        "batch_size": "8",
        "self_test": "false",
    }


def test_describe_has_every_setting_with_value_and_origin() -> None:
    rows = describe(load({"idle_timeout": "2.5"}, environ={}))
    assert [row.name for row in rows] == list(Settings.model_fields)
    assert all(row.group for row in rows)
    idle = next(row for row in rows if row.name == "idle_timeout")
    assert (idle.value, idle.origin) == ("2.5", "command line --idle-timeout")


def test_every_setting_has_a_default_and_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined, name
        assert field.description, name


def test_every_setting_of_the_engine_reaches_it() -> None:
    given = {
        "model": "base", "model_dir": "/models", "device": "cpu", "compute_type": "int8",
        "batch_size": 7, "beam_size": 3, "transcriber": "standard", "vad": "pyannote",
        "word_times": "none", "diarize_model": "packaged", "context": "full",
        "num_workers": 3, "cpu_threads": 5, "max_wait": 0.25, "held_seconds": 99.0,
        "max_audio_seconds": 88.0, "prepare_memory_bytes": 1 << 30, "prepare_stall_seconds": 77.0,
        "self_test": False,
    }  # fmt: skip
    config = load(given, environ={}).engine()
    shared = {field.name for field in fields(type(config))} & set(Settings.model_fields)
    assert shared == set(given)
    for name, value in (given | {"model_dir": Path("/models")}).items():
        assert getattr(config, name) == value != Settings.model_fields[name].default, name


def test_what_jobs_get_that_don_t_say_is_the_settings() -> None:
    from worker.speech.api import Options

    assert load(environ={}).options() == Options()
    given = {
        "carry_context": "on",
        "language_options": ("de", "fr"),
        "multilingual": True,
    }
    shared = {field.name for field in fields(Options)} & set(Settings.model_fields)
    assert shared == set(given)
    assert load(given, environ={}).options() == Options(**given)  # type: ignore[arg-type]


def test_jobs_settings_and_the_engine_have_the_same_defaults() -> None:
    from worker.results.transcript import SubtitleOptions
    from worker.speech.api import Options

    listed = {name: field.unset for name, field in JOB_FIELDS.items() if field.unset is not None}
    assert len(listed) == 4
    for name, unset in listed.items():
        of_engine = SubtitleOptions() if name == "vtt_word_times" else Options()
        assert Settings.model_fields[name].default == getattr(of_engine, name) == unset, name


def test_the_engine_knows_what_was_chosen() -> None:
    default = load(environ={}).engine()
    assert not default.batch_size_given
    assert not default.compute_type_given
    assert not default.word_times_given
    chosen = load(
        environ={"WORKER_BATCH_SIZE": "64", "WORKER_COMPUTE_TYPE": "int8_float16"}
    ).engine()
    assert chosen.batch_size_given
    assert chosen.compute_type_given
    assert load({"word_times": "aligned"}, environ={}).engine().word_times_given


def test_the_engine_and_the_settings_have_the_same_defaults() -> None:
    from worker.speech.config import EngineConfig

    shared = {f.name: f.default for f in fields(EngineConfig) if f.name in Settings.model_fields}
    assert len(shared) > 10
    for name, default in shared.items():
        assert Settings.model_fields[name].default == default, name


def test_the_page_has_the_settings_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `{default_text(field)}` |" in page
    assert table() in page, "replace the page's settings by `print(worker.settings.table())`"


def test_of_a_prefix_that_can_not_be_the_rule_is_said_that_it_breaks() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"output": "s3://b/o/"}, environ={})
    assert "output = 's3://b/o/' (command line --output): must be an S3 prefix" in str(caught.value)
    assert "'s3://b/o/' does not name a possible bucket: use 3 to 63" in str(caught.value)
