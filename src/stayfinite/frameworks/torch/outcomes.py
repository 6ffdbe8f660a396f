"""What became of a step that went bad: held or not, and why; and what becomes of the run."""

from __future__ import annotations

from stayfinite.frameworks.torch.passes import Failure, Scene


def ending(failure: Failure, stops: bool) -> str:
    """`Incident.outcome`: what becomes of the run, `stops` being decided."""
    if failure.error is not None:
        return "raised"
    if stops:
        return "stopped"
    if failure.before and failure.at == "end":
        return "continued"
    return "" if failure.committed else "skipped"


def is_held(failure: Failure, scene: Scene, moved: int) -> tuple[bool, str]:
    """Whether parameters are as before the step, and what that cost or why not. `moved`: how many parameters were written
    since the window began."""
    window, note = scene.window, failure.hold_note
    stepped = scene.here.stepped
    if failure.latched and not failure.committed:
        stepped = [optimizer for one in window.passes for optimizer in one.stepped][: (failure.asked or 0) + 1]
        note = note or latched(failure)
    earlier = [optimizer for optimizer in stepped if optimizer is not failure.optimizer]
    if window.parameters is not None:
        note = note or f"undo copy of the parameters and moments: {window.reason}"
        if earlier and failure.held and not failure.committed:
            note += f"; with it the step that {type(earlier[0]).__name__} had taken in this pass is undone"
        return failure.held, note
    if not failure.held:
        return False, note or "the state was already bad when it was looked at; looks are sampled"
    if moved and not failure.hold_note and not failure.committed:
        if failure.latched:
            return False, f"{moved} tensors that no optimizer owns were written in the {failure.late} steps before it was seen"
        if len(stepped) > 1:
            return False, "updates taken earlier in the same pass keep what this one wrote from being checked"
        return False, f"{moved} parameters were written before the step was asked for"
    if earlier and not failure.committed:
        taken = f"{type(earlier[0]).__name__} had already taken its own step in this pass; it stays taken"
        note = f"{note}; {taken}" if note else taken
    return True, note


def latched(failure: Failure) -> str:
    """How a step that was judged on the device was held."""
    if not failure.late:
        return "held on the device, and seen before the next step"
    later = "one step later, which" if failure.late == 1 else f"{failure.late} steps later; none of these"
    return f"held on the device: it was seen {later} changed {'nothing' if failure.late == 1 else 'anything'}"
