import pytest

from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.release import LATEST
from meshctl.views import pod_capture as view


@pytest.mark.parametrize(
    ("args", "incoming", "outgoing"),
    [
        (["-b", "*", "-d", "15090,15021,15020", "-i", "*"],
         "all except 15090, 15021 and 15020 -> port 15006 (REDIRECT)", "all -> port 15001"),
        (["-b", "", "-i", ""], "none", "none"),
        (["-b", "80,443", "-d", "80", "-i", "*", "-o", "53,3306", "-x", "10.1.0.0/16"],
         "80 and 443 -> port 15006 (REDIRECT)",
         "all, except to 10.1.0.0/16 and to ports 53 and 3306 -> port 15001"),
        (["-i", "10.0.0.0/8", "-q", "25", "-o", "53"], "none",
         "10.0.0.0/8; also everything to port 25, except to port 53 -> port 15001"),
        (["-i", "", "-q", "25,26"], "none", "everything to ports 25 and 26 -> port 15001"),
        (["-i", "*", "-q", "25"], "none", "all -> port 15001"),
    ],
)  # fmt: skip
def test_what_is_captured_in_words(args: list[str], incoming: str, outgoing: str) -> None:
    rows = dict(view.capture_rows(of_arguments(args, {}, LATEST)))
    assert (rows["incoming TCP ports"], rows["outgoing TCP"]) == (incoming, outgoing)
