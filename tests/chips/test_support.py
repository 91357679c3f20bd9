"""The support table as a specification: operator x dtype x chip -> state, and why."""

import json
import tomllib

import pytest

from xinqiao.chips.catalog import load, names
from xinqiao.chips.names import base, family
from xinqiao.chips.read import PLATFORMS, TABLES
from xinqiao.chips.support import support
from xinqiao.errors import InputError


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten::add.Tensor", "add"),
        ("aten::add_.Tensor", "add"),
        ("aten::add.out", "add"),
        ("aten::addmm.out", "addmm"),
        ("aten::gelu", "gelu"),
        ("aten::gelu.out", "gelu"),
        ("aten::gelu_backward", "gelu_backward"),
        ("aten::gelu_backward.grad_input", "gelu_backward"),
        ("aten::_foreach_add_.List", "_foreach_add"),
        ("aten::_fused_adamw_", "_fused_adamw"),
        ("aten::copy_", "copy"),
        ("aten::__ilshift__.Scalar", "__lshift__"),
        ("aten::__lshift__.Scalar", "__lshift__"),
        ("aten::normal_functional", "normal"),
        ("aten::_to_copy", "_to_copy"),
        ("mm", "mm"),
    ],
)
def test_base(operator, expected):
    assert base(operator) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten::add_.Tensor", "add.Tensor"),
        ("aten::mm.out", "mm"),
        ("aten::isin.Tensor_Tensor_out", "isin.Tensor_Tensor"),
        ("aten::sum.dim_IntList", "sum.dim_IntList"),
    ],
)
def test_family(operator, expected):
    assert family(operator) == expected


@pytest.mark.parametrize(
    ("chip", "operator", "dtype", "state", "reason"),
    [
        # a declared kernel is native, under every variant's name
        ("910c", "aten::mm", "float32", "native", "kernel mm is declared"),
        ("910c", "aten::mm.out", "float16", "native", "kernel mm is declared"),
        ("910c", "aten::add.Tensor", "float32", "native", "kernel add.Tensor is declared"),
        ("910c", "aten::add_.Tensor", "float32", "native", "kernel add.Tensor is declared"),
        ("910c", "aten::add.out", "float32", "native", "kernel add.Tensor is declared"),
        ("910c", "aten::addmm.out", "bfloat16", "native", "kernel addmm is declared"),
        ("910c", "aten::gelu.out", "float32", "native", "kernel gelu is declared"),
        ("910c", "aten::gelu_backward.grad_input", "bfloat16", "native", "kernel gelu_backward is declared"),
        ("910c", "aten::native_layer_norm", "float16", "native", "kernel native_layer_norm is declared"),
        ("910c", "aten::_foreach_add_.List", "float32", "native", "kernel _foreach_add.List is declared"),
        ("910c", "aten::_fused_adamw_", "float32", "native", "kernel _fused_adamw is declared"),
        ("910c", "aten::isin.Tensor_Tensor_out", "int64", "native", "kernel isin.Tensor_Tensor is declared"),
        ("910b", "aten::_softmax.out", "float64", "native", "kernel _softmax is declared"),
        ("s4000", "aten::mm.out", "float16", "native", "kernel mm is declared"),
        ("mlu590", "aten::gelu", "float16", "native", "kernel gelu is declared"),
        ("h200", "aten::mm.out", "float64", "native", "kernel mm is declared"),
        ("mi300x", "aten::gelu_backward.grad_input", "float32", "native", "kernel gelu_backward is declared"),
        # names that PyTorch gives to a vendor's own operator
        (
            "910c", "aten::_scaled_dot_product_fused_attention_overrideable", "bfloat16",
            "native", "kernel scaled_dot_product_attention is declared",
        ),
        (
            "910c", "aten::_scaled_dot_product_fused_attention_overrideable_backward", "float16",
            "native", "kernel scaled_dot_product_attention is declared",
        ),
        (
            "h200", "aten::_scaled_dot_product_flash_attention", "bfloat16",
            "native", "kernel _scaled_dot_product_flash_attention is declared",
        ),
        ("910c", "aten::convolution_overrideable", "float32", "native", "kernel convolution_overrideable is"),
        ("s4000", "aten::convolution_backward", "float32", "native", "kernel convolution_backward_over"),
        # views and metadata, everywhere and at every dtype
        ("910c", "aten::view", "float8_e4m3fn", "native", "a view, metadata or allocation"),
        ("p800", "aten::as_strided", "float32", "native", "a view, metadata or allocation"),
        ("br166", "aten::transpose.int", "float32", "native", "a view, metadata or allocation"),
        ("910c", "aten::empty.memory_format", "float64", "native", "a view, metadata or allocation"),
        ("910c", "aten::detach", "float64", "native", "a view, metadata or allocation"),
        # copies, but not at a dtype that the chip refuses
        ("p800", "aten::copy_", "float32", "native", "a copy"),
        ("910c", "aten::_to_copy", "float64", "native", "a copy"),
        ("910c", "aten::_to_copy", "float8_e4m3fn", "refused", "Huawei Ascend 910C refuses float8_e4m3fn"),
        # composed by PyTorch of operators that are asked for by themselves
        ("910c", "aten::zeros_like", "float64", "native", "PyTorch composes it"),
        ("h200", "aten::_softmax_backward_data", "float32", "native", "kernel _softmax_backward_data is"),
        # the chip as a whole refuses the dtype
        ("910b", "aten::mm", "float8_e5m2", "refused", "refuses float8_e5m2"),
        ("910c", "aten::_scaled_mm", "float8_e4m3fn", "refused", "refuses float8_e4m3fn"),
        ("950dt", "aten::_scaled_mm", "float8_e4m3fn", "native", "kernel _scaled_mm is declared"),
        # the vendor's page lists dtypes, without the wide ones
        ("910c", "aten::mm", "float64", "refused", "lists bfloat16, float16, float32 only"),
        ("910c", "aten::gelu", "float64", "refused", "the page of torch.nn.functional.gelu lists"),
        ("910c", "aten::gelu_backward.grad_input", "float64", "refused", "torch.nn.functional.gelu lists"),
        ("910b", "aten::cumsum.out", "float64", "refused", "the page of torch.cumsum"),
        ("910c", "aten::add.Tensor", "complex64", "refused", "the page of torch.add"),
        ("910c", "aten::add.Tensor", "float64", "native", "kernel add.Tensor is declared"),
        # a narrower dtype that a page leaves out: pages are noisy
        ("910c", "aten::silu.out", "bfloat16", "unknown", "declared, but the page of torch.nn"),
        ("910c", "aten::multinomial", "bfloat16", "unknown", "kernel multinomial is declared, but the page"),
        # the page says no, and nothing is declared
        ("910c", "aten::mode", "float32", "fallback", "says no for A3, and no kernel is declared"),
        ("910b", "aten::poisson", "float32", "fallback", "says no for A2, and no kernel is declared"),
        # the page says no, and a kernel is declared
        ("910c", "aten::avg_pool3d.out", "float32", "unknown", "sources disagree: kernel avg_pool3d"),
        ("950dt", "aten::embedding", "float32", "unknown", "sources disagree: kernel embedding is declared"),
        # nothing is said
        ("910c", "aten::linalg_cholesky_ex", "float32", "unknown", "no kernel linalg_cholesky_ex is"),
        ("mlu590", "aten::_fused_adamw_", "float32", "unknown", "no kernel _fused_adamw is declared"),
        ("mlu590", "aten::round.decimals_out", "float32", "unknown", "declared for round only"),
        ("h200", "aten::no_such_operator", "float32", "unknown", "no kernel no_such_operator is declared"),
        ("p800", "aten::mm", "float16", "unknown", "no operator list of Kunlunxin P800 is known"),
        ("910c", "npu::npu_fusion_attention", "float16", "unknown", "is not one of PyTorch's own operators"),
    ],
)  # fmt: skip
def test_support(chip, operator, dtype, state, reason):
    answer = support(load(chip), operator, dtype)
    assert answer.state == state, answer
    assert reason in answer.reason


@pytest.mark.parametrize(
    ("chip", "operator", "source", "version"),
    [
        ("910c", "aten::mm", "Ascend/op-plugin", "517f2e7 (2026-08-21)"),
        ("910c", "aten::mode", "Ascend/pytorch docs", "9e73e70 (2026-08-21)"),
        ("910c", "aten::avg_pool3d", "Ascend/op-plugin", "517f2e7 (2026-08-21); 9e73e70 (2026-08-21)"),
        ("s4000", "aten::mm", "MooreThreads/torch_musa", "8b583b3 (2026-01-19)"),
        ("mlu590", "aten::mm", "Cambricon/torch_mlu", "d578002 (2024-09-18, written for torch 2.1-2.4)"),
        ("h200", "aten::mm", "torchgen/packaged/ATen/native/native_functions.yaml", "torch 2.13.0"),
    ],
)
def test_an_answer_names_source_and_version(chip, operator, source, version):
    answer = support(load(chip), operator, "float32")
    assert answer.source.startswith(source)
    assert answer.version == version


def test_a_column_that_the_table_lacks(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("base = 'ascend-910c'\ntitle = 'Mine'\n[software]\npages = 'A9'")
    with pytest.raises(InputError, match=r"mine: software\.pages: 'A9' is not one of A2, A3, 950DT"):
        support(load(str(path)), "aten::mm", "float32")


@pytest.mark.parametrize(
    ("policy", "operator", "dtype", "state"),
    [
        ("unsupported_operator = 'refuse'", "aten::mode", "float32", "refused"),
        ("unsupported_operator = 'unknown'", "aten::mode", "float32", "unknown"),
        ("unsupported_dtype = 'fallback'", "aten::mm", "float64", "fallback"),
    ],
)
def test_the_vendors_software_decides_what_unsupported_means(tmp_path, policy, operator, dtype, state):
    path = tmp_path / "mine.toml"
    path.write_text(f"base = 'ascend-910c'\ntitle = 'Mine'\n[software]\n{policy}")
    assert support(load(str(path)), operator, dtype).state == state


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.json")), ids=lambda path: path.stem)
def test_tables_carry_their_licence(path):
    table = json.loads(path.read_text())
    assert table["schema"] == 1
    for key in ("kernels_from", "pages_from"):
        if key in table:
            assert table[key]["licence"]
            assert table[key]["version"]


def test_the_api_pages_are_attributed():
    pages = json.loads((TABLES / "ascend.json").read_text())["pages_from"]
    assert pages["licence"].startswith("CC-BY-4.0")
    assert "Huawei" in pages["attribution"]
    assert "converted" in pages["attribution"]


@pytest.mark.parametrize(
    ("chip", "operator", "dtype", "state", "reason"),
    [
        ("910b", "nsa_selected", "bfloat16", "native", "the vendor has npu_nsa_select_attention"),
        ("910b", "nsa_selected", "float32", "native", "composed of PyTorch's operators"),
        ("910c", "nsa_selected", "bfloat16", "native", "composed of PyTorch's operators"),
        ("910c", "dsa_index", "float16", "native", "the vendor has npu_lightning_indexer"),
        ("910c", "dsa_index", "float8_e4m3fn", "refused", "refuses float8_e4m3fn"),
        ("910c", "nsa_selected", "float64", "unknown", "has some of them in float64"),
        ("p800", "linear_int8", "float16", "unknown", "nothing says whether Kunlunxin P800 has float16"),
        ("h200", "linear_int8", "float16", "native", "composed of PyTorch's operators"),
    ],
)
def test_operators_of_this_package(chip, operator, dtype, state, reason):
    answer = support(load(chip), f"xinqiao::{operator}", dtype)
    assert answer.state == state
    assert reason in answer.reason


@pytest.mark.parametrize("path", sorted(PLATFORMS.glob("*.toml")), ids=lambda path: path.stem)
def test_rows_of_vendors_kernels_name_chips_and_sources(path):
    for row in tomllib.loads(path.read_text()).get("fused", []):
        assert row["source"]
        assert set(row["chips"]) <= set(names())
