"""Markdown for issues and notebooks."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from reporters.handmade import SCALER, closing, log_of_zero, manifest, raised, where_trap, write_script
from reporters.wild import incidents

from stayfinite.records.incident import Incident
from stayfinite.records.recording import Record, Repeats
from stayfinite.reporters import markdown
from stayfinite.reporters.report import build_report


def told(records: list[Record], encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    markdown.render(build_report(records), out)
    out.flush()
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_log_of_zero(tmp_path: Path) -> None:
    folder = write_script(tmp_path)
    assert told([manifest(folder), log_of_zero(), Repeats("4a1b9c0d2e3f", 57, 57, 113), SCALER, closing()]) == """\
# stayfinite: train.py

Status: incident; 58 steps, exit code 3; torch 2.13.0, stayfinite 0.1.0.

## step 57: the loss became +inf

The step was held: weights and optimizer state are those after step 56. Replayed twice, and it happened again. Seen 57 \
times, the last in step 113.

`train.py:7` in `loss_fn` (loss): **log: -inf in 1 of 32 elements, from picked\\[17\\] = 0**

```text
  5 |     p = torch.softmax(logits, 1)
  6 |     picked = p[torch.arange(len(target)), target]
> 7 |     return -torch.log(picked).mean()
```

- operation: `aten.log.default`
- samples: `17 of a batch of 32`
- dataset indices: `1377`

| tensor | shape | dtype | nan | +inf | -inf | zeros | min | max | element |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `picked` | 32 | float32 | 0 | 0 | 0 | 1 | 0 | 0.9998 | `picked[17] = 0` |
| `result` | 32 | float32 | 0 | 0 | 1 | 0 | -4.61 | -0.0002 | `result[17] = -inf` |

### How it spread

| operation | line | result |
| --- | --- | --- |
| `log` | `train.py:7` | -inf in 1 of 32 elements |
| `mean` | `train.py:7` | -inf |
| `neg` | `train.py:7` | +inf |

It reached the loss and the gradient of net.head.weight.

### Why

- **93 % `log-of-zero`** (not tested): The logarithm of an exact zero
  - look at `train.py:7`
  - +4.0 bits: picked holds an exact zero where the logarithm is -inf
  - +0.8 bits: the loss fell steadily until the step before
- **4 % `half-precision-underflow`** (not tested): A small number became zero in a half-precision format
  - -1.0 bits: the argument is float32
- **3 % `unknown`**: Nothing known here explains it
- **<1 % `corrupt-sample`** (not tested): A sample is damaged

## Also

- the loss scaler skipped 2 steps while it found its scale; that is normal
"""


@pytest.mark.parametrize(
    ("name", "span"),
    [("net", "`net`"), ("a`b`c", "``a`b`c``"), ("`", "`` ` ``"), ("a``|", "```a``\\|```"), ("\n\x1b", "` \\x1b`")],
)
def test_names_stay_inside_their_code_span(name: str, span: str) -> None:
    incident = where_trap()
    origin = msgspec.structs.replace(incident.case.origin, module=name)  # type: ignore[type-var]
    changed = msgspec.structs.replace(incident, case=msgspec.structs.replace(incident.case, origin=origin))
    assert f"- module: {span}\n" in told([manifest(), changed, closing()])


def test_every_incident_is_told_in_full(tmp_path: Path) -> None:
    text = told([manifest(write_script(tmp_path)), where_trap(), log_of_zero(), raised(), closing()])
    assert len(re.findall("^## step", text, re.MULTILINE)) == 3
    assert "**hidden here: the value was masked, its gradient was not**" in text
    assert "Origin not located: the step could not be replayed" in text


def test_a_clean_run() -> None:
    assert told([manifest(), closing("clean", 0)]) == (
        "# stayfinite: train.py\n\ntrain.py: 58 steps in 4.1 s, nothing found.\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_encoding_of_the_file_is_respected(encoding: str, tmp_path: Path) -> None:
    assert told([manifest(tmp_path), log_of_zero(), closing()], encoding)


@settings(max_examples=150, deadline=None)
@given(incidents())
def test_nothing_from_outside_becomes_markup(incident: Incident) -> None:
    text = told([manifest(), incident, closing()])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    prose, fence = [], ""
    for line in text.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif opened := re.match("(`{3,})(?:text|diff)$", line):
            fence = opened[1]
        else:
            prose.append(line)
    assert not fence, "every fence is closed"
    outside = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", "\n".join(prose))
    assert "<script" not in outside.replace("\\<script", "")
    assert "![x](y)" not in outside
    assert not re.search(r"(?<!\w)@everyone", outside)
