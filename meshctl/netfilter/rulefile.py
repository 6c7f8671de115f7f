"""Recognises a bare file of rules: iptables-save or nft JSON, and of which family; never by guessing in silence.

The family is what the header says, else what the addresses in the rules are, else what the file's name says, else
what the user says.
"""

import re
from pathlib import PurePath

from meshctl.errors import BadInput
from meshctl.netfilter import iptables_save, nft_json
from meshctl.netfilter.matches import AddressRange, Destination, IcmpType, Protocol, Source
from meshctl.netfilter.model import Backend, Family, Ruleset
from meshctl.netfilter.targets import Dnat, Snat, Tproxy

_LISTING = re.compile(r"^Chain \S+ \((policy \S+|\d+ references)", re.M)
_NFT_TEXT = re.compile(r"^\s*table (ip|ip6|inet|arp|bridge|netdev) \S+ \{", re.M)


def read(text: str, name: str, family: Family | None = None, *, strict: bool = True) -> tuple[Ruleset, ...]:
    """Read a file of rules; BadInput says what it is instead, or that its family cannot be told."""
    text = text.removeprefix("\ufeff")
    body = text.lstrip()
    if body.startswith(("{", "[")):
        return nft_json.parse(text, name)
    _refuse_other_formats(body, name)
    said, backend = iptables_save.header(text)
    named_legacy: Backend | None = "legacy" if "legacy" in PurePath(name).name.lower() else None
    ruleset = iptables_save.parse(text, name, said or "ipv4", backend or named_legacy or "nft", strict=strict)
    settled = said or _by_addresses(ruleset) or _by_name(name) or family
    if settled is None and not body:
        raise BadInput(
            f"{name} is empty",
            hint="if iptables-save printed nothing, there is no rule; else take it again: `iptables-save -c`",
        )
    if settled is None:
        raise BadInput(
            f"{name}: whether these are IPv4 or IPv6 rules cannot be told from header, addresses or file name",
            hint="say it with --family ipv4 or --family ipv6",
        )
    return (Ruleset(settled, ruleset.backend, ruleset.tables, name, False, ruleset.remarks),)


def _refuse_other_formats(body: str, name: str) -> None:
    if _LISTING.search(body):
        raise BadInput(
            f"{name}: this is `iptables -L`, which leaves out half of every rule",
            hint="take `iptables-save -c` instead; with the legacy binary -L also creates tables",
        )
    if _NFT_TEXT.search(body):
        raise BadInput(f"{name}: this is `nft list ruleset` as text", hint="take `nft -j list ruleset` instead")


def _by_addresses(ruleset: Ruleset) -> Family | None:
    """The family of the addresses and protocols in the rules; BadInput where both are there."""
    versions: dict[int, str] = {}
    for _, _, _, rule in ruleset.rules:
        for part in (*rule.matches, *rule.targets):
            version = _version(part)
            if version is not None:
                versions.setdefault(version, str(rule.origin))
    if len(versions) > 1:
        raise BadInput(f"{versions[4]} has an IPv4 address and {versions[6]} an IPv6 one: these are two dumps in one")
    return {4: "ipv4", 6: "ipv6"}[next(iter(versions))] if versions else None  # type: ignore[return-value]


def _version(part: object) -> int | None:
    match part:
        case Source(network) | Destination(network):
            return network.version
        case AddressRange(version=version) | Dnat(version=version) | Snat(version=version):
            return version
        case IcmpType(protocol):
            return 4 if protocol == "icmp" else 6
        case Protocol("icmp"):
            return 4
        case Protocol("ipv6-icmp"):
            return 6
        case Tproxy(address=address) if address:
            return 6 if ":" in address else 4
        case _:
            return None


def _by_name(name: str) -> Family | None:
    file = PurePath(name).name.lower()
    if "ip6" in file or "ipv6" in file or "v6" in file:
        return "ipv6"
    return "ipv4" if "iptables" in file or "ipv4" in file or "v4" in file else None
