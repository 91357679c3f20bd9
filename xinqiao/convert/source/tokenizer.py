"""A tokenizer.json out of a GGUF file's metadata, for byte-level BPE."""

from collections.abc import Mapping
from typing import Any

import msgspec

from xinqiao.convert.source.gguf import Value

Json = dict[str, Any]
_CONTROL, _USER = 3, 4  # kinds of tokens that text is never split into
_WORDS = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|\\p{{N}}{digits}"
    "| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)


def _bytes(*, split: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": split}


def _regex(digits: str) -> Json:
    pattern = {"Regex": _WORDS.format(digits=digits)}
    words = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [words, _bytes(split=False)]}


_SPLITS: dict[str, Json] = {  # tokenizer.ggml.pre → how text is cut before pairs are merged
    "gpt-2": _bytes(split=True),
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _bytes(split=True)],
    },
    "llama-bpe": _regex("{1,3}"),
    "qwen2": _regex(""),
}
_ALIASES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2"}
_NORMALIZERS: dict[str, Json] = {"qwen2": {"type": "NFC"}}


def tokenizer_files(metadata: Mapping[str, Value]) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json; {} for a kind of tokenizer that is not known here."""
    tokens, merges = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.merges")
    split = _SPLITS.get(_kind(metadata))
    if metadata.get("tokenizer.ggml.model") != "gpt2" or split is None:
        return {}
    if not isinstance(tokens, list) or not isinstance(merges, list):
        return {}
    names = [str(token) for token in tokens]
    files = {
        "tokenizer.json": _tokenizer(metadata, names, [str(merge) for merge in merges], split),
        "tokenizer_config.json": _settings(metadata, names),
    }
    return {name: msgspec.json.encode(value) for name, value in files.items()}


def _tokenizer(metadata: Mapping[str, Value], tokens: list[str], merges: list[str], split: Json) -> Json:
    kinds = metadata.get("tokenizer.ggml.token_type")
    kinds = kinds if isinstance(kinds, list) else []
    added = [
        {
            "id": number,
            "content": tokens[number],
            "special": kind == _CONTROL,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
        for number, kind in enumerate(kinds[: len(tokens)])
        if kind in (_CONTROL, _USER)
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": _kind(metadata) == "llama-bpe",
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": merges,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": _NORMALIZERS.get(_kind(metadata)),
        "pre_tokenizer": split,
        "post_processor": _post(metadata, tokens),
        "decoder": _bytes(split=True),
        "model": model,
    }


def _kind(metadata: Mapping[str, Value]) -> str:
    name = str(metadata.get("tokenizer.ggml.pre"))
    return _ALIASES.get(name, name)


def _post(metadata: Mapping[str, Value], tokens: list[str]) -> Json:
    """What is done to the tokens of a text: the first token is put before them where the model wants it."""
    first = metadata.get("tokenizer.ggml.bos_token_id")
    wanted = metadata.get("tokenizer.ggml.add_bos_token", _kind(metadata) == "llama-bpe")
    if wanted is not True or not isinstance(first, int) or not 0 <= first < len(tokens):
        return _bytes(split=False)
    name = tokens[first]
    begin = [{"SpecialToken": {"id": name, "type_id": number}} for number in (0, 1)]
    texts = [{"Sequence": {"id": letter, "type_id": number}} for number, letter in enumerate("AB")]
    template = {
        "type": "TemplateProcessing",
        "single": [begin[0], texts[0]],
        "pair": [begin[0], texts[0], begin[1], texts[1]],
        "special_tokens": {name: {"id": name, "ids": [first], "tokens": [name]}},
    }
    return {"type": "Sequence", "processors": [_bytes(split=False), template]}


def _settings(metadata: Mapping[str, Value], tokens: list[str]) -> Json:
    found: Json = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for key, source in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = metadata.get(f"tokenizer.ggml.{source}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            found[f"{key}_token"] = tokens[number]
    template = metadata.get("tokenizer.chat_template")
    return found | ({"chat_template": template} if isinstance(template, str) else {})
