"""One request, from what the user typed to what will happen to it."""

from meshctl.gather import question, trace
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.path import trace as path_trace
from meshctl.path.model import Trace
from meshctl.path.scene import Scene
from meshctl.sources.world import World
from meshctl.uncollected import uncollected


def predict(world: World, asked: Asked, scope: Scope) -> tuple[Scene, Trace]:
    """Read what the request meets, and follow it. Raises NotFound for a caller that is not there."""
    with uncollected():
        scene = trace.scene(world, scope)
        return scene, path_trace.trace(scene, question.question(world, scene, asked, scope))
