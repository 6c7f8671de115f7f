"""Which Istio release wrote a pod's rules: read from an image tag or a revision, else from the rules' own shape.

The shapes are those of `istio-iptables` at the ``.0`` tag of each minor release from 1.12 to 1.30. What a real
`istio-iptables` wrote into a real kernel was recorded for the releases in `RECORDED`; the prediction for any other
release is marked as not verified, and names the nearest recorded one.
"""

import re
from functools import cache
from typing import Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.frozen import dataclass

OLDEST = (1, 12)
NEWEST = (1, 30)

Evidence: TypeAlias = Literal["option", "image tag", "revision", "rules", "none"]


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """An Istio release; `patch` is None where only the minor is known (``1.30``)."""

    major: int
    minor: int
    patch: int | None = None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + ("" if self.patch is None else f".{self.patch}")

    @property
    def line(self) -> tuple[int, int]:
        """Major and minor: the precision that rule shapes change with."""
        return (self.major, self.minor)

    def since(self, minor: int) -> bool:
        """Whether this is Istio 1.`minor` or later."""
        return self.line >= (1, minor)


RECORDED = (Release(1, 12, 1), Release(1, 30, 3))
AMBIENT_COMPARED = (Release(1, 22, 0), Release(1, 30, 3))
"""The releases whose ambient rules were compared with what istio-cni's agent of that release writes."""
LATEST = RECORDED[-1]


@dataclass(frozen=True, slots=True)
class Told:
    """A release, what it was read from, and whether the rules that it writes were recorded from a real kernel."""

    release: Release
    evidence: Evidence
    text: str
    ambient: bool = False

    @property
    def verified(self) -> bool:
        """Whether a recording of this release backs the prediction."""
        return is_verified(self.release, ambient=self.ambient)

    @property
    def sentence(self) -> str:
        """How to say it: the release, where it is from, and how sure the prediction is."""
        said = f"Istio {self.release} ({self.text})"
        return (
            said
            if self.verified
            else f"{said}; unverified, nearest verified: {nearest_recorded(self.release, ambient=self.ambient)}"
        )


def is_verified(release: Release, *, ambient: bool = False) -> bool:
    """Whether the rules of this release were recorded: the same patch, or the same minor where no patch is named."""
    known_ones = AMBIENT_COMPARED if ambient else RECORDED
    return any(known.line == release.line and release.patch in (None, known.patch) for known in known_ones)


def nearest_recorded(release: Release, *, ambient: bool = False) -> Release:
    """The recorded release with the least distance, major before minor; the newer one if two are as near."""
    known_ones = AMBIENT_COMPARED if ambient else RECORDED
    asked = _steps(release)
    return min(reversed(known_ones), key=lambda known: abs(_steps(known) - asked))


def _steps(release: Release) -> int:
    """The release line as one number: every minor of a later major is later than all of an earlier one."""
    return 1000 * release.major + release.minor


@cache
def _version() -> re.Pattern[str]:
    return re.compile(r"(?:^|[^0-9.])v?(\d+)\.(\d+)(?:\.(\d+))?(?![0-9])")


def parse(text: str) -> Release:
    """Read ``1.30``, ``1.30.3``, ``v1.30.3``, ``1.30.3-distroless``. Raises BadInput for anything else."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+.].*)?$", text.strip())
    if found is None:
        raise BadInput(f"'{text}' is no Istio release", hint="write it like 1.30 or 1.30.3")
    return Release(int(found[1]), int(found[2]), None if found[3] is None else int(found[3]))


def from_image(image: str) -> Release | None:
    """The release in a proxy image's tag (``istio/proxyv2:1.30.3-distroless``); None for a digest or another scheme."""
    name, _, _digest = image.partition("@")
    _, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return None
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?![0-9])", tag)
    if found is None or int(found[1]) != 1:
        return None
    return Release(int(found[1]), int(found[2]), None if found[3] is None else int(found[3]))


def from_revision(revision: str) -> Release | None:
    """The release in a revision's name as Istio's documentation suggests it (``1-30-3``, ``v1-30``, ``istio-1-30``)."""
    found = re.search(r"(?:^|[^0-9])(1)[-_.](\d{1,2})(?:[-_.](\d{1,2}))?(?![0-9])", revision)
    if found is None:
        return None
    return Release(1, int(found[2]), None if found[3] is None else int(found[3]))


def tell(image: str = "", revision: str = "", shape: tuple[Release, str] | None = None) -> Told:
    """The release by the best evidence at hand: image tag, else revision, else the rules' shape, else the newest."""
    by_tag = from_image(image)
    if by_tag is not None:
        return Told(by_tag, "image tag", f"from the image tag of {image}")
    by_name = from_revision(revision)
    if by_name is not None:
        return Told(by_name, "revision", f"from the revision's name {revision}")
    if shape is not None:
        release, why = shape
        return Told(release, "rules", f"from the rules themselves: {why}")
    return Told(LATEST, "none", "assumed: nothing names the release")
