"""Pages that are made from the code are in step with it."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_rules_is_up_to_date():
    made = runpy.run_path(str(ROOT / "tools" / "rule_pages.py"))
    assert made["PAGE"].read_text() == made["text"](), "run `make docs`"


def test_both_readmes_have_the_same_commands():
    def blocks(name):
        lines = (ROOT / name).read_text().splitlines()
        return [line for line in lines if line.startswith(("    $ ", "$ ", "make ", "xinqiao "))]

    assert blocks("README.md") == blocks("README.zh.md") != []
