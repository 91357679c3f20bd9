"""The tests in chip/ run on a chip, in a process of their own; see test_on_chips.py."""

import os

collect_ignore = [] if os.environ.get("XINQIAO_CHIP") else ["chip"]
