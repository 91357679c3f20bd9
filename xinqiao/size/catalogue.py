"""Public models by name: `models/*.json` hold the keys of each one's published config.json that say what it is."""

from pathlib import Path

from xinqiao.errors import InputError, nearest
from xinqiao.size.config import from_keys, read
from xinqiao.size.keys import load as load_keys
from xinqiao.size.model import Model

FOLDER = Path(__file__).parent / "models"
_ENDINGS = ("-hf", "-instruct", "-chat", "-base")  # of published names; the same widths under each


def names() -> list[str]:
    """All models, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> Model:
    """A model by name ('qwen3-8b') or by its name on Hugging Face ('Qwen/Qwen3-8B', 'meta-llama/Llama-2-7b-hf')."""
    wanted = name.lower().rpartition("/")[2]
    found = wanted if _file(wanted).exists() else _plain(wanted)
    if not _file(found).exists():
        close = nearest(found, names()) or f"; known are {', '.join(names())}"
        raise InputError(f"no model '{name}'{close}; or name a folder with a config.json")
    keys = load_keys(_file(found))
    return from_keys(keys, name=found, source=keys.word("source"))


def find(text: str) -> Model:
    """The model of an existing folder or config.json; else the one of that name."""
    path = Path(text)
    if path.exists():
        return read(path)
    if text.endswith(".json") or text.startswith((".", "/", "~")):
        raise InputError(
            f"{text}: no such file or folder; name a checkpoint's folder, its config.json, or a public model"
        )
    return load(text)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _plain(name: str) -> str:
    """Without what publishers put around a name."""
    plain = name.removeprefix("meta-")
    for _ in _ENDINGS:
        for ending in _ENDINGS:
            plain = plain.removesuffix(ending)
    return plain
