"""The sentences of a report: what was seen, what became of the step, what a replay said, what a tensor holds."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from stayfinite.catalog.ops import op_kind
from stayfinite.records.diagnosis import Applicability, Diagnosis, Experiment, Judged, Trial
from stayfinite.records.incident import Absorbed, Incident, Outcome, ReplaySummary, Symptom
from stayfinite.records.numbers import is_finite, show, to_float
from stayfinite.records.survey import SearchedIn
from stayfinite.records.tensor import TensorStats
from stayfinite.reporters.document import OriginReport, Reached, Report

VERDICTS = {
    "confirmed": "confirmed by experiment",
    "refuted": "refuted by experiment",
    "inconclusive": "tested, inconclusive",
    "not_reproduced": "not reproduced",
    "not_tested": "not tested",
}
"""What a verdict is called in prose."""

JUDGED: dict[Judged, str] = {
    "verified": "verified",
    "refused": "refused",
    "failed": "does not help",
    "inconclusive": "inconclusive",
    "not_tested": "not tried",
}
"""What the verdict on a remedy is called in prose."""

APPLICABLE: dict[Applicability, str] = {
    "safe": "safe to apply", "unsafe": "changes what is computed", "display-only": "to be adapted by hand",
}
"""What applying a remedy would mean."""

PHASES = {
    "data": "data",
    "load": "state before the step",
    "forward": "forward pass",
    "loss": "loss",
    "backward": "backward pass",
    "optimizer": "optimizer step",
}
"""What the part of a step is called in prose."""

HIDDEN: dict[Absorbed, str] = {
    "value": "hidden here: the value was masked, its gradient was not",
    "gradient": "a gradient of exactly 0 came from here, and 0 times an infinite slope is NaN",
}
"""What is said of the line that hid an infinity which the backward pass brought back."""

_SEARCHED: dict[SearchedIn, str] = {
    "data set": "made while the data set was read",
    "setup": "made before the first step",
    "between steps": "made between the steps",
    "evaluation": "made in an evaluation",
    "step": "made in an earlier step",
    "source": "made before the step, as the source has it",
}

_BECAME = {
    "nonfinite-loss": ("the loss", "the loss", "became"),
    "nonfinite-evaluation": ("what the model gave in evaluation", "what the model gave in evaluation", "was"),
    "nonfinite-gradient": ("a gradient", "the gradient", "became"),
    "nonfinite-parameter": ("a parameter", "the parameter", "became"),
    "nonfinite-buffer": ("a buffer", "the buffer", "became"),
    "nonfinite-moment": ("an optimizer moment", "the optimizer moment", "became"),
    "frozen-moment": ("an optimizer moment", "the optimizer moment", "was left at"),
    "nonfinite-learning-rate": ("the learning rate", "the learning rate", "became"),
    "divergence": ("the loss", "the loss", "diverged to"),
    "loss-spike": ("the loss", "the loss", "jumped to"),
    "gradient-spike": ("the gradient norm", "the gradient norm", "jumped to"),
    "gradient-explosion": ("the gradient norm", "the gradient norm", "exploded to"),
    "plateau": ("the loss", "the loss", "does not fall: it is"),
    "dead-gradient": ("the gradient", "the gradient", "is exactly"),
}
"""Symptom -> subject without a name, subject before a name, verb before the value."""


def searched(where: SearchedIn, step: int | None) -> str:
    """When a value that was bad before the step was made."""
    return _SEARCHED[where] + (f", after step {step}" if step is not None else "")


def headline(symptom: Symptom, exception: tuple[str, str] | None = None) -> str:
    """At which step what was seen, in one line. `exception`: type name and message, if one was raised."""
    where = f"step {symptom.step}"
    if exception is not None:
        kind, message = exception
        first = message.strip().partition("\n")[0]
        return f"{where} raised {kind}: {first}" if first else f"{where} raised {kind}"
    value = show(symptom.value)
    if symptom.detector in _BECAME:
        bare, named, verb = _BECAME[symptom.detector]
        subject = bare if not symptom.names else f"{named} of {enumerate_names(symptom.names)}"
        if symptom.detector in ("nonfinite-parameter", "nonfinite-buffer", "frozen-moment", "nonfinite-moment") and symptom.names:
            subject = f"{named if len(symptom.names) == 1 else named + 's'} {enumerate_names(symptom.names)}"
        if bare == named:
            subject = bare
        return f"{where}: {subject} {verb} {value}{_limit(symptom)}"
    names = f" ({enumerate_names(symptom.names)})" if symptom.names else ""
    return f"{where}: {symptom.detector.replace('-', ' ')}: {symptom.series} is {value}{names}{_limit(symptom)}"


def _limit(symptom: Symptom) -> str:
    return "" if symptom.limit in ("", "finite") else f"; expected {symptom.limit}"


def outcome(incident: Incident) -> Outcome:
    """What became of the run: as recorded, else read from what else is known."""
    if incident.outcome:
        return incident.outcome
    if incident.stopped:
        return "stopped"
    if incident.case.exception is not None:
        return "raised"
    if incident.held and not incident.harmless and not is_finite(incident.case.symptom.value):
        return "skipped"
    return "continued"


def consequence(incident: Incident) -> str:
    """What became of the step, of the state and of the run, in one sentence."""
    step = incident.case.symptom.step
    before = f"those after step {step - 1}" if step > 0 else "those from before the first step"
    state = f"weights and optimizer state are {before}"
    ended = outcome(incident)
    if ended == "cured":
        return "the step was repaired and taken; training went on"
    if ended == "recovered":
        return "the step was not left as it was: see below what was done; training went on"
    if incident.case.symptom.detector == "nonfinite-evaluation":
        return "an evaluation writes no weights: training went on"
    if incident.harmless:
        return "no harm was done: weights and optimizer state hold no non-finite value" + (
            "" if ended == "stopped" else "; training went on"
        )
    if ended == "skipped":
        return f"the step was skipped: {state}; training went on"
    if incident.held:
        passed_on = "the exception was passed on; " if ended == "raised" else ""
        return f"{passed_on}the step was held: {state}" + ("; training went on" if ended == "continued" else "")
    if ended == "raised":
        return "the exception was passed on; the step was not held"
    if is_finite(incident.case.symptom.value):
        return "the run was stopped" if ended == "stopped" else "nothing was held; training went on"
    return "the step was not held: weights or optimizer state may hold non-finite values" + (
        "" if ended == "stopped" else "; training went on"
    )


def conclusion(diagnosis: Diagnosis) -> str:
    """What experiments have proved, in one sentence: the cause and the cure; empty if they proved neither."""
    proved = next((one for one in diagnosis.hypotheses if one.verdict == "confirmed"), None)
    cure = next((one for one in diagnosis.remedies if one.verdict == "verified"), None)
    parts = []
    if proved is not None:
        at = f" at {proved.location.file}:{proved.location.line}" if proved.location.line > 0 else ""
        parts.append(f"confirmed by experiment: {proved.cause}{at}")
    if cure is not None:
        parts.append(f"verified cure: {cure.title[:1].lower()}{cure.title[1:]}".rstrip("."))
    return "; ".join(parts)


def comparison(trial: Trial, incident: Incident) -> str:
    """The script with a remedy beside the run that failed, in one sentence."""
    symptom = incident.case.symptom
    raised = incident.case.exception
    without = f"without it {_failure(symptom.detector, symptom.step, raised.type if raised else show(symptom.value))}"
    if trial.status == "not_run":
        return f"the script was not run with it: {trial.note}" if trial.note else "the script was not run with it"
    if trial.status == "broken":
        return f"with it the script breaks: {trial.note}" if trial.note else "with it the script breaks"
    if trial.status == "failed":
        return f"with it {_failure(trial.symptom, trial.step)}; {without}"
    went = f"with it {_way(trial)}"
    if trial.status == "ended":
        return f"{went}, and did not come to step {symptom.step}" + (f" ({trial.note})" if trial.note else "")
    seen = f", with {trial.symptom.replace('-', ' ')} at step {trial.step}" if trial.symptom else ""
    return f"{went}{seen}; {without}"


def _way(trial: Trial) -> str:
    """``"the loss went from 2.3 to 0.31 in 60 steps"``."""
    finite = [to_float(loss) for loss in trial.losses if is_finite(loss)]
    steps = f"{trial.steps} step{'s' * (trial.steps != 1)}"
    if len(finite) < 2:
        return f"it took {steps}"
    return f"the loss went from {finite[0]:.3g} to {finite[-1]:.3g} in {steps}"


def _failure(detector: str, step: int, value: str = "") -> str:
    """``"the loss was nan at step 57"``."""
    if detector == "numeric-exception":
        return f"it raised {value or 'an exception'} at step {step}"
    if detector.startswith("nonfinite-") and detector in _BECAME:
        return f"{_BECAME[detector][0]} was {value or 'not finite'} at step {step}"
    return f"{detector.replace('-', ' ')} at step {step}"


def experiment_words(x: Experiment) -> str:
    """What an experiment took, and why it does not say more: ``"4 replays, 0.3 s"``."""
    if x.outcome == "not performed":
        return x.note
    times = f"{x.replays} replay{'s' * (x.replays != 1)}, " if x.replays else ""
    return f"{times}{x.seconds:.1f} s" + (f"; {x.note}" if x.note else "")


def reproduction(replay: ReplaySummary, reproduced: bool, *, surveyed: bool = False) -> str:
    """What the control replays said, in one sentence. `surveyed`: a step was repeated to see why what stays finite goes nowhere."""
    times = {1: "once", 2: "twice"}.get(replay.attempts, f"{replay.attempts} times")
    if reproduced:
        return f"replayed {times}, and it happened again" if replay.attempts else "it happened again when replayed"
    if replay.not_tested:
        return f"not replayed: {replay.not_tested}"
    if not replay.attempts:
        return "a step was repeated, and shows why" if surveyed else "not replayed"
    if not replay.same_inputs:
        return f"replayed {times} with other inputs than in the run, so the replay says nothing"
    same = "the same inputs, state and random numbers"
    return f"not reproduced: replayed {times} with {same}, and it did not happen again"


def nonfinite(stats: TensorStats) -> str:
    """What is not finite in a tensor: ``"nan in 3 of 320 elements, -inf in 1"``; its range if all of it is finite."""
    parts = [(word, n) for word, n in (("nan", stats.nan), ("+inf", stats.posinf), ("-inf", stats.neginf)) if n]
    size = stats.size
    if not parts:
        return "finite" if size == 0 or not is_finite(stats.min) else f"finite, {show(stats.min)} to {show(stats.max)}"
    if size == 1 and len(parts) == 1:
        return parts[0][0]
    texts = [f"{word} in {'all' if n == size else n}" for word, n in parts]
    texts[0] += f" {size} elements" if parts[0][1] == size else f" of {size} elements"
    return ", ".join(texts)


def culprit(stats: TensorStats) -> str | None:
    """The element that did it, as one would index it: ``"p[17, 4] = 0"``; ``None`` if it is not known."""
    if stats.culprit is None:
        return None
    index = f"[{', '.join(map(str, stats.culprit_index))}]" if stats.culprit_index else ""
    name = stats.name or "result"
    return f"{f'({name})' if index and _is_compound(name) else name}{index} = {show(stats.culprit)}"


@lru_cache(maxsize=512)
def _is_compound(expression: str) -> bool:
    """True for ``a - b``: an index behind it would be taken for one of `b`."""
    try:
        node = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Tuple, ast.List))


def was_there(op: str) -> bool:
    """True if `op` is the kind of an origin that was there before the step computed anything, not of an operator."""
    return op_kind(op).has("leaf")


def operation(op: str, phase: str) -> str:
    """An operator as a sentence names it; in the backward pass as the derivative of the forward one."""
    return f"backward of {op}" if phase == "backward" and "backward" not in op else op


def origin_label(origin: OriginReport) -> str:
    """What the origin did, in one phrase: ``"log: -inf in 1 of 320 elements, from p[17, 4] = 0"``.

    Of what was bad before the step began: ``"input x: nan in 1 of 128 elements, x[3, 5] = nan"``.
    """
    if was_there(origin.op) and origin.inputs:
        bad = origin.inputs[0]
        if not bad.shape:
            return f"the learning rate is {nonfinite(bad)}" if origin.op == "learning_rate" else f"{bad.name} is {nonfinite(bad)}"
        element = culprit(bad)
        return f"{origin.op} {bad.name}: {nonfinite(bad)}" + (f", {element}" if element else "")
    said = operation(origin.op, origin.phase)
    if origin.output is not None:
        said += f": {nonfinite(origin.output)}"
    causes = [text for stats in origin.inputs if (text := culprit(stats))]
    return said + (f", from {enumerate_names(causes)}" if causes else "")


def reached_words(places: Sequence[Reached]) -> str:
    """``"the loss, the gradients of a, b and 3 more"``: where the bad value ended up."""
    names: dict[str, list[str]] = {}
    for place in places:
        names.setdefault(place.kind, []).append(place.name)
    said = []
    for kind, named in names.items():
        if kind in ("gradient", "moment"):
            said.append(f"the {kind}{'s' if len(named) > 1 else ''} of {enumerate_names(named)}")
        elif kind in ("parameter", "buffer"):
            said.append(f"{kind}{'s' if len(named) > 1 else ''} {enumerate_names(named)}")
        else:
            said.append("an exception" if kind == "exception" else f"the {kind}")
    return enumerate_names(said, len(said))


def shape(extents: Sequence[int]) -> str:
    """A shape as text: ``"32x10"``; ``"scalar"`` without axes."""
    return "x".join(map(str, extents)) or "scalar"


def run_words(report: Report) -> str:
    """A run in one line: what ran, how far, and that nothing was found."""
    run = report.run
    name = run.module or run.script
    seconds = "" if run.seconds is None else f" in {run.seconds:.1f} s"
    said = "nothing found" if report.status == "clean" else f"no incident, but the run counts as {report.status}"
    return f"{name}: {run.steps} steps{seconds}, {said}"


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def enumerate_names(names: Sequence[str], most: int = 3) -> str:
    """``"a"``, ``"a and b"``, ``"a, b, c and 7 more"``."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def count_words(numbers: Sequence[int], most: int = 8) -> str:
    """Indices as text, the first `most` of them."""
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


def percent(probability: float) -> str:
    """A probability as people read it; never a rounded certainty."""
    if not 0.0 <= probability <= 1.0:
        return "?"
    if 0.99 < probability < 1.0:
        return ">99 %"
    if 0.0 < probability < 0.01:
        return "<1 %"
    return f"{100 * probability:.0f} %"


def printable(text: str) -> str:
    """`text` with control characters, line separators, writing-direction marks and lone surrogates made visible.

    What came from a script, a path or a data file must not move the cursor, change colours or hide other text.
    """
    return "".join(map(printable_character, text)) if not (text.isascii() and text.isprintable()) else text


def printable_character(character: str) -> str:
    """One character for `printable`; its escape sequence if it is not safe to show."""
    code = ord(character)
    if code < 32 or 127 <= code < 160:
        return {"\n": " ", "\t": " "}.get(character, f"\\x{code:02x}")
    if code in _HIDDEN or 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return character


_HIDDEN = frozenset({0x061C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x206A), 0xFEFF})
