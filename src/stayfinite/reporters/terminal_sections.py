"""What the terminal report says, section by section, each left out where there is nothing to say."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from rich.style import Style
from rich.text import Text

from stayfinite.records.manifest import NOTEBOOK
from stayfinite.records.numbers import is_finite, show
from stayfinite.reporters.document import CauseReport, Excerpt, IncidentReport, Link, Place, Report, Series
from stayfinite.reporters.sparkline import sparkline
from stayfinite.reporters.terminal_cures import shown_causes, tell_experiments, tell_narrowed, tell_remedies
from stayfinite.reporters.terminal_page import Page, ends, safe
from stayfinite.reporters.terminal_source import draw
from stayfinite.reporters.terminal_tensors import tensor_table
from stayfinite.reporters.words import (
    HIDDEN,
    PHASES,
    VERDICTS,
    count_words,
    enumerate_names,
    operation,
    origin_label,
    percent,
    reached_words,
    run_words,
    searched,
    sentence,
    was_there,
)

MOST_EVIDENCE = 4
MOST_LINKS = 6
MOST_SERIES = 3

def tell_run(page: Page, report: Report, folder: str | None) -> None:
    """The whole report: the first incident and every one that stopped the run in full, the others in brief."""
    if not report.incidents and not report.warnings:
        page.put(safe(f"stayfinite: {run_words(report)}"))
        return
    header(page, report)
    if not report.incidents:
        page.put(safe(run_words(report)))
    full = [x for i, x in enumerate(report.incidents) if i == 0 or x.outcome in ("stopped", "raised")]
    for incident in full:
        tell_incident(page, report, incident)
    rest = [x for x in report.incidents if x not in full]
    if rest:
        page.heading(f"{len(rest)} other incident{'s' if len(rest) > 1 else ''}")
        for incident in rest:
            _brief(page, report, incident)
    told = {x.id for x in full}
    _warnings(page, report, told)
    if report.incidents:
        _next(page, report, report.incidents, folder)


def tell_one(page: Page, report: Report, incident: IncidentReport, folder: str | None) -> None:
    """One incident as it happens, with what to type next."""
    header(page, report)
    tell_incident(page, report, incident)
    _next(page, report, [incident], folder)


def tell_incident(page: Page, report: Report, incident: IncidentReport) -> None:
    """One incident: what happened, where, the numbers, the way it took, the curves, the causes, what is not known."""
    style = "bold red" if incident.outcome in ("stopped", "raised") else "bold yellow"
    sign = page.signs.cross if incident.outcome in ("stopped", "raised") else page.signs.notice
    page.blank()
    page.put(Text.assemble((f"{sign} ", style), safe(incident.headline, style)), hang=2)
    state = "green" if incident.held or incident.harmless else "yellow"
    page.put(safe(sentence(incident.consequence), state), indent=2)
    if incident.hold_note:
        page.put(safe(sentence(incident.hold_note)), indent=2)
    page.put(safe(sentence(incident.reproduction)), indent=2)
    if incident.count > 1:
        page.put(safe(f"Seen {incident.count} times, the last in step {incident.last_step}."), indent=2)
    if incident.conclusion:
        page.put(safe(sentence(incident.conclusion), "bold"), indent=2)
    for section in (_source, _facts, _numbers, _chain, _curves, _causes, tell_experiments, tell_narrowed, tell_remedies, _unknown):
        section(page, report, incident)


def header(page: Page, report: Report) -> None:
    """A rule with the name of the script, and of the framework at its end."""
    run = report.run
    left = f"{page.signs.rule * 2} stayfinite {page.signs.bullet} "
    name = safe((run.module and f"-m {run.module}") or run.script)
    right = safe(f" {run.framework} {run.framework_version or ''}".rstrip() + " " if run.framework else "")
    gap = page.width - len(left) - name.cell_len - right.cell_len - 3
    if gap < 2:
        page.put(Text.assemble(left, name))
        return
    tail = Text(page.signs.rule * 2, style="dim")
    page.line(Text.assemble((left, "dim"), name, (f" {page.signs.rule * gap}", "dim"), right, tail))


def _source(page: Page, report: Report, incident: IncidentReport) -> None:
    origin = incident.origin
    if origin is None:
        error = incident.exception
        if error is not None and error.location is not None:
            label = safe(f"raised {error.type}", "bold red")
            _place(page, report, error.location, error.location.excerpt, label, "")
        return
    label = safe(origin_label(origin), "bold red")
    _place(page, report, origin, origin.excerpt, label, f" {page.signs.bullet} {PHASES[origin.phase]}")
    hidden = origin.absorbed_at
    if hidden is not None:
        _place(page, report, hidden, hidden.excerpt, Text(HIDDEN[origin.absorbed], style="bold yellow"), "", style="bold yellow")
    born = origin.born_at
    if born is not None and born.location is not None:
        when = f" {page.signs.bullet} {searched(born.searched_in, born.step)}"
        _place(page, report, born.location, born.location.excerpt, safe(born.how, "bold yellow"), when, style="bold yellow")


def _place(
    page: Page, report: Report, at: Place, excerpt: Excerpt | None, label: Text, where: str, *, style: str = "bold red"
) -> None:
    page.blank()
    function = f" in {at.function}" if at.function not in ("", "<module>") else ""
    if at.line > 0:
        page.put(Text.assemble(path(page, report, at), safe(f"{function}{where}", "dim")), indent=2, hang=2)
    if at.library:
        page.put(safe(f"inside {at.library}", "dim"), indent=4)
    if excerpt is None:
        page.put(label, indent=4)
        return
    draw(page, excerpt, range(at.line, max(at.line, at.end_line) + 1), label, style)
    if not excerpt.marks and not excerpt.first_line <= at.line < excerpt.first_line + len(excerpt.lines):
        page.put(label, indent=6)
    if excerpt.note:
        page.put(safe(f"({excerpt.note})", "dim"), indent=4)


def path(page: Page, report: Report, at: Place) -> Text:
    """``file:line:column`` (column 1-based, as editors count), relative to the working directory if it is below it."""
    whole = os.path.join(report.run.folder, at.file) if report.run.folder else at.file
    shown = _near(whole) if report.run.folder and _exists(whole) else at.file
    column = ""
    if at.column >= 0:
        mark = next((m for m in at.excerpt.marks if m.line == at.line), None) if at.excerpt else None
        exact = mark is not None and at.excerpt is not None and at.excerpt.note is None
        column = f":{(mark.start if exact and mark else at.column) + 1}"
    text = safe(f"{shown}:{at.line}{column}", "cyan")
    if page.color and os.path.isabs(whole):
        text.stylize(Style(link=f"file://{whole}"))
    return text


def _facts(page: Page, report: Report, incident: IncidentReport) -> None:
    origin = incident.origin
    rows: list[tuple[str, str]] = []
    if origin is not None:
        if origin.native_op:
            given = "".join(f", {scalar.name} {show(scalar.value)}" for scalar in origin.scalars)
            if was_there(origin.op):
                rows.append(("first read by", origin.native_op))
            else:
                rows.append(("operation", f"{origin.op} ({origin.native_op}){given}"))
        named = (("module", origin.module), ("parameter", origin.parameter), ("buffer", origin.buffer))
        rows += [(title, name) for title, name in named if name]
        if origin.samples:
            batch = f" of a batch of {incident.batch_size}" if incident.batch_size else ""
            index = f", dataset index {count_words(origin.dataset_indices)}" if origin.dataset_indices else ""
            title = "sample" if len(origin.samples) == 1 else "samples"
            rows.append((title, f"{count_words(origin.samples)}{batch}{index}"))
        if origin.columns:
            rows.append(("column" if len(origin.columns) == 1 else "columns", enumerate_names(origin.columns, 8)))
        if origin.born_at is not None and origin.born_at.location is None:
            rows.append(("made by", origin.born_at.how))
    if incident.limit not in ("", "finite"):
        rows.append(("limit", f"{incident.limit}: {incident.limit_source}"))
    if rows:
        page.blank()
        page.grid([[Text(k, style="dim"), safe(v)] for k, v in rows], right=frozenset({0}))


def _numbers(page: Page, report: Report, incident: IncidentReport) -> None:
    origin = incident.origin
    if origin is not None and was_there(origin.op) and not any(stats.shape for stats in origin.inputs):
        return  # a single number, and the excerpt says which
    if origin is not None and (origin.inputs or origin.output is not None):
        page.heading("the numbers")
        tensor_table(page, origin.inputs, None if was_there(origin.op) else origin.output)


def _chain(page: Page, report: Report, incident: IncidentReport) -> None:
    links = list(incident.chain)
    brought = incident.origin is not None and was_there(incident.origin.op)
    before = incident.bad_before if brought else ()
    if len(links) + len(before) < 2 and not (links and incident.reached):
        return
    page.heading("how it spread")
    rows = [[safe(f"{x.kind} {x.name}"), Text(), safe(x.value)] for x in before[:3]]
    left_out = len(links) - MOST_LINKS
    if left_out > 1:
        half = MOST_LINKS // 2
        middle = [Text(page.signs.dots), Text(), Text(f"{left_out} more operations", style="dim")]
        rows += [*map(_link_row, links[:half]), middle, *map(_link_row, links[-half:])]
    else:
        rows += map(_link_row, links)
    page.grid(rows, indent=4)
    if incident.reached:
        page.put(safe(f"{page.signs.arrow} {reached_words(incident.reached)}", "bold"), indent=4, hang=2)


def _link_row(link: Link) -> list[Text]:
    where = f"{os.path.basename(link.file)}:{link.line}" if link.line > 0 else ""
    return [safe(operation(link.op, link.phase)), safe(where, "cyan"), safe(link.value)]


def _curves(page: Page, report: Report, incident: IncidentReport) -> None:
    def rank(series: Series) -> tuple[bool, bool, bool]:
        return series.series != incident.series, series.series != "loss", "grad" not in series.series

    chosen = sorted((series for series in incident.windows if len(series.values) > 1), key=rank)[:MOST_SERIES]
    if not chosen:
        return
    room = max(8, min(40, page.width - 44))
    last = max(series.steps[-1] for series in chosen)
    first = min(series.steps[-room:][0] for series in chosen)
    page.heading(f"steps {first} to {last}")
    rows = []
    for series in chosen:
        late = sum(1 for step in chosen[0].steps if step > series.steps[-1])
        values = series.values[-max(1, room - late) :]
        curve = Text(sparkline(values, page.signs.spark, page.signs.bad) + " " * min(late, room))
        curve.highlight_regex(re.escape(page.signs.bad), "bold red")
        rows.append([safe(series.series.replace("_", " ")), curve, ends(page, values)])
    page.grid(rows, indent=4)


def _causes(page: Page, report: Report, incident: IncidentReport) -> None:
    shown = shown_causes(incident)
    if not shown:
        return
    page.heading("why" if len(shown) == 1 else "why, most likely first")
    for number, cause in enumerate(shown):
        _cause(page, report, incident, cause, best=number == 0)
    left_out = len(incident.causes) - len(shown)
    if left_out:
        page.put(Text(f"{left_out} less likely cause{'s' if left_out > 1 else ''} not shown", style="dim"), indent=11)


def _cause(page: Page, report: Report, incident: IncidentReport, cause: CauseReport, *, best: bool) -> None:
    known = cause.verdict_reason == incident.replay.not_tested  # said above already
    known |= bool(cause.experiments) and cause.verdict in ("confirmed", "refuted")  # said below, where the experiments are
    reason = "" if known else cause.verdict_reason
    verdict = VERDICTS[cause.verdict] + (f": {reason}" if reason else "")
    title = "" if cause.title.lower().replace(" ", "-") == cause.cause else f": {cause.title}"
    said = "" if cause.cause == "unknown" or _untested(incident) is not None else f" ({verdict})"
    share = Text(f"{percent(cause.probability):>6}  ", style="bold" if best else "")
    name = safe(cause.cause, "bold magenta" if best else "magenta")
    page.put(Text.assemble(share, name, safe(title), safe(said, "dim")), indent=3, hang=8)
    if cause.location is not None and cause.location.excerpt is not None:
        where = path(page, report, cause.location)
        page.put(Text.assemble(("look at ", "dim"), where, safe(_quote(cause.location), "dim")), indent=11, hang=2)
    evidence = [x for x in cause.evidence if not cause.experiments or x.fact != "experiment"]  # said above and below
    told = evidence[: MOST_EVIDENCE if best else 1]
    for item in told:
        bits = (f"{item.bits:+.1f} bits  ", "green" if item.bits > 0 else "yellow")
        page.put(Text.assemble(bits, safe(item.claim)), indent=11, hang=11)
    if best and len(evidence) > len(told):
        page.put(Text(f"and {len(evidence) - len(told)} more", style="dim"), indent=11)


def _untested(incident: IncidentReport) -> str | None:
    """Why no cause at all was tested, where one reason holds for each of them; it is said once, under "not known"."""
    verdicts = {(cause.verdict, cause.verdict_reason) for cause in incident.causes}
    if len(verdicts) != 1:
        return None
    verdict, reason = verdicts.pop()
    return reason if verdict == "not_tested" else None


def _quote(at: Place) -> str:
    return f"  {at.code.strip()}" if at.code.strip() else ""


def _unknown(page: Page, report: Report, incident: IncidentReport) -> None:
    notes = [f"the tracer could not look into {thing}" for thing in incident.unseen]
    if incident.origin is None and (incident.exception is not None or not is_finite(incident.value)):
        notes.insert(0, f"where it was born: {incident.origin_reason}")
    untested = _untested(incident)
    if untested is not None:
        reason = "" if untested == incident.replay.not_tested else untested  # said above already
        notes.append(f"no cause was tested by experiment: {reason or 'the order rests on evidence alone'}")
    if not incident.causes:
        notes.append("why it happened: no cause was ranked")
    if not notes:
        return
    page.heading("not known")
    for note in notes:
        page.put(safe(f"{page.signs.bullet} {note}"), indent=4, hang=2)


def _brief(page: Page, report: Report, incident: IncidentReport) -> None:
    times = f", {incident.count} times until step {incident.last_step}" if incident.count > 1 else ""
    page.put(Text.assemble((f"{page.signs.notice} ", "yellow"), safe(incident.headline + times)), indent=4, hang=2)
    parts: list[Text] = []
    if incident.origin is not None and incident.origin.line > 0:
        parts.append(path(page, report, incident.origin))
    parts += [safe(f"{cause.cause} {percent(cause.probability)}", "magenta") for cause in incident.causes[:1]]
    if parts:
        page.put(Text(f" {page.signs.bullet} ").join(parts), indent=6, hang=2)


def _warnings(page: Page, report: Report, told: set[str]) -> None:
    others = [x for x in report.warnings if x.incident not in told or x.id == "investigation-unfinished"]
    if others:
        page.heading("also")
        for x in others:
            said = f"{x.message}{': ' + x.reason if x.reason else ''}"
            page.put(safe(f"{page.signs.bullet} {said}"), indent=4, hang=2)


def _next(page: Page, report: Report, incidents: Sequence[IncidentReport], folder: str | None) -> None:
    rows: list[tuple[str, str]] = []
    seen = dict.fromkeys(x.causes[0].cause for x in incidents if x.causes and x.causes[0].cause != "unknown")
    said = "what this cause is and what cures it"
    rows += [(f"stayfinite explain {shlex.quote(cause)}", said) for cause in list(seen)[:2]]
    if folder:
        place = shlex.quote(_near(folder))
        cures = {y.applicability for x in incidents for y in x.remedies if y.diff and y.verdict == "verified"}
        if "safe" in cures:
            rows.append((f"stayfinite fix --incident {place}", "applies the verified cure; --diff shows it"))
        elif cures:
            rows.append((f"stayfinite fix --unsafe --incident {place}", "applies the verified cure, which computes something else"))
        if report.run.script != NOTEBOOK:
            rows.append((f"stayfinite replay {place}", "the step again, in a fresh process"))
        rows.append((f"stayfinite report {place}", "this report again; --json and --markdown write files"))
    if not rows:
        return
    page.heading("next")
    table = [[safe(command), safe(said, "dim")] for command, said in rows]
    if page.fits(table, indent=4):
        page.grid(table, indent=4)
    else:
        for command, said in rows:
            page.line(Text.assemble("    ", safe(command)))
            page.put(safe(said, "dim"), indent=6)


def _near(path: str) -> str:
    """`path` from the working directory, if it lies below it; else as it is."""
    try:
        inside = os.path.relpath(path)
    except (OSError, ValueError):  # the directory is gone; another drive
        return path
    return path if inside.startswith(os.pardir) else inside


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # a NUL in it
        return False
