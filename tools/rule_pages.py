"""Write docs/rules.md from the rules' own documentation: `make docs`."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "rules.md"
HEAD = """# The rules of `xinqiao port`

One traversal of each file runs all of them. Every CUDA-bound place gets a verdict: `rewritten`, `safe`, `needs-you` or
`refused-by-chip`. Made from the rules' own documentation by `make docs`; each rule's page of cases is in `tests/port/`.
"""


def text() -> str:
    """The page as it should be."""
    parts = [HEAD]
    for path in sorted((ROOT / "xinqiao/port/rules").glob("[a-z]*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text())) or ""
        title, _, body = documentation.partition("\n")
        name = path.stem.replace("_", "-")
        parts.append(f"## {name}\n\n{title}\n{body}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(text())
