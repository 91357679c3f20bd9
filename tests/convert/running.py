"""Run the command line in a process of its own, with small shards so that small models have many."""

import hashlib
import json
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
SEVERAL = PROGRAM.replace("main()\n", "for words in json.loads(sys.argv[1]): main(words, standalone_mode=False)\n")


def command(*words):
    return [sys.executable, "-c", PROGRAM, *map(str, words)]


def run(*words, prefix=(), **how):
    return subprocess.run([*prefix, *command(*words)], capture_output=True, text=True, check=False, **how)


def run_all(*commands):
    """Commands one after the other in one process, which starts once; all must succeed."""
    words = json.dumps([[str(word) for word in words] for words in commands])
    program = [sys.executable, "-c", "import json\n" + SEVERAL, words]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def digests(folder):
    """Every file below a folder under its SHA-256."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
