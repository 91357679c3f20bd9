"""The formats that a checkpoint can be converted to."""

import msgspec


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One target.

    element                  of the codes; see xinqiao.formats
    block, scale             of the scales: rows and columns (0: all), 'f32' or 'pow2'; None: unscaled
    codes_dtype, scale_dtype as safetensors names them
    codes_name, scale_name   what replaces '.weight' in a weight's name
    loads                    the programs that load it: checked by running them, or as their source reads
    """

    name: str
    element: str
    block: tuple[int, int] = (0, 0)
    scale: str | None = None
    codes_dtype: str
    scale_dtype: str = ""
    codes_name: str = ".weight"
    scale_name: str = ""
    words: str
    source: str
    loads: str

    def names(self, weight: str) -> tuple[str, str]:
        """Of a weight's codes and scales. A parameter without '.weight' (experts in one tensor) keeps its own name."""
        if weight.endswith(".weight"):
            stem = weight.removesuffix(".weight")
            return stem + self.codes_name, stem + self.scale_name
        endings = (name.removeprefix(".weight").replace(".", "_") for name in (self.codes_name, self.scale_name))
        codes, scales = (weight + ending for ending in endings)
        return codes, scales


_EVERY = "transformers 5.24 (checked); vLLM 0.33, SGLang 0.5.23 (by their source)"
_ROWS = (
    Layout(
        name="bf16",
        element="bf16",
        codes_dtype="BF16",
        words="bfloat16, unscaled",
        source="the upper half of IEEE 754 binary32",
        loads=_EVERY,
    ),
    Layout(
        name="fp16",
        element="f16",
        codes_dtype="F16",
        words="IEEE half precision, unscaled",
        source="IEEE 754 binary16",
        loads=_EVERY,
    ),
    Layout(
        name="fp8-block",
        element="e4m3fn",
        block=(128, 128),
        scale="f32",
        codes_dtype="F8_E4M3",
        scale_dtype="F32",
        scale_name=".weight_scale_inv",
        words="FP8 with one F32 multiplier for 128 x 128 weights, as DeepSeek-V3 is published",
        source="deepseek-ai/DeepSeek-V3 README_WEIGHTS.md",
        loads=_EVERY,
    ),
    Layout(
        name="fp8-ue8m0",
        element="e4m3fn",
        block=(128, 128),
        scale="pow2",
        codes_dtype="F8_E4M3",
        scale_dtype="F32",
        scale_name=".weight_scale_inv",
        words="the same with powers of two as multipliers, in F32 tensors, as DeepSeek-V3.1 is published",
        source="deepseek-ai/DeepSeek-V3 inference/configs/config_v3.1.json",
        loads=_EVERY,
    ),
    Layout(
        name="fp8-ue8m0-v4",
        element="e4m3fn",
        block=(128, 128),
        scale="pow2",
        codes_dtype="F8_E4M3",
        scale_dtype="F8_E8M0",
        scale_name=".scale",
        words="the same with powers of two in E8M0 tensors named .scale, as DeepSeek-V4 is published",
        source="DeepSeek-V4 checkpoints",
        loads="transformers 5.24 (checked); vLLM 0.33, SGLang 0.5.23 (by their source, DeepSeek-V4 only)",
    ),
    Layout(
        name="mxfp8",
        element="e4m3fn",
        block=(1, 32),
        scale="pow2",
        codes_dtype="F8_E4M3",
        scale_dtype="U8",
        scale_name=".weight_scale",
        words="OCP MXFP8: FP8 with one power of two for 32 weights of a row",
        source="OCP Microscaling Formats 1.0",
        loads="transformers 5.24 (checked; not experts), compressed-tensors 0.20 (checked); vLLM 0.33 (by its source); "
        "by quant_model_description.json: vLLM's plug-in and SGLang 0.5.23 for chips with MXFP8 (by their source)",
    ),
    Layout(
        name="mxfp4",
        element="e2m1",
        block=(1, 32),
        scale="pow2",
        codes_dtype="U8",
        scale_dtype="U8",
        codes_name=".weight_packed",
        scale_name=".weight_scale",
        words="OCP MXFP4: FP4, two a byte, with one power of two for 32 weights of a row",
        source="OCP Microscaling Formats 1.0",
        loads="transformers 5.24, compressed-tensors 0.20 (checked); vLLM 0.33, SGLang 0.5.23 (experts) "
        "(by their source)",
    ),
    Layout(
        name="int8-channel",
        element="int8",
        block=(1, 0),
        scale="f32",
        codes_dtype="I8",
        scale_dtype="F32",
        scale_name=".weight_scale",
        words="INT8 with one multiplier for a row, activations quantised per token when it runs (W8A8)",
        source="compressed-tensors 0.20, int-quantized",
        loads="transformers 5.24 (checked; not experts), compressed-tensors 0.20 (checked); vLLM 0.33, SGLang 0.5.23 "
        "(by their source)",
    ),
    Layout(
        name="int8-block",
        element="int8",
        block=(128, 128),
        scale="f32",
        codes_dtype="I8",
        scale_dtype="F32",
        scale_name=".weight_scale_inv",
        words="INT8 with one multiplier for 128 x 128 weights",
        source="sglang blockwise_int8",
        loads="SGLang 0.5.23 (by its source)",
    ),
    Layout(
        name="hif8",
        element="hif8",
        block=(1, 0),
        scale="f32",
        codes_dtype="U8",
        scale_dtype="F32",
        scale_name=".weight_scale",
        words="HiF8, a float whose precision tapers, with one multiplier for a row",
        source="arXiv 2409.16626",
        loads="no other program that is known",
    ),
)
LAYOUTS = {row.name: row for row in _ROWS}
