"""Writes the JSON schemas of what users meet: `python -m worker.cli.schemas DIRECTORY`.

The files under `config/schemas/` are made by it; a test holds them equal to the models.
"""

import json
import sys
from pathlib import Path

from worker.jobs.request import job_schema
from worker.results.transcript import error_schema, transcript_schema

__all__ = ["schema_files"]


def schema_files() -> dict[str, str]:
    """The text of each schema by its file name."""
    schemas = {"job": job_schema(), "transcript": transcript_schema(), "error": error_schema()}
    return {
        f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2
        )
        + "\n"
        for name, schema in schemas.items()
    }


if __name__ == "__main__":
    for file_name, text in schema_files().items():
        (Path(sys.argv[1]) / file_name).write_text(text, encoding="utf-8")
