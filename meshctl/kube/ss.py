"""What ``ss -Htulnpe`` printed (iproute2): whether a listing can be taken at its word."""

_STATES = frozenset(
    ("LISTEN", "UNCONN", "ESTAB", "TIME-WAIT", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT")
) | {"LAST-ACK", "CLOSING", "State", "Netid"}


def is_whole(text: str) -> bool:
    """Whether every line is one of ss, to its end: of a listing that is not, nothing may be taken to be missing.

    An empty listing is whole: nothing listens in a pod that only sleeps.
    """
    strange = any(line.split() and not _STATES.intersection(line.split()[:2]) for line in text.splitlines())
    return not strange and (not text or text.endswith("\n"))
