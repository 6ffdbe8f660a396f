"""What was tested and what cures it, on a terminal: the experiments of the likeliest causes, then the remedies."""

from __future__ import annotations

import re

from rich.text import Text

from stayfinite.records.diagnosis import Experiment, Judged
from stayfinite.reporters.document import CauseReport, IncidentReport, RemedyReport, Report, TrialReport
from stayfinite.reporters.sparkline import beside, sparkline
from stayfinite.reporters.terminal_page import Page, ends, safe
from stayfinite.reporters.words import APPLICABLE, JUDGED, experiment_words, sentence

MOST_CAUSES = 3
LEAST_PROBABILITY = 0.01
"""Less probable causes are counted, not listed."""
MOST_EXPERIMENTS = 2
"""Of the best cause; the others show the one that decided."""
MOST_REMEDIES = 5
MOST_LINES = 16
"""Of a diff; the report has the rest."""

_STYLE: dict[Judged, str] = {"verified": "green", "refused": "yellow", "failed": "dim", "inconclusive": "dim", "not_tested": "dim"}


def shown_causes(incident: IncidentReport) -> list[CauseReport]:
    """The causes a person is told."""
    likely = [x for x in incident.causes if x.probability >= LEAST_PROBABILITY]
    return (likely or list(incident.causes))[:MOST_CAUSES]


def tell_experiments(page: Page, report: Report, incident: IncidentReport) -> None:
    """One line for each experiment that decided something: with the change, without it, with a placebo."""
    told = [
        (cause, x)
        for number, cause in enumerate(shown_causes(incident))
        for x in _decisive(cause.experiments)[: 1 if number else MOST_EXPERIMENTS]
    ]
    if not told:
        return
    took = f" {page.signs.bullet} {incident.replays} replays, {incident.tested_seconds:.1f} s in all" if incident.replays else ""
    page.heading(f"tested{took}")
    several = len({cause.cause for cause, _ in told}) > 1
    rows = [_experiment(cause, x, several) for cause, x in told]
    head = [Text(title, style="dim") for title in ("with it", "without", "placebo", "")]
    fixed = sum(max(len(row[i].plain) for row in (head, *rows)) + 2 for i in range(3))
    if 4 + fixed <= page.width // 2:
        page.grid([head, *rows], indent=4)
        return
    for with_it, without, placebo, change in rows:
        page.put(change, indent=4, hang=2)
        page.put(Text.assemble(with_it, " with it, ", without, " without, placebo: ", placebo), indent=6, hang=2)


def _decisive(experiments: tuple[Experiment, ...]) -> list[Experiment]:
    """Those that were performed, the ones that passed first; what could not be performed only where nothing was."""
    done = [x for x in experiments if x.outcome != "not performed"]
    return sorted(done, key=lambda x: x.outcome != "finite" or x.placebo in ("", "finite")) or list(experiments[:1])


def _experiment(cause: CauseReport, x: Experiment, several: bool) -> list[Text]:
    outcome = safe(x.outcome, "green" if x.outcome == "finite" else "")
    name = safe(f"{cause.cause}: " if several else "", "magenta")
    placebo = f"; placebo: {x.placebo_change}" if x.placebo_change else ""
    said = Text.assemble(name, safe(x.change), safe(f"{placebo} ({experiment_words(x)})", "dim"))
    return [outcome, safe(x.control or "-"), safe(x.placebo or "-"), said]


def tell_narrowed(page: Page, report: Report, incident: IncidentReport) -> None:
    """Where no cause was confirmed: what the step still fails with, and what that says."""
    if not incident.narrowed:
        return
    page.heading("narrowed down")
    for x in incident.narrowed:
        outcome = "passes" if x.outcome == "finite" else "fails"
        said = Text.assemble(safe(f"with {x.change} it {outcome}"), safe(f": {x.note}", "dim"))
        page.put(said, indent=4, hang=2)


def tell_remedies(page: Page, report: Report, incident: IncidentReport) -> None:
    """Remedies in the order of the report, a verified one in full, the others in a line each: a refused one says why."""
    if not incident.remedies:
        return
    remedies = incident.remedies
    page.heading("cure" if len(remedies) == 1 else "cures")
    shown = list(remedies[:MOST_REMEDIES])
    refused = next((remedy for remedy in remedies[MOST_REMEDIES:] if remedy.verdict == "refused"), None)
    if refused is not None and all(remedy.verdict != "refused" for remedy in shown):
        shown[-1] = refused  # what only hides the failure is what people would try next
    for number, remedy in enumerate(shown):
        if number == 1 and remedies[0].diff and remedies[0].verdict != "refused":
            page.blank()
        _remedy(page, incident, remedy, full=number == 0 and remedy.verdict != "refused")
    left_out = len(remedies) - MOST_REMEDIES
    if left_out > 0:
        page.put(Text(f"{left_out} more, not shown", style="dim"), indent=6)


def _remedy(page: Page, incident: IncidentReport, remedy: RemedyReport, *, full: bool) -> None:
    signs = page.signs
    style = _STYLE[remedy.verdict]
    sign = {"verified": signs.check, "refused": signs.cross, "failed": signs.cross}.get(remedy.verdict, signs.bullet)
    name = Text.assemble((f"{sign} ", style), safe(remedy.remedy, "bold magenta" if full else "magenta"), safe(f": {remedy.title}"))
    judged = f" ({JUDGED[remedy.verdict]}"
    why = "" if remedy.verdict == "verified" or not remedy.reason else f": {remedy.reason}"
    judged += f", {APPLICABLE[remedy.applicability]})" if remedy.verdict == "verified" else f"{why})"
    page.put(Text.assemble(name, safe(judged, style)), indent=4, hang=2)
    if not full:
        return
    trial = remedy.trial
    if remedy.verdict == "verified" and remedy.reason and not remedy.comparison:
        page.put(safe(sentence(remedy.reason)), indent=6)
    if remedy.comparison and not (trial is not None and trial.status == "not_run" and trial.note in remedy.reason):
        page.put(safe(sentence(remedy.comparison)), indent=6)
    if trial is not None:
        _curves(page, incident, trial)
    if remedy.cost:
        page.put(Text.assemble(("cost  ", "dim"), safe(remedy.cost)), indent=6, hang=6)
    if remedy.diff:
        page.blank()
        _diff(page, remedy.diff)


def _curves(page: Page, incident: IncidentReport, trial: TrialReport) -> None:
    """The losses with the change above those without it: the same steps stand above each other, to the same scale."""
    window = next((series for series in incident.windows if series.series == "loss"), None)
    pair = beside(trial, window, max(8, min(40, page.width - 44))) if window is not None else None
    if pair is None or window is None:
        return
    rows, whole = [], {"with it": trial.losses, "without it": window.values}
    for title, values, other in (("with it", *pair), ("without it", *pair[::-1])):
        curve = Text(sparkline(values, page.signs.spark, page.signs.bad, also=other))
        curve.highlight_regex(re.escape(page.signs.bad), "bold red")
        rows.append([Text(title, style="dim"), curve, ends(page, whole[title])])
    page.grid(rows, indent=6)


def _diff(page: Page, diff: str) -> None:
    """A unified diff in the colours people know. What is changed is there in full, what is round it is cut where it is too long."""
    lines = diff.rstrip().splitlines()
    room = page.width - 6
    for line in lines[:MOST_LINES]:
        text = safe(line.expandtabs(4))
        if page.color:
            text.stylize(_colour(line))
        if text.cell_len > room and line.startswith(("+", "-")):
            page.put(text, indent=6, hang=4, widest=page.width)
            continue
        if text.cell_len > room:
            text.truncate(room - len(page.signs.dots))
            text.append(page.signs.dots)
        page.line(Text.assemble(" " * 6, text))
    if len(lines) > MOST_LINES:
        page.put(Text(f"{page.signs.dots} {len(lines) - MOST_LINES} more lines", style="dim"), indent=6)


def _colour(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
