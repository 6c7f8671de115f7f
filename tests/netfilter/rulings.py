"""The recorded rulesets of ``fixtures/rulesets``: a case, the rules that the kernel held, and what was predicted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshctl.netfilter import expected, iptables_save, nft_json, release
from meshctl.netfilter.capture import Capture, Network
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.expected import Expected
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Family, Ruleset
from meshctl.netfilter.release import Release

FOLDER = Path(__file__).parents[2] / "fixtures" / "rulesets"
RESOLVER = "10.96.0.10"


@dataclass(frozen=True)
class Case:
    """One recording: the arguments that ran, and what the kernel then held."""

    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def said(self) -> dict[str, object]:
        return json.loads((self.folder / "case.json").read_text())

    @property
    def release(self) -> Release:
        return release.parse(str(self.said["istio"]))

    @property
    def capture(self) -> Capture:
        said = self.said
        return of_arguments(said["args"], said["env"], self.release)  # type: ignore[arg-type]

    @property
    def network(self) -> Network:
        return Network(tuple(self.said["pod_addresses"]), (RESOLVER,))  # type: ignore[arg-type]

    @property
    def expected(self) -> Expected:
        return expected.predict(self.capture, self.release, self.network)

    @property
    def families(self) -> set[Family]:
        return {"inet"} if self.native else {"ipv4", "ipv6"}

    @property
    def native(self) -> bool:
        return self.folder.name.endswith("-nft")

    @property
    def found(self) -> tuple[Ruleset, ...]:
        rulesets: list[Ruleset] = []
        for name in ("iptables-save.txt", "ip6tables-save.txt"):
            file = self.folder / name
            if file.exists():
                rulesets.append(iptables_save.parse(file.read_text(), f"{self.name}/{name}"))
        listing = self.folder / "nft.json"
        if listing.exists():
            rulesets += nft_json.parse(listing.read_text(), f"{self.name}/nft.json")
        return merge(rulesets)


def cases() -> Iterator[Case]:
    for file in sorted(FOLDER.glob("*/*/case.json")):
        yield Case(file.parent)


CASES = tuple(cases())
NAMES = tuple(case.name for case in CASES)


def case(name: str) -> Case:
    return Case(FOLDER / name)
