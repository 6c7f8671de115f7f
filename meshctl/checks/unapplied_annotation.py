"""An annotation that the running pod has and its istio-init was not started with: it came too late.

What the arguments are made from: ``injection-template.yaml``. With istio-cni the plugin reads the annotations itself,
once, and what it read cannot be told from the pod; nothing is said there.
"""

from collections.abc import Iterator, Mapping

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.rejection import restart
from meshctl.injection.catalog_metadata import SETTINGS, Setting
from meshctl.injection.explain import parsed
from meshctl.injection.flags import Argument

ID = "MC133"
TITLE = "An annotation that came too late for this pod"

_ADDED_TO = "istio-local-exclude-ports"
"""The flag to whose value the template adds the mesh's own ports."""


def check(it: Evidence) -> Iterator[Finding]:
    """An annotation that came too late for this pod."""
    injection = it.description.injection
    init = injection.init
    if init is None or injection.cni or injection.receipt is None or not it.pod.has_status:
        return
    if it.description.capture is None or it.description.capture_problem:
        return
    given = {a.name: a for a in parsed(init) if a.name}
    for setting, value in _asked(it).values():
        argument = given.get(setting.flag)
        if _applied(setting, value, argument):
            continue
        told = f"{argument.flag} {argument.value or repr('')}" if argument is not None else f"no --{setting.flag}"
        text = (
            f"the annotation {setting.key}: {value} does not count for this pod: {init.name} was started with {told}, "
            "and annotations are read once, when a pod is made"
        )
        fix = restart(it, "write it into the pod template, which makes the pods again")
        yield it.finding(ID, "warning", text, evidence=f"{init.origin.path}.args", fix=fix)


def _asked(it: Evidence) -> Mapping[str, tuple[Setting, str]]:
    """By flag, the annotation that decides: of two with one flag the catalog has the one that wins first."""
    found: dict[str, tuple[Setting, str]] = {}
    for key, setting in SETTINGS.items():
        if not setting.flag or key not in it.pod.annotations or setting.flag in found:
            continue
        known = setting.known
        if it.description.injection.release.has(known.since, known.until):  # else MC104, or it cannot be told
            found[setting.flag] = (setting, it.pod.annotations[key])
    return found


def _applied(setting: Setting, value: str, argument: Argument | None) -> bool:
    asked, got = _parts(value), _parts(argument.value or "") if argument is not None else frozenset()
    return asked <= got if setting.flag == _ADDED_TO else asked == got


def _parts(value: str) -> frozenset[str]:
    return frozenset(p.strip() for p in value.split(",") if p.strip())
