"""holdApplicationUntilProxyStarts works through a hook of istio-proxy that waits, and through the containers' order."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.rejection import restart
from meshctl.kube.containers import Container, Exec, Hook

ID = "MC127"
TITLE = "holdApplicationUntilProxyStarts has no effect"


def check(it: Evidence) -> Iterator[Finding]:
    """holdApplicationUntilProxyStarts has no effect."""
    injection = it.description.injection
    if it.description.overlay.tree.get("holdApplicationUntilProxyStarts") is not True:
        return
    where = "annotation proxy.istio.io/config"
    if injection.native:
        text = "holdApplicationUntilProxyStarts is ignored: the proxy is a native sidecar and starts first anyway"
        yield it.finding(ID, "info", text, evidence=where, fix="remove it")
    elif injection.mode == "sidecar" and injection.receipt is not None and injection.proxy is not None:
        yield from _ordinary(it, injection.proxy, where)


def _ordinary(it: Evidence, proxy: Container, where: str) -> Iterator[Finding]:
    hook = proxy.hook("postStart")
    if hook is None:
        text = f"holdApplicationUntilProxyStarts has no effect here: {proxy.name} has no postStart hook that would wait"
        fix = restart(it, "make the pod again; a lifecycle of one's own for istio-proxy would keep the hook away")
        yield it.finding(ID, "warning", text, evidence=f"{where}; {proxy.origin.path}.lifecycle", fix=fix)
    elif not _waits(hook):
        text = (
            "holdApplicationUntilProxyStarts has no effect here: another postStart hook stands in the place of its own "
            f"({_said(hook)}), so it alone decides whether the application waits"
        )
        fix = "let the hook end with 'pilot-agent wait', or take it out"
        yield it.finding(ID, "warning", text, evidence=f"{proxy.origin.path}.lifecycle.postStart", fix=fix)
    else:
        order = [c.name for c in it.pod.app_containers]
        early = order[: order.index(proxy.name)]
        if early:
            text = (
                f"holdApplicationUntilProxyStarts has no effect on {', '.join(early)}: containers are started in their "
                f"order, and only those behind {proxy.name} wait for it"
            )
            fix = f"let {proxy.name} be the first container"
            yield it.finding(ID, "warning", text, evidence=f"order: {', '.join(order)}", fix=fix)


def _waits(hook: Hook) -> bool:
    """Whether the hook is (or calls) ``pilot-agent wait``."""
    words = " ".join(hook.action.command) if isinstance(hook.action, Exec) else ""
    return "pilot-agent" in words and "wait" in words


def _said(hook: Hook) -> str:
    if isinstance(hook.action, Exec):
        text = " ".join(hook.action.command)
        return f"it runs {text if len(text) <= 60 else text[:57] + '...'}"
    return "it runs no command"
