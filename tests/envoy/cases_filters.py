"""x"""

from tests.envoy.asking import Case

CASES: tuple[Case, ...] = ()
