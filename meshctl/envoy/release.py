"""What depends on Envoy's release: each was seen of the releases 1.36 to 1.40; None where it cannot be told."""

from meshctl.envoy.model.state import Build


def _since(build: Build | None, minor: int) -> bool | None:
    return build.version >= (1, minor, 0) if build is not None else None


def any_method(build: Build | None) -> bool | None:
    """Whether the HTTP inspector takes a first line for HTTP whatever its method is: from 1.39."""
    return _since(build, 39)


def each_value(build: Build | None) -> bool | None:
    """Whether routes match the values of a header that came twice one by one: from 1.39."""
    return _since(build, 39)


def passes_resets(build: Build | None) -> bool | None:
    """Whether a TCP proxy hands a reset of its endpoint on, and logs it as one (``UR``): from 1.38.

    Source: Envoy's release notes of 1.38.0, ``propagate_upstream_rst_through_tunneled_tcp_proxy``; seen without any
    tunnel of 1.38 to 1.40, and not of 1.36 and 1.37.
    """
    return _since(build, 38)


_FIXED = {34: 13, 35: 9, 36: 5, 37: 1}
"""The patches of older releases that have CVE-2026-26308 fixed (release notes of 10 March 2026)."""

_MAYBE = {35: 8}


def each_value_in_policies(build: Build | None) -> bool | None:
    """Whether policies do: from 1.38, and from a patch of older releases, of which those in between may have it."""
    if build is None:
        return None
    major, minor, patch = build.version
    if major != 1 or minor not in _FIXED:
        return _since(build, 38)
    if not build.released:  # Istio's carry fixes that the number does not tell
        return None
    return None if patch == _MAYBE.get(minor) else patch >= _FIXED[minor]
