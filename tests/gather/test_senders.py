"""As whom the sender of a live trace runs: asked only where nothing else says so."""

from dataclasses import dataclass, field, replace
from typing import Any

from meshctl.gather.senders import with_users
from meshctl.path.scene import Owner, Station
from meshctl.sources.snapshot import open_demo
from tests.path.recordings import scene


@dataclass
class Cluster:
    """Knows the user of every container but one."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def user_of(self, namespace: str, pod: str, container: str) -> tuple[int, int] | None:
        self.asked.append((namespace, pod, container))
        return None if container == "distroless" else (1000, 3000)


def station(*owners: Owner) -> Station:
    place = scene("classic")
    pod = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    return replace(place.station(pod), owners=owners)


def ask(*owners: Owner) -> tuple[tuple[Owner, ...], Cluster]:
    world: Any = Cluster()
    return with_users(world, station(*owners)).owners, world


def test_a_container_is_asked_where_its_user_is_not_known_whole() -> None:
    found, world = ask(Owner(1000, None, "the spec of container app", "app"))
    assert [(o.uid, o.gid, o.container) for o in found] == [(1000, 3000, "app")]
    assert "/proc/1/status" in found[0].source
    assert len(world.asked) == 1


def test_nobody_is_asked_where_all_is_known() -> None:
    known = Owner(1000, 1000, "the processes of container app", "app")
    found, world = ask(known)
    assert found == (known,)
    assert world.asked == []


def test_what_cannot_be_told_stays_open() -> None:
    unknown = Owner(None, None, "not recorded, and not in the spec", "distroless")
    found, _ = ask(unknown, Owner(5, 5, "x", "other"))
    assert found == (unknown, Owner(5, 5, "x", "other"))


def test_a_recording_has_nobody_to_ask() -> None:
    before = station(Owner(None, None, "not recorded", "app"))
    assert with_users(open_demo(), before).owners == before.owners
