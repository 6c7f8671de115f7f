"""As whom the sender of a live trace runs, where neither its node nor its specification say so: its container knows."""

from dataclasses import replace

from meshctl.path.scene import Owner, Station
from meshctl.sources.world import World


def with_users(world: World, station: Station) -> Station:
    """The station with the users of its running containers, where they are not known whole and a cluster can tell.

    One read-only command in each such container of the sender; of the pods that it calls nobody asks.
    """
    if all(owner.uid is not None and owner.gid is not None for owner in station.owners):
        return station
    return replace(station, owners=tuple(_settled(world, station, owner) for owner in station.owners))


def _settled(world: World, station: Station, owner: Owner) -> Owner:
    if not owner.container or (owner.uid is not None and owner.gid is not None):
        return owner
    user = world.user_of(station.pod.namespace, station.pod.name, owner.container)
    if user is None:
        return owner
    return Owner(user[0], user[1], f"/proc/1/status in container {owner.container}", owner.container)
