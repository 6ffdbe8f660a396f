"""From a case to ranked hypotheses.

Every module in `catalog/causes/` that applies to the case says what speaks for it and what against it, in bits. The
score of a cause is its prior plus those bits, of several pieces of evidence on one fact only the heaviest.
Probabilities are 2^score, normalised over all causes that apply, `unknown` always among them, and taken times
1 - `MISREAD`: what is left belongs to no cause of the list. That changes no order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from stayfinite import shield
from stayfinite.catalog import pages
from stayfinite.catalog.cause import Cause
from stayfinite.records.diagnosis import Diagnosis, Evidence, Hypothesis, VerdictName
from stayfinite.records.incident import Case

MISREAD = 0.1
"""Probability that a fact was misread or that the cause is none of those considered, whatever the evidence says. Measured on
the 50 cases of the gallery that were written blind (opened on 2026-11-27, ranked as they were before anybody had seen them):
causes said with 95 % and more were right in 23 of 28. Of scores divided by 1 to 4 and a mass of 0 to 0.2 kept back, the
likelihood of those cases is greatest at 1 and 0.12, and with any one of them left out at 1 and 0.12 (44 times) or 0.1 (6 times):
sums of bits are no exaggeration, certainty is. Cases that rules were tuned on would choose 0, and were not asked."""
CONFIRMED_ODDS = 1.5
"""How many times more often the experiment of a right cause confirms it than that of a wrong one: so much less likely is it, once a
cause is confirmed, that none of the list is right. Measured on the 212 open cases of the gallery (2026-11-27, without runs from the
start), counting causes whose own change was performed: it cured, and its placebo did not, for 193 of 203 right ones and for 36 of
58 wrong ones. That is little, because wrong causes that come near enough to be tested blame what lies beside the right one, and a
change there often cures too. Refuted were 8 of the 58 and none of the 203: with half a case more on each side a factor of 1/59,
which is what `engine.experiments.REFUTED_BITS` says."""
LEAST = 0.01
"""Hypotheses less probable than this are not shown."""
MOST = 6
"""Hypotheses that are shown at most."""

NO_EXPERIMENT = "ranked by evidence alone"
NOT_AGAIN = "the same step, repeated with equal inputs, state and generators, came out differently"
INPUTS_DIFFER = "the step could not be repeated with the same inputs"


def rank(case: Case) -> Diagnosis:
    """The causes that explain `case`, best first, at most six. Probabilities sum to at most 1 - `MISREAD`.

    A cause module that breaks is left out and counted by `shield`; it never stops the others.
    """
    weighed = [found for name in pages.ids("causes") if (found := _weigh(name, case)) is not None]
    if not weighed:
        return Diagnosis()
    verdict, reason = _verdict(case)
    top = max(score for _, _, score, _ in weighed)
    total = sum(2.0 ** (score - top) for _, _, score, _ in weighed)
    ranked: list[Hypothesis] = []
    for name, cause, score, evidence in sorted(weighed, key=lambda found: -found[2]):
        probability = (1.0 - MISREAD) * 2.0 ** (score - top) / total
        if probability < LEAST or len(ranked) == MOST:
            break
        ranked.append(
            Hypothesis(
                cause=name, title=cause.TITLE, score=score, probability=probability, verdict=verdict,
                verdict_reason=reason, location=cause.locate(case), evidence=evidence,
            )
        )
    return Diagnosis(hypotheses=tuple(ranked))


def ranked_again(hypotheses: Sequence[Hypothesis], before: Sequence[Hypothesis], proof: float = 0.0) -> tuple[Hypothesis, ...]:
    """`hypotheses` in the order of the scores that experiments left them, with probabilities that fit; `before`: as evidence alone
    had ranked them.

    What belongs to none of them takes part with the share it had. Of a proof with `proof` bits it keeps all but `CONFIRMED_ODDS`.
    """
    if not hypotheses:
        return ()
    top = max(one.score for one in (*hypotheses, *before))
    known = sum(one.probability for one in before)
    weight = sum(2.0 ** (one.score - top) for one in before)
    others = weight * max(0.0, 1.0 - known) / known if known > 0.0 else 0.0
    others *= 2.0**proof / CONFIRMED_ODDS if proof else 1.0
    total = sum(2.0 ** (one.score - top) for one in hypotheses) + others
    again = [msgspec.structs.replace(one, probability=2.0 ** (one.score - top) / total) for one in hypotheses]
    return tuple(sorted(again, key=lambda one: -one.score))


def one_proof(ranked: tuple[Hypothesis, ...]) -> tuple[Hypothesis, ...]:
    """Of several causes whose change cures the step, the one for which most speaks is confirmed: a failure has one cause, and a
    change near its effect cures it as well (a smaller operand, whoever made it large; a sample left out that holds a code)."""
    proven = next((one for one in ranked if one.verdict == "confirmed"), None)
    if proven is None:
        return ranked
    reason = f"its change cures the failure as well; more speaks for {proven.cause}"
    return tuple(
        msgspec.structs.replace(one, verdict="inconclusive", verdict_reason=reason)
        if one.verdict == "confirmed" and one is not proven else one for one in ranked
    )


def _weigh(name: str, case: Case) -> tuple[str, Cause, float, tuple[Evidence, ...]] | None:
    """One cause with its score and the evidence that counts; ``None`` if it does not apply or is broken."""
    sensor = f"cause {name}"
    if shield.is_off(sensor):
        return None
    weighed = None
    with shield.shielded(sensor):
        cause = cast(Cause, pages.load("causes", name))
        if cause.APPLIES_TO.covers(case):
            evidence = heaviest(cause.evidence(case))
            cause.locate(case)  # a broken one must show here, not while the ranking is written down
            score = cause.PRIOR + sum(piece.bits for piece in evidence)
            if not math.isfinite(score):
                raise ValueError(f"the evidence of {name} adds up to {score} bits")
            weighed = name, cause, score, evidence
    return weighed


def heaviest(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Of the pieces on each fact the one with most bits either way, heaviest first; pieces of 0 bits are left out."""
    best: dict[str, Evidence] = {}
    for piece in evidence:
        known = best.get(piece.fact)
        if known is None or abs(piece.bits) > abs(known.bits):
            best[piece.fact] = piece
    return tuple(sorted((piece for piece in best.values() if piece.bits), key=lambda piece: -abs(piece.bits)))


def _verdict(case: Case) -> tuple[VerdictName, str]:
    replay = case.replay
    if replay.not_tested is not None:
        return "not_tested", replay.not_tested
    if not replay.same_inputs:
        return "not_tested", INPUTS_DIFFER
    if replay.attempts and not replay.agreed:
        return "not_reproduced", NOT_AGAIN
    return "not_tested", NO_EXPERIMENT
