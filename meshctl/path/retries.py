"""The retry policies that istiod gives to routes, by what the mesh and a VirtualService say, and by release."""

from meshctl.envoy.model.routes import RetryPolicy
from meshctl.frozen import dataclass
from meshctl.istio.mesh_config import MeshConfig

_ON = ("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes")

INBOUND = RetryPolicy(on=("reset-before-request",), attempts=2)
"""What the callee's proxy retries since Istio 1.24 (``BuildDefaultHTTPInboundRoute``)."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """The policy of routes that say nothing of it, and the statuses that Istio's own conditions have."""

    default: RetryPolicy | None
    statuses: tuple[int, ...] = ()


def of(attempts: int, conditions: str, per_try_timeout: str, statuses: tuple[int, ...] = ()) -> RetryPolicy | None:
    """Source: ``retry.ConvertPolicy`` and ``parseRetryOn``, 1.30: numbers among the conditions are statuses."""
    if attempts <= 0:
        return None
    parts = [part for one in conditions.split(",") if (part := one.strip())]
    codes = tuple(int(part) for part in parts if part.isdecimal())
    on = [part for part in parts if not part.isdecimal()]
    if codes and "retriable-status-codes" not in on:
        on.append("retriable-status-codes")
    return RetryPolicy(
        on=tuple(on) if parts else _ON,
        attempts=attempts,
        per_try_timeout_s=seconds(per_try_timeout),
        status_codes=codes if parts else statuses,
        host_predicates=("previous_hosts",),
    )


def of_mesh(config: MeshConfig, version: str) -> Retrying:
    """The mesh's own policy, else Istio's, which before 1.24 retries 503 as well."""
    said = config.retries
    statuses = (503,) if older(version, 24) else ()
    if said is None:
        return Retrying(of(2, "", "", statuses), statuses)
    return Retrying(of(said.attempts, said.on, said.per_try_timeout, statuses), statuses)


def since(version: str, minor: int) -> bool | None:
    """Whether a release (``1.30.3``), or all of a range (``1.12-1.13``), is 1.`minor` or newer; None is not known."""
    bounds = [bound.split(".") for bound in version.split("-")]
    if not all(len(parts) > 1 and parts[0] == "1" and parts[1].isdecimal() for parts in bounds):
        return None
    if int(bounds[0][1]) >= minor:
        return True
    return False if int(bounds[-1][1]) < minor else None


def older(version: str, minor: int) -> bool:
    """Whether a release is older than 1.`minor`; one that is not known is not."""
    return since(version, minor) is False


def seconds(text: str) -> float | None:
    """A duration as Kubernetes writes it (``1.5s``, ``200ms``), None where it is none."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit in ("ms", "s", "m", "h"):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * units[unit]
            except ValueError:
                continue
    return None


USUAL = Retrying(of(2, "", ""))
"""Istio's retry policy where neither the mesh nor a VirtualService says anything (``retry.DefaultPolicy``, 1.24)."""
