"""Write docs/rules.md and docs/rules/ from the rules' own documentation and their pages of cases: `make docs`."""

from pathlib import Path

from xinqiao.port.pages import Page, pages
from xinqiao.port.show import parts

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CASES = ("tests/port", "tests/port/files")
HEAD = """# The rules of `xinqiao port`

One traversal of each file runs all of them. Every CUDA-bound place gets a verdict: `rewritten`, `safe`, `needs-you` or
`refused-by-chip`. Each rule has a page: what it does, why, when it is unsafe, where its facts come from, and the cases
that it is tested with. `xinqiao rules NAME` prints one. Made from the rules' own documentation by `make docs`.

| rule | what it does |
|---|---|
"""
TITLES = {
    "## rewrites": "## Rewritten: before, after",
    "## stays": "## Stays as it is",
    "## needs-you": "## Needs you",
}


def texts() -> dict[str, str]:
    """Every page as it should be, by its path in docs/."""
    rows = [f"| [{p.name}](rules/{p.name}.md) | {p.title} |\n" for p in pages().values()]
    return {"rules.md": HEAD + "".join(rows), **{f"rules/{p.name}.md": rule_page(p) for p in pages().values()}}


def rule_page(page: Page) -> str:
    """One rule: its documentation, then its cases."""
    said = [f"# {page.name}", page.title, *(f"**{title}**: {text}" for title, text in parts(page))]
    if page.example:
        said.append(f"```text\n{page.example}\n```")
    return "\n\n".join([*said, *_cases(page.name)]) + "\n"


def _cases(name: str) -> list[str]:
    stem = name.replace("-", "_")
    for folder in CASES:
        path = ROOT / folder / f"{stem}.md"
        if path.exists():
            lines = path.read_text().splitlines()
            kept = [TITLES.get(line, line) for line in lines if not line.startswith("# ")]
            return ["\n".join(kept).strip()]
    return []


def main() -> None:
    (DOCS / "rules").mkdir(exist_ok=True)
    wanted = texts()
    for path in (DOCS / "rules").glob("*.md"):
        if f"rules/{path.name}" not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
