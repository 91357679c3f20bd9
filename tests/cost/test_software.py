"""Serving stacks: each with a source, each fact within what is possible."""

import pytest

from xinqiao.cost import software
from xinqiao.errors import InputError


@pytest.mark.parametrize("name", sorted(software.presets()))
def test_every_stack_has_a_source_and_possible_facts(name):
    found = software.load(name)
    assert found.title
    assert found.source
    assert 0 <= found.overlap <= 1
    assert 0 < found.memory <= 1
    assert found.chunk >= 1
    assert found.sequences >= 1
    assert found.kernels >= 1


@pytest.mark.parametrize(
    ("name", "says"),
    [("vlm", "no software 'vlm'; did you mean vllm; there are "), ("", "no software ''; there are ")],
)
def test_an_unknown_stack_is_refused_with_what_there_is(name, says):
    with pytest.raises(InputError, match="no software") as refused:
        software.load(name)
    assert str(refused.value).startswith(says)
    assert "sglang" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "fact", "value"),
    [
        ("tensorrt-llm-0", "grouped_queries", False),
        ("eager", "graphs", False),
        ("eager", "fused_quantise", False),
        ("vllm", "graphs", True),
        ("vllm", "overlap", 0.0),
    ],
)
def test_what_stacks_are_known_for(name, fact, value):
    assert getattr(software.load(name), fact) == value
