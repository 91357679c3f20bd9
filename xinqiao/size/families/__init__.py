"""Architectures by the model_type of their configuration: one row an architecture."""

from collections.abc import Callable

from xinqiao.size.families import dense, latent, mixtures
from xinqiao.size.families.parts import Plan
from xinqiao.size.keys import Keys

FAMILIES: dict[str, Callable[[Keys], Plan]] = {
    "llama": dense.llama,
    "mistral": dense.mistral,
    "phi3": dense.mistral,
    "qwen2": dense.qwen2,
    "qwen3": dense.qwen3,
    "qwen3_vl_text": dense.qwen3,
    "glm4": dense.glm4,
    "gemma2": dense.gemma2,
    "gemma3_text": dense.gemma3,
    "olmo2": dense.olmo2,
    "ernie4_5": dense.ernie,
    "hunyuan_v1_dense": dense.hunyuan,
    "PanguEmbedded": dense.pangu,
    "gpt2": dense.gpt2,
    "opt": dense.opt,
    "falcon": dense.falcon,
    "mixtral": mixtures.mixtral,
    "qwen2_moe": mixtures.qwen2_moe,
    "qwen3_moe": mixtures.qwen3_moe,
    "qwen3_vl_moe_text": mixtures.qwen3_moe,
    "qwen3_next": mixtures.qwen3_next,
    "qwen3_5_text": mixtures.qwen3_5,
    "qwen3_5_moe_text": mixtures.qwen3_5_moe,
    "glm4_moe": mixtures.glm4_moe,
    "gpt_oss": mixtures.gpt_oss,
    "ernie4_5_moe": mixtures.ernie,
    "minimax_m2": mixtures.minimax_m2,
    "hunyuan_v1_moe": mixtures.hunyuan_moe,
    "PanguProMoE": mixtures.pangu_pro_moe,
    "deepseek_v2": latent.deepseek_v2,
    "deepseek_v3": latent.deepseek_v3,
    "kimi_k2": latent.deepseek_v3,
    "deepseek_v32": latent.deepseek_v32,
    "deepseek_v4": latent.deepseek_v4,
    "glm_moe_dsa": latent.glm_moe_dsa,
    "pangu_ultra_moe": latent.pangu_ultra_moe,
}
