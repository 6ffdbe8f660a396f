"""How a session behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stayfinite.rewrite.births.second_run import Program


@dataclass(frozen=True)
class Options:
    """How a session behaves. `budget`: seconds for replays; `every`: steps between looks at parameters and buffers;
    `replay_every`: repeat each Nth healthy step twice, for self-tests; `survey_every`: survey each Nth, for self-tests;
    `folder`: locations are relative to it; `trials`: the script may be run again from its start;
    `prevent`: ids of policies that are switched on (`catalog.prevention`);
    `wraps`: the loops of scripts are wrapped when they are loaded; `program`: what
    runs, if it can be run a second time; `changed`: real path of a file to the text that runs in the place of what is on disk;
    `begins_again`: whoever started the script begins it again where `BeginAgain` is raised."""

    on_incident: str = "stop"
    budget: float = 60.0
    every: int = 50
    replay_every: int = 0
    folder: str = ""
    stop_on: frozenset[str] = frozenset()
    keep_case: bool = True
    wraps: bool = True
    trials: bool = True
    survey_every: int = 0
    program: Program | None = None
    prevent: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    begins_again: bool = False
