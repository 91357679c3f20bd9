"""The page: what it says, in both languages; hostile names; size; contrast."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

import xinqiao.report
from tests.report.samples import incident, occurrence, operator, parting, port, proof, run, side, site, unproven
from xinqiao.errors import InputError
from xinqiao.record.schema import (
    Collective,
    Dependency,
    Evidence,
    Holder,
    Memory,
    MemoryPoint,
    ProofVerdict,
    Support,
    Verdict,
)
from xinqiao.report import default_language, page, write
from xinqiao.report.kinds import KINDS
from xinqiao.report.words import LANGUAGES, WORDS

TEMPLATES = Path(xinqiao.report.__file__).parent / "templates"
HOSTILE = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>", "{{ 7 * 7 }}", "{% raw %}", "javascript:alert(1)", "<!--", "-->", "]]>", "&lt;b&gt;",
    "<style>*{display:none}</style>", "<iframe src=//evil>", "<a href='javascript:1'>x</a>", "\u202eevil", "\x1b[31m",
    "<math><mtext></table><img>", "<b onmouseover=alert(1)>", "</title><script>", "`${alert(1)}`",
]  # fmt: skip


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = Counter(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def with_names(text):
    """Records whose every free text is `text`."""
    changes = {
        "title": text, "chip": text, "device": text, "argv": [text], "line": text, "caveats": [text],
        "incidents": [incident(operator=text, dtype=text, line=text, reason=text, source=text)],
        "versions": {text: text}, "operators": [operator(operator=text, dtype=text, support="unknown")],
        "collectives": [Collective(operator=text, backend=text, count=1, bytes=1, seconds=1.0)],
        "memory": [
            Memory(device=0, capacity=None, peak=1, end=0, curve=[MemoryPoint(seconds=t, bytes=1) for t in (0, 1)],
                   holders=[Holder(bytes=1, line=text, module=text)])
        ],
    }  # fmt: skip
    place = occurrence(file=text, before=text, after=text, reason=text, rule=text)
    where = site(file=text, function=text)
    parted = [
        parting(
            weight=w,
            kind=text,
            message=text,
            original=where,
            port=site(6, text),
            module=text,
            operator=text,
            details=[text],
        )
        for w in ("differs", "close", "note")
    ]
    proven = proof(
        verdict="differs",
        original=side(title=text, chip=text, argv=[text]),
        partings=parted,
        caveats=[text],
        bound_reason=text,
        unproven=[unproven(text=text)],
    )
    ported = port(title=text, occurrences=[place], dependencies=[package(text, version=text, known=text)])
    return [run(**changes), ported, run(**changes), proven]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_name_becomes_markup(text, lang):
    for kept in (slice(None), slice(3, None)):  # everything; the proof alone
        harmless = Elements(page(with_names("x")[kept], lang=lang))
        hostile = Elements(page(with_names(text)[kept], lang=lang))
        assert hostile.tags == harmless.tags
        assert hostile.attributes == harmless.attributes
        assert "script" not in hostile.tags
        assert not {a for a in hostile.attributes if a.startswith("on") or a in ("src", "href")}


def test_names_are_shown_as_they_are():
    text = page(with_names("<b>&x</b>"), lang="en")
    assert "<code>&lt;b&gt;&amp;x&lt;/b&gt;</code>" in text
    assert "&amp;lt;" not in text


def test_what_needs_a_person_comes_first():
    kinds = ["safe", "rewritten", "refused-by-chip", "needs-you"]
    text = page([port(occurrences=[occurrence(verdict=k, line=i, reason=k) for i, k in enumerate(kinds)])], lang="en")
    where = [text.index(f'class="why">{k}<') for k in reversed(kinds)]
    assert where == sorted(where)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([run(), run(title="B")], "All 3 numbers are bit-identical."),
        ([run(), run(title="B", values=[1.5, 2.0, 3.0])], "The largest difference is 0.25."),
        ([run(), run(title="B", values=[1.5])], "The lengths differ: 3, 1."),
        ([run(), run(title="B", readbacks=run().readbacks * 2)], "Only this run read them back: virtual B."),
        ([run(), run(mode="shapes")], "are fiction"),
        ([run(rank=1, ranks=4)], "1 (of 4)"),
        ([run()], "64 GiB"),
        ([run()], "aten::strange"),
        ([run()], "Memory bandwidth is not known"),
        ([run(memory=[])], "None."),
        ([run(operators=[])], "None."),
        ([run(argv=["train.py", "--lr", "1"], seed=1337)], "1337"),
        ([port(occurrences=[])], "Nothing that is bound to CUDA was found."),
    ],
)
def test_the_page_says(records, says):
    assert says in page(records, lang="en")


PARTED = proof(verdict="differs", partings=[parting(), parting(kind="host", weight="note", message="also copies")])


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([proof()], "=</span>Same"),
        ([proof(verdict="close")], "≈</span>Close"),
        ([PARTED], "≠</span>Differs"),
        ([proof()], "<b>1,500 of 1,500</b> calls of operators gave the same bits"),
        ([proof(unproven=[unproven()])], "<b>3 of 4</b> changed statements ran"),
        ([proof(unproven=[unproven(text="y = 1")])], "<code>y = 1</code>"),
        ([PARTED], "in the original: model.py:5"),
        ([PARTED], "<code>Net.body.0</code><br><code>aten::mm</code>"),
        ([PARTED], "relative distance 0.25"),
        ([PARTED], "<code>port:     float32[4, 4]</code>"),
        ([PARTED], "compare these two lines"),
        ([PARTED], "Also copies"),
        ([proof(verdict="close")], "Numbers up to 3.8e-06 apart"),
        ([proof(verdict="differs", partings=[parting(kind="memory", original=None, port=None)])], "the run as a whole"),
        ([proof(verdict="differs", partings=[parting(kind="of a newer version")])], "Of a newer version"),
        ([proof(ranks=2, verdict="differs", partings=[parting(rank=1)])], "rank 1"),
        ([proof(caveats=["only the first million calls"])], "Only the first million calls"),
        ([proof()], "most memory held"),
        ([port(occurrences=[])], "<code>xinqiao prove ORIGINAL PORT --chip a-chip --out DIR -- SCRIPT</code>"),
    ],
)
def test_the_page_of_a_proof_says(records, says):
    assert says in page(records, lang="en")


def test_a_proof_comes_before_everything_else():
    text = page([run(), port(), run(title="B"), PARTED], lang="en")
    order = ["Differs", "What to do", "Where the two runs part", "What was compared", "what needs you", "Worth knowing",
             "side by side"]  # fmt: skip
    where = [text.index(words) for words in order]
    assert where == sorted(where)


def test_next_to_a_proof_the_numbers_have_no_second_opinion():
    apart = [run(), run(title="B", values=[1.5, 2.0, 3.0])]
    assert "The largest difference" in page(apart, lang="en")
    text = page([*apart, proof(verdict="close")], lang="en")
    assert "The largest difference" not in text
    assert "bit-identical" not in page([run(), run(title="B"), PARTED], lang="en")
    assert "2.25" in text


def test_evidence_stays_out_of_the_page():
    kept = Evidence(
        kinds=[], sites=[], modules=[], entries="QUJD" * 1000, left_out=0, printed=["a secret"], failure=None,
        cuda_uses=[], reached={},
    )  # fmt: skip
    text = page([run(evidence=kept), proof()], lang="en")
    assert "QUJDQUJD" not in text
    assert "a secret" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_parting_is_in_both_languages(kind):
    for english, chinese in KINDS[kind]:
        assert bool(english) == bool(chinese)
        assert not chinese or re.search(r"[\u3001-\u9fff]", chinese)


def package(name="einops", **changes):
    looked_at = port()
    fields = {"version": "1.2", "modules": [name], "choice": "translate", "known": "",
              "occurrences": looked_at.occurrences, "summary": looked_at.summary}  # fmt: skip
    return Dependency(package=name, **{**fields, **changes})


def test_installed_packages_are_listed_where_they_are_bound_to_cuda():
    found = [package("bound"), package("free", occurrences=[]), package("asked", choice="", known="since 2.0 <source>")]
    text = page([port(dependencies=found)], lang="en")
    assert "<code>bound</code> 1.2" in text
    assert "are translated while it runs" in text
    assert "<code>free</code>" not in text
    assert "since 2.0 &lt;source&gt;" in text
    assert "In installed packages" not in page([port()], lang="en")


def test_an_unknown_capacity_is_said():
    memory = Memory(device=0, capacity=None, peak=5, end=0, curve=[], holders=[])
    assert "The memory capacity of A is not known" in page([run(memory=[memory])], lang="en")


def test_the_page_says_what_a_virtual_run_does_not_prove():
    for lang, words in (("en", "does not prove the chip&#39;s numerics"), ("zh", "不能证明芯片的数值结果")):
        assert words in page([run()], lang=lang)
        assert words not in page([run(virtual=False)], lang=lang)


def test_shapes_runs_are_marked_as_fiction():
    assert "fiction" in page([run(mode="shapes")], lang="en")


@pytest.mark.parametrize("key", WORDS)
def test_a_word_is_in_both_languages(key):
    english, chinese = WORDS[key]
    assert english
    assert re.search(r"[\u3001-\u9fff]", chinese) or key in ("rank_of", "of")
    fields = [sorted(re.findall(r"{(\w+)}", text)) for text in (english, chinese)]
    assert fields[0] == fields[1]


def test_no_words_are_left_in_the_templates():
    """Text between tags comes from the table, but for the product's name."""
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text().rpartition("<body>")[2]
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", "", text, flags=re.DOTALL).replace("Xinqiao 芯桥", "")
        assert not re.search(r"[A-Za-z\u4e00-\u9fff]{2,}", text), template


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme):
    """Every colour of the style but the hairlines' is used for text: WCAG asks for 4.5."""
    rules = re.findall(r":root \{(.*?)\}", (TEMPLATES / "drawing.css").read_text(), flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", rules[scheme == "dark"]))
    grounds = [luminance(colours.pop(name)) for name in ("paper", "card")]
    del colours["line"]
    for name, colour in colours.items():
        for ground in grounds:
            low, high = sorted((luminance(colour), ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name


@pytest.mark.parametrize(
    ("locale", "language"), [("zh_CN.UTF-8", "zh"), ("en_US.UTF-8", "en"), ("C", "en"), ("", "en"), ("ZH_TW", "zh")]
)
def test_language_follows_the_locale(locale, language, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    assert default_language() == language


def test_a_large_page_stays_small():
    many = run(operators=[operator(operator=f"aten::op{i}", seconds=1 / (i + 1)) for i in range(5000)])
    numbers = run(values=[i / 7 for i in range(10_000)])
    text = page([many, port(occurrences=[occurrence(line=i + 1) for i in range(2000)]), numbers, many], lang="en")
    assert 500_000 < len(text.encode()) < 3_000_000


@pytest.mark.parametrize("name", ["none/page.html", "."])
def test_a_place_that_cannot_be_written_is_said(name, tmp_path):
    with pytest.raises(InputError, match="not a file in a folder that exists"):
        write([run()], tmp_path / name, "en")
    assert list(tmp_path.iterdir()) == []


def test_no_records_are_said():
    with pytest.raises(InputError, match="no records"):
        page([], lang="en")


def test_a_page_is_written_whole(tmp_path):
    write([run()], tmp_path / "page.html", "en")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page([run()], lang="en")


def test_every_word_is_used():
    """The table holds the page's words and no others; support, verdict and mode are looked up by their own names."""
    package = TEMPLATES.parent
    files = [p for p in [*package.glob("*.py"), *TEMPLATES.iterdir()] if not p.name.endswith("words.py")]
    text = "".join(p.read_text() for p in files)
    by_name = {
        *get_args(Support),
        *get_args(Verdict),
        *get_args(ProofVerdict),
        "values",
        "shapes",
        "patch",
        "translate",
    }
    by_name |= {key for key in WORDS if key.startswith(("part_", "limit_", "bound_", "phase_", "level_"))}
    by_name |= {"verdict_refused", "verdict_fallback", *(f"proof_{v}" for v in get_args(ProofVerdict))}
    assert {k for key in WORDS if f'"{(k := key.removesuffix("_one"))}"' not in text} <= by_name
