"""From a question to its page: every phase, every chip, and the same page from the printed JSON."""

import json

import pytest
from click.testing import CliRunner

from xinqiao.chips import catalog
from xinqiao.cli import main
from xinqiao.record.sizes import sized
from xinqiao.report import page
from xinqiao.size import show, sizes

CHIPS = ["ascend-910c", "kunlun-p800", "nvidia-h20"]


def invoke(*words):
    run = CliRunner().invoke(main, words)
    assert run.exit_code in (0, 1), run.output
    return run.stdout


def test_the_page_is_the_same_from_the_printed_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    question = ["size", "qwen3-8b", *(word for chip in CHIPS for word in ("--chip", chip))]
    invoke(*question, "--out", str(tmp_path / "a.html"))
    (tmp_path / "a.json").write_text(invoke(*question, "--format", "json"))
    invoke("report", str(tmp_path / "a.json"), "--out", str(tmp_path / "b.html"))
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


def test_answers_asked_one_by_one_are_one_page(tmp_path):
    for chip in CHIPS:
        (tmp_path / f"{chip}.json").write_text(invoke("size", "qwen3-8b", "--chip", chip, "--format", "json"))
    assert "answers" not in json.loads((tmp_path / f"{CHIPS[0]}.json").read_text())
    invoke("report", *(str(tmp_path / f"{chip}.json") for chip in CHIPS), "--out", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert all(f"<code>{chip}</code>" in text for chip in CHIPS)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("phase", ["prefill", "decode", "serve", "train", "finetune"])
def test_every_phase_has_a_page(phase, lang):
    asked = {"phase": phase, "price": 2.0} | ({"tokens": 1e9} if phase in ("train", "finetune") else {})
    text = page([sized(show.document(sizes("qwen3-8b", CHIPS, asked)))], lang=lang)
    assert "Kunlunxin P800: not found anywhere" in text
    assert 'class="whisker"' in text


def test_every_chip_has_a_page():
    names = catalog.names()
    text = page([sized(show.document(sizes("qwen3-8b", names, {"chips": 8})))], lang="en")
    assert all(f"<code>{name}</code>" in text for name in names)
