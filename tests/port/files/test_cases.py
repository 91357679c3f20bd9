"""Every kind of file against its page: what is rewritten in each style, what stays, what needs a person."""

import re
from pathlib import Path

import pytest

from xinqiao.chips import catalog
from xinqiao.port.files import port_file
from xinqiao.port.target import Target
from xinqiao.port.words import is_bound

HERE = Path(__file__).parent
COMMENT = re.compile(r"(^|\s)(#|//).*")
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
BLOCK = re.compile(r"```([\w./-]+)\n(.*?)```", re.DOTALL)


def sections(kind):
    """(file name, its texts) of every section of that kind."""
    found = []
    for page in sorted(HERE.glob("*.md")):
        for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE):
            if title == kind:
                blocks = BLOCK.findall(body)
                found.append(pytest.param(blocks[0][0], [text for _, text in blocks], id=f"{page.stem}-{len(found)}"))
    assert found
    return found


def ported(name, text, *, style="agnostic", chip="ascend-910c"):
    return port_file(name, text.encode(), Target(catalog.load(chip), style))


def after(name, text, **how):
    data = ported(name, text, **how).data
    return text if data is None else data.decode()


STYLES = [("rewrites", "agnostic"), ("rewrites in the vendor style", "vendor")]
REWRITES = [pytest.param(style, *p.values, id=f"{style}-{p.id}") for title, style in STYLES for p in sections(title)]


@pytest.mark.parametrize(("style", "name", "texts"), REWRITES)
def test_rewrites(style, name, texts):
    before, expected = texts
    assert after(name, before, style=style) == expected
    assert {o.verdict for o in ported(name, before, style=style).occurrences} <= {"rewritten", "safe"}


@pytest.mark.parametrize(("style", "name", "texts"), REWRITES)
def test_a_second_port_changes_nothing(style, name, texts):
    again = ported(name, after(name, texts[0], style=style), style=style)
    assert again.data is None
    assert {o.verdict for o in again.occurrences} <= {"safe"}


@pytest.mark.parametrize(("style", "name", "texts"), REWRITES)
def test_a_chip_that_keeps_cuda_needs_no_rewriting(style, name, texts):
    result = ported(name, texts[0], style=style, chip="nvidia-h100")
    assert result.data is None
    assert {o.verdict for o in result.occurrences} <= {"safe"}


def everything():
    """The first text of every section of every page."""
    titles = ["rewrites", "rewrites in the vendor style", "stays", "needs-you", "refused"]
    return [p for title in titles for p in sections(title)]


@pytest.mark.parametrize("chip", ["ascend-910c", "kunlun-p800", "nvidia-h100"])
@pytest.mark.parametrize("style", ["agnostic", "vendor"])
@pytest.mark.parametrize(("name", "texts"), everything())
def test_no_line_is_passed_over_in_silence(name, texts, style, chip):
    """Every line with a CUDA word, comments apart, lies in a place with a verdict."""
    places = ported(name, texts[0], style=style, chip=chip).occurrences
    told = {line for o in places for line in range(o.line, o.end_line + 1)}
    code = BLOCK_COMMENT.sub(lambda m: "\n" * m[0].count("\n"), texts[0])
    bound = {n for n, line in enumerate(code.splitlines(), 1) if is_bound(COMMENT.sub("", line))}
    assert bound <= told or any("left as it is" in o.reason for o in places)


@pytest.mark.parametrize(("name", "texts"), sections("stays"))
def test_stays(name, texts):
    for style in ("agnostic", "vendor"):
        result = ported(name, texts[0], style=style)
        assert result.data is None
        assert {o.verdict for o in result.occurrences} <= {"safe"}


@pytest.mark.parametrize(("name", "texts"), sections("needs-you"))
def test_needs_you(name, texts):
    """Every line with a CUDA word needs a person, and nothing is written."""
    result = ported(name, texts[0])
    assert result.data is None
    asked = {line for o in result.occurrences if o.verdict == "needs-you" for line in range(o.line, o.end_line + 1)}
    assert asked >= {n for n, line in enumerate(texts[0].splitlines(), 1) if is_bound(line)}
    assert asked
    assert all(o.reason for o in result.occurrences)


@pytest.mark.parametrize(("name", "texts"), sections("refused"))
def test_refused(name, texts):
    """Every line is refused by a chip that lacks the number format."""
    result = ported(name, texts[0])
    assert result.data is None
    assert {o.verdict for o in result.occurrences} == {"refused-by-chip"}
    assert {o.line for o in result.occurrences} == set(range(1, len(texts[0].splitlines()) + 1))
