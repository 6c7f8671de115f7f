"""A flag whose value is missing takes the next word as its value (istio#28106)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.explain import parsed

ID = "MC108"
TITLE = "A flag of istio-init lost its value and took the next flag as one"


def check(it: Evidence) -> Iterator[Finding]:
    """A flag of istio-init lost its value and took the next flag as one."""
    for story in it.description.containers:
        if not story.by_mesh or story.container is not it.description.injection.init:
            continue
        for argument in parsed(story.container):
            if not argument.swallowed:
                continue
            text = f"{argument.flag} has no value and takes '{argument.value}', which is no flag any more"
            where = f"{story.container.origin.path}.args[{argument.index}]"
            yield it.finding(ID, "error", text, evidence=where, fix=f'write an empty value: {argument.flag} ""')
