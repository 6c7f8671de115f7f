"""What iptables and nft refuse; `tests/kernel` asks the real iptables the same."""

import pytest

from meshctl.errors import BadInput
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.expected import predict
from meshctl.netfilter.release import LATEST

REFUSED = (
    (["-p", "abc"], "nat ISTIO_REDIRECT can be told: 'abc' is no port"),
    (["-p", ""], "'' is no port"),
    (["-z", "99999"], "nat ISTIO_IN_REDIRECT can be told: '99999' is no port: the last one is 65535"),
    (["-p", "-5"], "'-5' is no port"),
    (["-e", "15008x"], "'15008x' is no port"),
    (["-b", "*", "-d", "80,65536"], "'65536' is no port"),
    (["-b", "443,x"], "'x' is no port"),
    (["-o", "90:80"], "'90:80' is no range of ports"),
    (["-o", "80-90"], "'80-90' is no port"),
    (["-q", "080"], "'080' is no port"),
    (["-u", "4294967295"], "'4294967295' is no uid"),
    (["-c", "an-interface-name"], "'an-interface-name' is no interface"),
    (["-c", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 8], "is no interface: a name has at most 15 bytes"),
    (["-c", "eth 0"], "'eth 0' is no interface"),
    (["-c", "eth0,\t"], "'' is no interface"),
    (["-k", "eth 0"], "'eth 0' is no interface"),
    (["-b", "80 90"], "'80 90' is no port"),
    (["-m", "TPROXY", "-b", "*", "-t", "abc"], "'abc' is no mark"),
    (["-m", "TPROXY", "-b", "*", "-t", "0x1ffffffff"], "'0x1ffffffff' is no mark"),
)
UNCLEAR = (["-p", "0x50"], ["-o", "0120"], ["-b", "http"], ["-o", "\N{ARABIC-INDIC DIGIT EIGHT}"], ["-o", "8_0"])
TAKEN = (
    (["-p", "15001-15003"], "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001-15003"),
    (["-o", "80:90"], "-A ISTIO_OUTPUT -p tcp -m tcp --dport 80:90 -j RETURN"),
    (["-o", ":90"], "-A ISTIO_OUTPUT -p tcp -m tcp --dport 0:90 -j RETURN"),
    (["-b", "80", "-d", "nonsense"], "-A ISTIO_INBOUND -p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT"),
    (["-b", "80, 90"], "-A ISTIO_INBOUND -p tcp -m tcp --dport 90 -j ISTIO_IN_REDIRECT"),
    (["-p", " 15001"], "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001"),
    (["-c", "eth0, eth1"], "-A PREROUTING -i eth1 -j RETURN"),
    (["-c", "eth+"], "-A OUTPUT -o eth+ -j RETURN"),
    (["-c", "+"], "-A OUTPUT -j RETURN"),
    (["-u", "4294967294"], "-A ISTIO_OUTPUT -m owner --uid-owner 4294967294 -j RETURN"),
)


@pytest.mark.parametrize(("args", "said"), REFUSED, ids=lambda part: "".join(part))
def test_arguments_that_no_tool_makes_rules_of_are_refused(args: list[str], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        predict(of_arguments(args, {}, LATEST), LATEST)
    assert said in str(caught.value)


@pytest.mark.parametrize("args", UNCLEAR, ids="".join)
def test_ports_that_are_read_differently_by_match_and_image_are_not_predicted(args: list[str]) -> None:
    with pytest.raises(BadInput, match="no port in plain decimal: it is refused, or read as another one"):
        predict(of_arguments(args, {}, LATEST), LATEST)


@pytest.mark.parametrize(("args", "rule"), TAKEN, ids=lambda part: "".join(part))
def test_numbers_are_predicted_as_the_kernel_holds_them(args: list[str], rule: str) -> None:
    assert f"{rule}\n" in predict(of_arguments(args, {}, LATEST), LATEST).text("iptables-save.txt")


def test_nft_writes_ranges_with_a_dash() -> None:
    with pytest.raises(BadInput, match="no rule of nft for nat ISTIO_OUTPUT can be told: '80:90' is no port"):
        predict(of_arguments(["--native-nftables", "-o", "80:90"], {}, LATEST), LATEST)


@pytest.mark.parametrize("name", ["eth+", "1eth", "eth:0", '"eth0"', "+", "*", "an-interface-name", "eth 0", ""])
def test_interfaces_that_nft_does_not_read_without_quotes_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="no rule of nft for nat "):
        predict(of_arguments(["--native-nftables", "-c", f"eth0, {name}"], {}, LATEST), LATEST)


@pytest.mark.parametrize("name", ["eth0", "eth*", "veth-a_b.100", "a/b", ".x"])
def test_interfaces_that_nft_reads_are_predicted(name: str) -> None:
    text = predict(of_arguments(["--native-nftables", "-c", f" {name}"], {}, LATEST), LATEST).text("nft.txt")
    assert f'iifname "{name}"' in text


@pytest.mark.parametrize("name", ["eth/0", "eth:0", ".", ".."])
def test_names_that_iptables_takes_and_no_interface_can_have_are_noted(name: str) -> None:
    expected = predict(of_arguments(["-c", f"eth0,{name}"], {}, LATEST), LATEST)
    assert f"-A PREROUTING -i {name} -j RETURN\n" in expected.text("iptables-save.txt")
    assert [note for note in expected.notes if f"can be called '{name}'" in note]
    assert not [note for note in expected.notes if "'eth0'" in note]


def test_a_quote_in_a_name_is_not_predicted() -> None:
    with pytest.raises(BadInput, match="has a quote"):
        predict(of_arguments(["-c", 'eth"0'], {}, LATEST), LATEST)
