"""Run the command line in a process of its own, with small shards so that small models have many."""

import hashlib
import subprocess
import sys
import textwrap

PROGRAM = textwrap.dedent("""
    import sys
    import xinqiao.convert.plan as plan
    plan.SHARD = 150_000
    from xinqiao.cli import main
    main()
""")


def command(*words):
    return [sys.executable, "-c", PROGRAM, *map(str, words)]


def run(*words, prefix=(), **how):
    return subprocess.run([*prefix, *command(*words)], capture_output=True, text=True, check=False, **how)


def digests(folder):
    """Every file below a folder under its SHA-256."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
