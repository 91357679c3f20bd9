"""What `import torch` runs, through its entry-point group `torch.backends`. Does nothing unless XINQIAO_CHIP is set."""

import os
import sys


def autoload() -> None:
    """Bring up the chip that the environment names; one line and exit code 2 where that cannot be done."""
    if not os.environ.get("XINQIAO_CHIP") or _is_launcher():
        return
    from xinqiao.device.process import begin
    from xinqiao.errors import InputError

    try:
        begin()
    except InputError as error:
        print(f"xinqiao: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _is_launcher() -> bool:
    """torchrun imports torch too, but its children are the program."""
    words = sys.orig_argv
    return "RANK" not in os.environ and any(w == "torch.distributed.run" or w.endswith("torchrun") for w in words[:4])
