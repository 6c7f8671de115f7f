"""Native rulesets, parsed and written again, in a real nft: it takes them and lists the same."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from meshctl.errors import BadInput
from meshctl.netfilter import nft_emit, nft_json
from meshctl.netfilter.model import Ruleset
from tests.kernel import rulesets as made
from tests.kernel.lab import Lab

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in ("ip", "nft")), reason="needs iproute2 and nft"),
]
SETS = """
table inet mesh {
  set pods { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.7 }; }
  set ports { type inet_service; elements = { 80, 443 }; }
  set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 53, 10.0.0.2 . 80 }; }
  map goals { type inet_service : verdict; elements = { 80 : jump captured, 22 : accept }; }
  chain captured {
    meta l4proto tcp counter redirect to :15001
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr @pods tcp dport @ports counter accept
    ip daddr . tcp dport @pairs counter return
    tcp dport vmap @goals
    meta l4proto { tcp, udp } th dport 53 counter redirect to :15053
    oifname "lo" ip daddr != 127.0.0.1 tcp dport != { 53, 15008 } meta skuid 1337 counter jump captured comment "a b"
  }
}
"""


def listed(lab: Lab) -> tuple[Ruleset, ...]:
    everything = json.loads(lab.pod.run("nft", "-j", "list", "ruleset"))
    everything["nftables"] = [
        item
        for item in everything["nftables"]
        if not any("zz-sink" in (body.get("table"), body.get("name")) for body in item.values())
    ]
    return nft_json.parse(json.dumps(everything))


def parts(rulesets: tuple[Ruleset, ...]) -> list[object]:
    return [
        (
            table.name,
            [(one.name, one.kind, one.key, one.elements, one.values, one.flags) for one in table.sets],
            [
                (chain.name, chain.hook, chain.priority, chain.policy, [(r.matches, r.targets) for r in chain.rules])
                for chain in table.chains
            ],
        )
        for ruleset in rulesets
        for table in ruleset.tables
    ]


def returns(lab: Lab, first: tuple[Ruleset, ...]) -> None:
    script = "".join(map(nft_emit.emit, first))
    checked = lab.pod.ask({"run": ["nft", "-c", "-f", "-"], "text": script})
    assert not checked["code"], f"{checked['err']}\n{script}"
    lab.clear()
    assert lab.load(script) == ""
    assert parts(listed(lab)) == parts(first)


def test_recorded_native_rules(lab: Lab, fixtures: Path) -> None:
    for file in sorted((fixtures / "rulesets").glob("*/*-nft/nft.json")):
        native = tuple(r for r in nft_json.parse(file.read_text()) if not r.through_nft)
        assert native
        lab.clear()
        returns(lab, native)


def test_sets_and_maps(lab: Lab) -> None:
    lab.clear()
    assert lab.load(SETS) == ""
    returns(lab, listed(lab))


@given(script=made.nft_tables())
@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_made_ones(lab: Lab, script: str) -> None:
    lab.clear()
    assume(lab.load(script) == "")
    returns(lab, listed(lab))


def test_what_is_not_understood_is_not_written() -> None:
    rule = {"family": "inet", "table": "t", "chain": "c", "expr": [{"quota": {"val": 1, "val_unit": "bytes"}}]}
    (ruleset,) = nft_json.parse(json.dumps({"nftables": [{"rule": rule}]}))
    with pytest.raises(BadInput, match="not understood"):
        nft_emit.emit(ruleset)
