"""The JSON Schema of `report.json`, generated from the structs and shipped beside them.

After a change of the structs: ``python -m stayfinite.reporters.schema`` writes it anew; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from stayfinite.reporters.document import REPORT_SCHEMA, Report

FILE = Path(__file__).with_name("report.schema.json")


def report_schema() -> dict[str, Any]:
    """The schema (draft 2020-12). Every field is required, because a report always holds all of them."""
    schema: dict[str, Any] = msgspec.json.schema(Report)
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    schema["$defs"]["Report"]["properties"]["schema"] = {"const": REPORT_SCHEMA}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": REPORT_SCHEMA, **schema}


def encoded() -> bytes:
    """The schema as the bytes of the file."""
    return msgspec.json.format(msgspec.json.encode(report_schema()), indent=2) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(encoded())
