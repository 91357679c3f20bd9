"""Every rule against its page: what it rewrites, what stays as it is, what needs a person."""

import ast
import re
from pathlib import Path

import pytest

from xinqiao.chips import catalog
from xinqiao.port.engine import port_source
from xinqiao.port.rule import rules
from xinqiao.port.source import parse
from xinqiao.port.target import Target
from xinqiao.port.words import BOUND

HERE = Path(__file__).parent
AROUND_PYTORCH = ("environment", "monitors", "imports")  # they differ where the device's name does not
SET_UP = re.compile(r"\s*(import|from|def|class)\b")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def sections(kind):
    """The code blocks of every section of that kind."""
    found = []
    for page in sorted(HERE.glob("*.md")):
        for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE):
            if title == kind:
                found.append(pytest.param(BLOCK.findall(body), id=f"{page.stem}-{len(found)}"))
    return found


def ported(text, *, chip="ascend-910c", style="agnostic", risky=False):
    return port_source(parse("x.py", text.encode(), Target(catalog.load(chip), style, risky)))


def after(text, **target):
    data = ported(text, **target).data
    return text if data is None else data.decode()


@pytest.mark.parametrize("blocks", sections("rewrites"))
def test_rewrites(blocks):
    before, expected = blocks
    assert after(before) == expected
    assert all(o.verdict in ("rewritten", "safe") for o in ported(before).occurrences)


@pytest.mark.parametrize("blocks", sections("rewrites"))
def test_a_second_port_changes_nothing(blocks):
    assert ported(after(blocks[0])).data is None
    assert "needs-you" not in {o.verdict for o in ported(after(blocks[0])).occurrences}


@pytest.mark.parametrize("page", sorted(HERE.glob("*.md")), ids=lambda page: page.stem)
def test_rules_of_names_find_nothing_without_one(page):
    """What `named` says of a rule is true: it is never asked where it would have found something."""
    for text in BLOCK.findall(page.read_text()):
        source = parse("x.py", text.encode(), Target(catalog.load("ascend-910c")))
        port_source(source)
        for kind, registered in rules().items():
            for node in source.nodes(kind):
                unasked = [entry for entry in registered.all if entry not in registered.of(node, source)]
                assert not [found for _, function in unasked for found in function(node, source)]


@pytest.mark.parametrize("blocks", sections("vendor"))
def test_in_the_vendors_words(blocks):
    before, expected = blocks
    assert after(before, style="vendor") == expected
    assert ported(expected, style="vendor").data is None


@pytest.mark.parametrize("blocks", sections("risky"))
def test_only_with_risky(blocks):
    before, expected = blocks
    assert ported(before).data is None
    assert after(before, risky=True) == expected


@pytest.mark.parametrize("blocks", sections("stays"))
def test_stays(blocks):
    [text] = blocks
    result = ported(text)
    assert result.data is None
    assert {o.verdict for o in result.occurrences} <= {"safe"}


@pytest.mark.parametrize("blocks", sections("needs-you"))
def test_needs_you(blocks):
    """Every line that is not set-up has a place that needs a person, and nothing is written."""
    [text] = blocks
    result = ported(text)
    assert result.data is None
    asked = {o.line for o in result.occurrences if o.verdict == "needs-you"}
    bound = {n for n, line in enumerate(text.splitlines(), 1) if BOUND.search(line) and not SET_UP.match(line)}
    assert asked
    assert not bound or max(bound) in asked
    assert all(o.reason for o in result.occurrences)


@pytest.mark.parametrize("blocks", sections("refused"))
def test_refused(blocks):
    """Every line that is not set-up is refused by the chip, with a source."""
    [text] = blocks
    found = [o for o in ported(text).occurrences if o.verdict == "refused-by-chip"]
    assert {o.line for o in found} == {
        n for n, line in enumerate(text.splitlines(), 1) if line and not SET_UP.match(line)
    }
    assert all("http" in o.reason or "docs" in o.reason for o in found)


@pytest.mark.parametrize("blocks", [*sections("rewrites"), *sections("stays"), *sections("needs-you")])
def test_output_compiles(blocks):
    ast.parse(after(blocks[0]))


@pytest.mark.parametrize("blocks", sections("rewrites"))
def test_a_chip_that_keeps_cuda_needs_no_rewriting(blocks):
    result = ported(blocks[0], chip="kunlun-p800")
    assert result.data is None
    assert {o.verdict for o in result.occurrences if o.rule not in AROUND_PYTORCH} <= {"safe"}
