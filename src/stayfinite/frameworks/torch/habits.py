"""What a block is seen to do habitually, learned from its first windows."""

from __future__ import annotations

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.passes import Scene
from stayfinite.frameworks.torch.state import Written, light_undo
from stayfinite.frameworks.torch.undoing import moved_parameters

FIRST_LOOKS = 4
"""Windows of a block in which versions of parameters are compared before the update: a habit shows at once."""


class Habits:
    """Learned of the blocks of one session."""

    def __init__(self) -> None:
        self.by_hand: dict[int, str] = {}
        """Blocks that write parameters before a known optimizer does, with the reason."""
        self.accumulate: set[int] = set()
        """Blocks that take one update in several passes."""
        self._several: set[int] = set()
        """Blocks that take several updates in one pass."""
        self._looks: dict[int, int] = {}

    def before_update(self, scene: Scene) -> None:
        """An update is asked for: does the block write parameters before an optimizer does?"""
        if scene.window.parameters is not None or len(scene.here.stepped) != 1:
            return
        looks = self._looks[scene.block.id] = self._looks.get(scene.block.id, 0) + 1
        if looks <= FIRST_LOOKS and moved_parameters(scene):
            self.by_hand.setdefault(scene.block.id, "parameters are written before the update is asked for")

    def after_commit(self, scene: Scene, written: Written) -> None:
        """Where a pass takes several updates, versions and light state are taken after each: the next one is held
        against these."""
        if len(scene.here.stepped) > 1:
            self._several.add(scene.block.id)
        if scene.block.id in self._several or len(scene.subjects.optimizers) > 1:
            scene.window.versions = [p._version for p in scene.subjects.parameters]
            if scene.window.parameters is None:
                scene.window.committed.append(light_undo(scene.subjects, written.again()))

    def unstepped(self, scene: Scene) -> bool:
        """A pass made gradients and no update. **Returns** True if parameters were written all the same."""
        if not moved_parameters(scene):
            return False
        self.by_hand.setdefault(scene.block.id, hold.OWN_CODE)
        return True

    def stepped(self, scene: Scene) -> None:
        """A pass took an update."""
        if sum(one.backward for one in scene.window.passes) > 1:
            self.accumulate.add(scene.block.id)
