"""Pages that are made from the code are in step with it."""

import runpy
from pathlib import Path

import pytest

from xinqiao.port.pages import pages

ROOT = Path(__file__).parents[1]


def test_the_pages_of_rules_are_up_to_date():
    wanted = runpy.run_path(str(ROOT / "tools" / "rule_pages.py"))["texts"]()
    there = {p.relative_to(ROOT / "docs").as_posix(): p.read_text() for p in (ROOT / "docs").glob("rules*/**/*.md")}
    there["rules.md"] = (ROOT / "docs" / "rules.md").read_text()
    assert there == wanted, "run `make docs`"


@pytest.mark.parametrize("page", pages().values(), ids=lambda p: p.name)
def test_every_rule_documents_itself(page):
    assert page.title.endswith(".")
    assert page.does and page.why and page.unsafe and page.source


def test_both_readmes_have_the_same_commands():
    def blocks(name):
        lines = (ROOT / name).read_text().splitlines()
        return [line for line in lines if line.startswith(("    $ ", "$ ", "make ", "xinqiao "))]

    assert blocks("README.md") == blocks("README.zh.md") != []


def test_the_guide_to_size_is_up_to_date():
    wanted = runpy.run_path(str(ROOT / "benchmarks" / "size_guide.py"))["texts"]()
    old = [file.name for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    assert not old, "run `python benchmarks/size_guide.py --write`"
    assert {file.name for file in (ROOT / "docs" / "size").iterdir()} == {f.name for f in wanted if f.suffix == ".svg"}
