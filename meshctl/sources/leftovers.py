"""Removes the Jobs that interrupted runs of meshctl left on a cluster; only what carries meshctl's own labels."""

from collections.abc import Iterator

from meshctl.sources import made
from meshctl.sources.kube_client import Api


def clean(api: Api, namespace: str | None, *, everyone: bool, assume_yes: bool) -> Iterator[str]:
    """Remove leftovers after the user agreed; yields what was done, a line each."""
    found = made.jobs(api, namespace)
    own = [job for job in found if everyone or (job["metadata"].get("labels") or {}).get(made.OWNER) == made.owner()]
    others = len(found) - len(own)
    if others:
        yield f"{others} of other users stay (--all-owners removes them too)"
    if not own:
        yield "there is nothing to remove"
        return
    names = [f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in own]
    made.consent(f"This removes {len(own)} Jobs with their pods: {', '.join(names)}", assume_yes, "Remove them?")
    for job in own:
        metadata = job["metadata"]
        made.delete_job(api, metadata["namespace"], metadata["name"])
        yield f"removed {metadata['namespace']}/{metadata['name']}"
