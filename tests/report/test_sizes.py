"""The page of `size`: the decision first, what is unknown in full, no name becomes markup."""

import pytest

from tests.report.samples import run
from tests.report.size_samples import RATE, answer, document, row, silent
from tests.report.test_page import HOSTILE, Elements
from xinqiao.errors import InputError
from xinqiao.record.sizes import sized
from xinqiao.report import page, sizes
from xinqiao.report.words import LANGUAGES

SLOW = {"value": 40.0, "low": 30.0, "high": 50.0}
NEAR = {"value": 90.0, "low": 70.0, "high": 110.0}
FULL = {"weights": 90.0 * 2**30, "cache": 0.0, "total": 90.0 * 2**30, "capacity": 64.0 * 2**30, "fits": False}
NOT_TOLD = {"weights": 30.0 * 2**30, "total": 30.0 * 2**30, "capacity": None, "fits": None}


def made(*answers, lang="en"):
    return page([sized(document(*answers))], lang=lang)


def verdict(*answers, lang="en"):
    return sizes.verdict(sized(document(*answers)).answers, lang)


def other(rate, **changes):
    return answer(title="B", serving_tokens_per_second_per_chip=rate, **changes)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param(
            [answer()],
            "a-model in bf16 fits on 8 × A, with 40 GiB on each device: 100 (80–125) tokens a second from each chip,"
            " and a token every 40 (32–50) ms.",
            id="one chip",
        ),
        pytest.param(
            [answer(phase="prefill", prefill_tokens_per_second_per_chip=RATE)],
            "a-model in bf16 fits on 8 × A, with 40 GiB on each device: 100 (80–125) tokens a second from each chip.",
            id="no time per token in prefill",
        ),
        pytest.param(
            [answer(memory=FULL)],
            "a-model in bf16 does not fit on 8 × A: it needs 90 GiB on each device,"
            " more than the software takes of 64 GiB.",
            id="does not fit",
        ),
        pytest.param(
            [silent()],
            "a-model in bf16 fits on 8 × S, with 40 GiB on each device."
            " Its speed is not predicted: memory bandwidth of S: not found.",
            id="unknown bandwidth",
        ),
        pytest.param(
            [silent(memory=NOT_TOLD)],
            "a-model in bf16 needs 30 GiB on each device of 8 × S; no source states how much they have."
            " Its speed is not predicted: memory bandwidth of S: not found.",
            id="unknown capacity",
        ),
        pytest.param(
            [answer(), other(SLOW)],
            "8 × A make the most: 800 (640–1,000) tokens a second in all.",
            id="intervals apart",
        ),
        pytest.param(
            [answer(), other(NEAR)],
            "8 × A make the most: 800 (640–1,000) tokens a second in all."
            " This prediction cannot tell them apart from 8 × B: the intervals overlap.",
            id="intervals overlap",
        ),
        pytest.param(
            [answer(chips=1), other(SLOW)],
            "8 × B make the most: 320 (240–400) tokens a second in all.",
            id="all chips together decide",
        ),
        pytest.param(
            [answer(), silent(), other(RATE, memory=FULL)],
            "8 × A make the most: 800 (640–1,000) tokens a second in all. No speed is told for 8 × S, 8 × B.",
            id="some say nothing",
        ),
        pytest.param([silent(), silent()], "No speed can be predicted for any of these chips.", id="none is known"),
    ],
)
def test_the_decision(answers, says):
    assert verdict(*answers) == says


def test_the_decision_in_chinese():
    assert verdict(answer(), lang="zh") == (
        "a-model（bf16）放得进 8 × A，每个设备占用 40 GiB：每个芯片每秒 100 (80–125) 个词元，每个词元 40 (32–50) 毫秒。"
    )


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([answer()], "This is a prediction, not a measurement."),
        ([answer(), other(SLOW)], "Tokens a second from each chip"),
        ([answer(chips=2), other(SLOW)], "Tokens a second from all chips together"),
        ([silent()], '<bdi>unknown: memory bandwidth of S: not found</bdi>'),
        ([answer()], "weights: 30 GiB"),
        ([answer()], "KV cache: 10 GiB"),
        ([answer(memory={**FULL, "optimizer": 1.0})], "optimizer: 1 B"),
        ([answer(memory={**FULL, "a new part": 1.0})], "a new part: 1 B"),
        ([answer(memory=NOT_TOLD)], "No source states what it has."),
        ([answer()], "memory bandwidth, 1.60 TB/s"),
        ([answer()], ">mlp up</bdi></span>"),
        ([answer()], "<td class=\"n\">+7.8 %</td>"),
        ([answer()], "a curve of efficiency"),
        ([answer()], "Show 3 operators"),
        ([answer()], '<td class="n">200 TFLOP/s</td>'),
        ([answer(mfu={"value": 0.41, "low": 0.3, "high": 0.5})], "0.41 (0.3–0.5)"),
        ([answer()], "KV cache in bf16"),
        ([answer()], "<code>tp 8</code>"),
    ],
)  # fmt: skip
def test_the_page_says(answers, says):
    assert says in made(*answers)


def test_the_decision_comes_first_and_what_it_rests_on_last():
    text = made(answer(), silent())
    order = ["make the most", "not a measurement", "<h2>Throughput</h2>", "<h2>Memory</h2>", "against latency</h2>",
             "What limits", "Roofline", "All figures", "A rests on"]  # fmt: skip
    where = [text.index(words) for words in order]
    assert where == sorted(where)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_becomes_markup(text, lang):
    def named(name):
        fields = dict.fromkeys(("model", "chip", "title", "software"), name)
        formats = dict.fromkeys(answer()["formats"], name)
        rows = [row(name=name, part=name, bound=name, level=name, format=name)]
        limits = [{"resource": name, "share": 1.0, "ten_percent": 0.1}]
        lists = {"assumptions": [name], "unknown": [name], "by_operator": rows, "limits": limits}
        memory = {name: 1.0, "total": 1.0, "capacity": None, "fits": None}
        loud = answer(**fields, formats=formats, memory=memory, roofs={name: 1e12}, **lists)
        return made(loud, silent(**fields, unknown=[name]), lang=lang)

    harmless, hostile = Elements(named("x")), Elements(named(text))
    assert hostile.tags == harmless.tags
    assert hostile.attributes == harmless.attributes
    assert "script" not in hostile.tags


def test_what_is_not_known_is_not_drawn():
    text = made(silent())
    assert "hatch" in text
    assert "dot" not in text.partition("</style>")[2]


def test_answers_and_runs_are_pages_of_their_own():
    with pytest.raises(InputError, match="make a page of each"):
        page([sized(document(answer())), run()], lang="en")


def test_answers_of_several_files_are_one_page():
    text = page([sized(document(answer())), sized(document(silent()))], lang="en")
    assert "8 × A" in text
    assert "8 × S" in text
