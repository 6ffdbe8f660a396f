"""The report as Markdown, for an issue, a pull request or a lab notebook. Every incident is told in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TextIO

from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats
from stayfinite.reporters.document import (
    CauseReport,
    Excerpt,
    IncidentReport,
    Link,
    OriginReport,
    Place,
    RemedyReport,
    Report,
    TrialReport,
)
from stayfinite.reporters.signs import UNICODE
from stayfinite.reporters.sparkline import beside, sparkline
from stayfinite.reporters.words import (
    APPLICABLE,
    HIDDEN,
    JUDGED,
    PHASES,
    VERDICTS,
    count_words,
    culprit,
    enumerate_names,
    operation,
    origin_label,
    percent,
    printable,
    reached_words,
    run_words,
    searched,
    sentence,
    shape,
    was_there,
)

SUFFIX = ".md"
CURVE = 40
"""Signs of a curve."""


def render(report: Report, out: TextIO) -> None:
    """Write `report` to `out` as GitHub-flavoured Markdown.

    Text from the run stands in code spans, fences or with its special characters escaped, so that it cannot become
    markup. A character that the encoding of `out` cannot carry is written as its escape sequence.
    """
    run = report.run
    lines = [f"# stayfinite: {_escaped(run.module or run.script)}", ""]
    if report.incidents:
        framework = f" {run.framework} {run.framework_version or ''}".rstrip() + "," if run.framework else ""
        ended = "" if run.exit_code is None else f", exit code {run.exit_code}"
        told_by = f"{run.steps} steps{ended};{framework} stayfinite {report.version}"
        lines += [_escaped(f"Status: {report.status}; {told_by}."), ""]
    else:
        lines += [_escaped(f"{run_words(report)}."), ""]
    for incident in report.incidents:
        lines += _incident(incident)
    told = {incident.id for incident in report.incidents}
    others = [x for x in report.warnings if x.incident not in told or x.id == "investigation-unfinished"]
    if others:
        notes = [x.message + (f": {x.reason}" if x.reason else "") for x in others]
        lines += ["## Also", "", *(f"- {_escaped(note)}" for note in notes), ""]
    text = "\n".join(lines).rstrip() + "\n"
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _incident(incident: IncidentReport) -> list[str]:
    lines = [f"## {_escaped(incident.headline)}", ""]
    said = [incident.consequence, incident.hold_note, incident.reproduction]
    if incident.count > 1:
        said.append(f"seen {incident.count} times, the last in step {incident.last_step}")
    said.append(incident.conclusion)
    lines += [_escaped(" ".join(sentence(text) for text in said if text)), ""]
    origin, error = incident.origin, incident.exception
    if origin is not None:
        lines += _origin(origin, incident)
    else:
        lines += [_escaped(f"Origin not located: {incident.origin_reason}."), ""]
        if error is not None and error.location is not None:
            lines += _place(error.location, error.location.excerpt, f"raised {error.type}")
    if incident.chain:
        lines += ["### How it spread", "", *_table(("operation", "line", "result"), map(_link, incident.chain)), ""]
    if incident.reached:
        lines += [_escaped(f"It reached {reached_words(incident.reached)}."), ""]
    if incident.causes:
        lines += ["### Why", ""]
        for cause in incident.causes:
            lines += _cause(cause)
        lines.append("")
    lines += _tested(incident)
    if incident.remedies:
        lines += ["### Cures", ""]
        for remedy in sorted(incident.remedies, key=lambda one: tuple(JUDGED).index(one.verdict)):
            lines += _remedy(remedy, incident)
    if incident.unseen:
        notes = [f"- the tracer could not look into {_escaped(thing)}" for thing in incident.unseen]
        lines += ["### Not known", "", *notes, ""]
    return lines


def _origin(origin: OriginReport, incident: IncidentReport) -> list[str]:
    lines = _place(origin, origin.excerpt, origin_label(origin), PHASES[origin.phase])
    if origin.absorbed_at is not None:
        lines += _place(origin.absorbed_at, origin.absorbed_at.excerpt, HIDDEN[origin.absorbed])
    born = origin.born_at
    if born is not None and born.location is not None:
        lines += _place(born.location, born.location.excerpt, born.how, searched(born.searched_in, born.step))
    by = "first read by" if was_there(origin.op) else "operation"
    facts = [(by, origin.native_op), ("module", origin.module), ("parameter", origin.parameter)]
    facts += [("buffer", origin.buffer), ("columns", enumerate_names(origin.columns, 8))]
    if origin.samples:
        of = f" of a batch of {incident.batch_size}" if incident.batch_size else ""
        facts.append(("samples", count_words(origin.samples) + of))
    if origin.dataset_indices:
        facts.append(("dataset indices", count_words(origin.dataset_indices)))
    lines += [f"- {title}: {_code(value)}" for title, value in facts if value]
    made = () if origin.output is None or was_there(origin.op) else (origin.output,)
    tensors = [*origin.inputs, *made]
    if tensors:
        titles = ("tensor", "shape", "dtype", "nan", "+inf", "-inf", "zeros", "min", "max", "element")
        lines += ["", *_table(titles, [_tensor(stats) for stats in tensors])]
    return [*lines, ""]


def _tensor(stats: TensorStats) -> tuple[str, ...]:
    counts = (stats.nan, stats.posinf, stats.neginf, stats.zero)
    element = culprit(stats)
    return (
        _code(stats.name or "result"), shape(stats.shape), _escaped(stats.dtype), *map(str, counts), show(stats.min),
        show(stats.max), _code(element) if element else "",
    )


def _place(at: Place, excerpt: Excerpt | None, label: str, phase: str = "") -> list[str]:
    function = f" in {_code(at.function)}" if at.function not in ("", "<module>") else ""
    known = f"{_code(f'{at.file}:{at.line}')}{function}" if at.line > 0 else "Place unknown"
    lines = [f"{known}{f' ({phase})' if phase else ''}: **{_escaped(label)}**", ""]
    if at.library:
        lines += [f"inside {_code(at.library)}", ""]
    if excerpt is not None:
        numbers = range(excerpt.first_line, excerpt.first_line + len(excerpt.lines))
        guilty = range(at.line, max(at.line, at.end_line) + 1)
        width = len(str(numbers[-1]))
        body = [
            f"{'>' if n in guilty else ' '} {n:>{width}} | {printable(text.expandtabs(4))}".rstrip()
            for n, text in zip(numbers, excerpt.lines, strict=True)
        ]
        lines += ["```text", *body, "```", ""]  # no line of the body can close the fence: all begin with a number
        if excerpt.note:
            lines += [f"({_escaped(excerpt.note)})", ""]
    return lines


def _cause(cause: CauseReport) -> list[str]:
    verdict = VERDICTS[cause.verdict] + (f": {cause.verdict_reason}" if cause.verdict_reason else "")
    said = "" if cause.cause == "unknown" else f" ({_escaped(verdict)})"
    lines = [f"- **{percent(cause.probability)} {_code(cause.cause)}**{said}: {_escaped(cause.title)}"]
    if cause.location is not None:
        lines.append(f"  - look at {_code(f'{cause.location.file}:{cause.location.line}')}")
    return lines + [f"  - {item.bits:+.1f} bits: {_escaped(item.claim)}" for item in cause.evidence]


def _tested(incident: IncidentReport) -> list[str]:
    """A table of all experiments."""
    rows = [
        (_code(cause.cause), *map(_escaped, (x.change, x.outcome, x.control, f"{x.placebo}{x.placebo_change and f': {x.placebo_change}'}")),
         str(x.replays), f"{x.seconds:.1f}", _escaped(x.note))
        for cause in incident.causes for x in cause.experiments
    ]
    narrowed = [
        f"- With {_escaped(x.change)} it {'passes' if x.outcome == 'finite' else 'fails'}: {_escaped(x.note)}" for x in incident.narrowed
    ]
    narrowed = ["### Narrowed down", "", *narrowed, ""] if narrowed else []
    if not rows:
        return narrowed
    titles = ("cause", "change", "with it", "without it", "with a placebo", "replays", "seconds", "note")
    return ["### Tested", "", *_table(titles, rows), "", *narrowed]


def _remedy(remedy: RemedyReport, incident: IncidentReport) -> list[str]:
    reason = f": {remedy.reason}" if remedy.reason else ""
    said = _escaped(f"{JUDGED[remedy.verdict]}{reason}")
    lines = [f"**{_code(remedy.remedy)}** ({said}; {APPLICABLE[remedy.applicability]}): {_escaped(remedy.title)}", ""]
    if remedy.comparison:
        lines += [_escaped(sentence(remedy.comparison)), ""]
    if remedy.trial is not None:
        lines += _curves(remedy.trial, incident)
    if remedy.cost:
        lines += [_escaped(f"Cost: {remedy.cost}"), ""]
    if remedy.diff:
        lines += fenced(remedy.diff)
    return lines


def _curves(trial: TrialReport, incident: IncidentReport) -> list[str]:
    """The losses with the change above those without it, to one scale."""
    window = next((series for series in incident.windows if series.series == "loss"), None)
    pair = beside(trial, window, CURVE) if window is not None else None
    if pair is None or window is None:
        return []
    drawn = [sparkline(a, UNICODE.spark, UNICODE.bad, also=b) for a, b in (pair, pair[::-1])]
    ends = [f"{show(values[0])} to {show(values[-1])}" for values in (trial.losses, window.values)]
    return ["```text", f"with it     {drawn[0]:<{CURVE}}  {ends[0]}", f"without it  {drawn[1]:<{CURVE}}  {ends[1]}", "```", ""]


def fenced(diff: str) -> list[str]:
    """A diff in a fence that no line of it can close."""
    lines = [printable(line.expandtabs(4)) for line in diff.splitlines()]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}diff", *lines, fence, ""]


def _link(link: Link) -> tuple[str, str, str]:
    return _code(operation(link.op, link.phase)), _code(f"{link.file}:{link.line}"), _escaped(link.value)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(titles), _row(["---"] * len(titles)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """`text` without line breaks, its Markdown and HTML signs taken literally, and no mention of anybody."""
    escaped = re.sub(r"([\\`*_\[\]{}<>#|~&])", r"\\\1", printable(text))
    return re.sub(r"(?<!\w)@(?=\w)", "@<!-- -->", escaped)


def _code(text: str | None) -> str:
    """`text` as a code span that also holds in a table."""
    shown = printable(text or "").replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    padding = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{ticks}{padding}{shown}{padding}{ticks}"
