"""Parts of the mesh's containers that meshctl does not know: told, since they are not judged."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC129"
TITLE = "The mesh's containers have parts that meshctl does not know"


def check(it: Evidence) -> Iterator[Finding]:
    """The mesh's containers have parts that meshctl does not know."""
    for story in it.description.containers:
        if story.unknown:
            text = f"{story.container.name}: {', '.join(story.unknown)} not known, so not judged"
            yield it.finding(ID, "info", text, evidence=story.container.origin.path, fix="")
