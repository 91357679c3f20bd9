"""Answers of aiconfigurator, in an environment that has it: one JSON question a line in, one answer a line out.

A question holds the arguments of its `cli_estimate`, with a model's published config in place of its path where
aiconfigurator does not ship it, and `tries`: batch sizes of which it takes the first that its memory check accepts.
"""

import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
from aiconfigurator.cli.api import cli_estimate  # noqa: E402

logging.disable(logging.CRITICAL)


def answer(question: dict) -> dict:
    """seconds: of the processor, in the call that answered; refused: the first thing that it said, if any."""
    tries, refused = question.pop("tries"), ""
    for batch in tries:
        start = time.process_time()
        try:
            made = cli_estimate(**question, batch_size=batch)
        except Exception as error:  # noqa: BLE001 — whatever it says is its answer
            refused = refused or str(error)
            continue
        figures = {name: float(made.raw[name]) for name in ("ttft", "tpot", "tokens/s", "tokens/s/gpu")}
        return {"batch": batch, "seconds": time.process_time() - start, "refused": refused, **figures}
    return {"batch": 0, "refused": refused}


def main() -> None:
    questions = [json.loads(line) for line in sys.stdin]
    with tempfile.TemporaryDirectory() as folder:
        for at, question in enumerate(questions):
            if config := question.pop("config", None):
                path = Path(folder, str(at))
                path.mkdir()
                path.joinpath("config.json").write_text(json.dumps(config))
                question["model_path"] = str(path)
            print(json.dumps(answer(question)), flush=True)
            print(f"aiconfigurator: {at + 1} of {len(questions)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
