"""The fields of a job, in one list: what each is, its default, and its flag.

The model of a message (`worker.jobs.request`) takes defaults and descriptions from here; the
commands `submit` and `transcribe` take their flags. Plain data, because a command's `--help`
reads it and must not pay for importing pydantic.

A new field is an entry here, and its type and rules in `JobRequest`; its flag follows from the kind
that the entry names. If the engine must know it,
it gets an entry of the same name in `worker.speech.api.Options`, and reaches it by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from worker.jobs.inputs import input_forms
from worker.results.names import FORMAT_NAMES, Format

__all__ = ["DEFAULT_FORMATS", "JOB_FIELDS", "Command", "Flag", "JobField", "Kind"]

Command = Literal["submit", "transcribe"]

Kind = Literal[
    "text", "integer", "number", "switch", "names", "labels", "pairs", "phrases", "track"
]
"""What a field holds. A switch is true or false, typed `--x` or `--no-x`; names are a list of
texts, typed `--x a,b`; labels are the same, but each belongs to its place, and none is left out;
pairs are a map of texts, typed `--x NAME=VALUE` any number of times; phrases are a vocabulary,
typed `--x 'a,b=SHOWN,"c, d"'`; a track is a number or `all`."""

DEFAULT_FORMATS: tuple[Format, ...] = ("json", "srt", "vtt", "txt")


@dataclass(frozen=True, slots=True)
class Flag:
    """How a command line takes a field.

    Attributes:
        help: the text of `--help`.
        kind: what the field holds, and so how it is typed.
        commands: which commands have the flag.
    """

    help: str
    kind: Kind = "text"
    commands: tuple[Command, ...] = ("submit", "transcribe")


@dataclass(frozen=True, slots=True)
class JobField:
    """One field of a job.

    Attributes:
        description: for the JSON schema.
        default: a job without the field has this. `input` has none, and the model makes an
            empty `metadata` for each job.
        flag: None where no command has one; `input` and `output` are arguments of `submit`
            itself, which has more to decide about them.
        unset: what a job without the field gets where the worker's setting of the same name isn't
            set either; None where there is no such setting.
    """

    description: str
    default: Any = None
    flag: Flag | None = None
    unset: Any = None


JOB_FIELDS: Mapping[str, JobField] = MappingProxyType(
    {
        "input": JobField(f"{input_forms()} of the media file"),
        "job_id": JobField(
            "names the result: 1 to 128 bytes of letters and digits of any script (in NFC), . _ -;"
            " default the SQS MessageId, with -1, -2, ... after it in a message of several jobs"
        ),
        "output": JobField(
            "s3://bucket/prefix/ under which <job_id>/ is written; default the setting `output`,"
            " else s3://<input bucket>/transcripts/"
        ),
        "language": JobField(
            "Whisper language code; null detects it",
            flag=Flag("Whisper code of the language spoken; detected if not given."),
        ),
        "task": JobField(
            "translate writes English",
            default="transcribe",
            flag=Flag("transcribe, or translate (into English)."),
        ),
        "formats": JobField(
            "files to write; json is always written",
            default=DEFAULT_FORMATS,
            flag=Flag(
                f"Files to write, separated by commas: {', '.join(FORMAT_NAMES)}.", kind="names"
            ),
        ),
        "words": JobField(
            "whether words get times",
            default=True,
            flag=Flag("Include word timestamps.", kind="switch"),
        ),
        "prompt": JobField(
            "text taken as having been said before",
            flag=Flag("Text taken as having been said before."),
        ),
        "hotwords": JobField("words and names to favour", flag=Flag("Words and names to favour.")),
        "carry_context": JobField(
            "whether the decoder is told what was said before: never (off), always (on), or where"
            " that costs little (auto); default the setting `carry_context`",
            flag=Flag("Tell the decoder what was said before: auto, off or on."),
            unset="auto",
        ),
        "language_options": JobField(
            "Whisper language codes that detection may choose from, with `language` among them if"
            " both are given; empty: any; default the setting `language_options`",
            flag=Flag(
                "Whisper codes that detection may choose from, separated by commas.", kind="names"
            ),
            unset=(),
        ),
        "multilingual": JobField(
            "whether each stretch of speech is written in its own language; not with `language`;"
            " default the setting `multilingual`",
            flag=Flag("Write each stretch of speech in its own language.", kind="switch"),
            unset=False,
        ),
        "diarize": JobField(
            "whether the result says who speaks: each word and each segment has a `speaker`",
            default=False,
            flag=Flag("Say who speaks.", kind="switch"),
        ),
        "min_speakers": JobField(
            "the least number of speakers to tell apart; needs `diarize`",
            flag=Flag("The least number of speakers to tell apart.", kind="integer"),
        ),
        "max_speakers": JobField(
            "the greatest number of speakers to tell apart, at least `min_speakers`; needs"
            " `diarize`",
            flag=Flag("The greatest number of speakers to tell apart.", kind="integer"),
        ),
        "channel_identification": JobField(
            "whether each channel is transcribed on its own, as of a call with a party on each;"
            " not with `diarize`",
            default=False,
            flag=Flag("Transcribe each channel on its own.", kind="switch"),
        ),
        "audio_stream": JobField(
            "which audio track of the file is transcribed, counted from 0, or `all`: each on its"
            " own, not with `diarize` or `channel_identification`; default the first that is marked"
            " default and has sound, else the first that has",
            flag=Flag("Which audio track to transcribe, counted from 0, or all.", kind="track"),
        ),
        "channel_labels": JobField(
            "what the channels are called, in their order (with `audio_stream` = all: the"
            " tracks); those without a label are called ch_0, ch_1, ... (track_0, track_1, ...) by"
            " their number",
            default=(),
            flag=Flag(
                "What the channels, or the tracks, are called, separated by commas.", kind="labels"
            ),
        ),
        "vocabulary": JobField(
            "phrases to favour, as a list; with how they are to be shown as an object"
            " (phrase: shown), or a list of {Phrase, DisplayAs}",
            default=(),
            flag=Flag(
                "Phrases to favour, separated by commas; PHRASE=SHOWN says how one is shown."
                " One with a comma in it goes into double quotes.",
                kind="phrases",
            ),
        ),
        "vocabulary_filter": JobField(
            "words and phrases that must not show",
            default=(),
            flag=Flag("Words that must not show, separated by commas.", kind="names"),
        ),
        "vocabulary_filter_method": JobField(
            "what becomes of those: mask shows *** in their place, remove nothing, tag marks them"
            " in the json (which needs `words`)",
            default="mask",
            flag=Flag("What becomes of those words: mask, remove or tag."),
        ),
        "segment_resolution": JobField(
            "what a segment of the result is: a sentence, or a window of speech of up to 30 s",
            default="sentence",
            flag=Flag("What a segment of the result is: sentence, or window (of up to 30 s)."),
        ),
        "max_line_width": JobField(
            "columns of a line in subtitles; wide characters take two",
            default=42,
            flag=Flag("Columns of a line in subtitles.", kind="integer"),
        ),
        "max_line_count": JobField(
            "lines of a subtitle",
            default=2,
            flag=Flag("Lines of a subtitle.", kind="integer"),
        ),
        "max_cue_seconds": JobField(
            "how long a subtitle may stay",
            default=7.0,
            flag=Flag("Seconds that a subtitle may stay.", kind="number"),
        ),
        "highlight_words": JobField(
            "whether subtitles underline each word as it is said, in cues of their own",
            default=False,
            flag=Flag("Underline each word as it is said, in srt and vtt.", kind="switch"),
        ),
        "vtt_word_times": JobField(
            "whether the vtt has the times of words (<00:00:01.000>); default the setting"
            " `vtt_word_times`",
            flag=Flag("Put the times of words into the vtt.", kind="switch"),
            unset=False,
        ),
        "output_start_index": JobField(
            "number of the first subtitle",
            default=1,
            flag=Flag("Number of the first subtitle.", kind="integer"),
        ),
        "metadata": JobField(
            "echoed in the result",
            flag=Flag("Echoed in the result; may be repeated.", kind="pairs", commands=("submit",)),
        ),
        "notify": JobField(
            "ARN of an SNS topic, or URL of an SQS queue, told when the job is answered; default"
            " the setting `notify_url`"
        ),
    }
)
"""By name, in the order of the message's model."""
