import pytest

from meshctl.kube.ss import is_whole

LINE = "LISTEN 0      4096   127.0.0.1:15000 0.0.0.0:* uid:1337 ino:256911 sk:10d9\n"


@pytest.mark.parametrize("text", ["", LINE, f"tcp {LINE}", f"State Recv-Q Send-Q\n{LINE}{LINE}"])
def test_a_listing_of_ss_is_whole(text: str) -> None:
    assert is_whole(text)


@pytest.mark.parametrize("text", ["\ufffd\x01 noise\n", LINE + LINE[:30], f"{LINE}ss: command not found\n"])
def test_what_ss_did_not_print_to_its_end_is_not(text: str) -> None:
    assert not is_whole(text)
