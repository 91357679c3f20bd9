"""A shell script as commands and words, each with its place in the text. Nothing is expanded or run."""

import re
from dataclasses import dataclass, field

from xinqiao.port.files.text import NotReadable

_MAX_DEPTH = 40  # of substitutions within substitutions
_BLANK = re.compile(r"(?:[ \t]|\\\r?\n)+")
_OPERATOR = re.compile(r"\|\||&&|;;&|;;|;&|\|&|[;&|()]|\r?\n")
_REDIRECTION = re.compile(r"(?:\d+|\{\w+\})?(?:&>>|&>|<<<|<<-|<<|<>|>>|>&|<&|>\||[<>])")
_PLAIN = re.compile(r"[^\s\\'\"$`;&|()<>]+")
_IN_DOUBLE = re.compile(r"[^\"\\$`]+")
_IN_BRACES = re.compile(r"[^}\"\\$`]+")
_ARRAY = re.compile(r"[A-Za-z_]\w*\+?=$")


@dataclass(frozen=True)
class Word:
    """text: as written. target: a file that output goes to, or input comes from."""

    start: int
    end: int
    text: str
    target: bool = False

    @property
    def value(self) -> str:
        """Without quotes; expansions stay as they are written."""
        return re.sub(r"\\(.)|['\"]", lambda m: m[1] or "", self.text)


@dataclass
class Command:
    """A simple command: its words, and the operators around it ('' is the text's end)."""

    words: list[Word] = field(default_factory=list)
    before: str = ""
    after: str = ""


@dataclass
class Script:
    """commands: in the order in which they end; documents: bodies of here-documents."""

    commands: list[Command] = field(default_factory=list)
    comments: list[tuple[int, int]] = field(default_factory=list)
    documents: list[tuple[int, int]] = field(default_factory=list)


def scan(text: str, start: int = 0, end: int | None = None) -> Script:
    """The commands of `text[start:end]`; NotReadable where a quote or a bracket is not closed."""
    scanner = _Scanner(text, len(text) if end is None else end)
    scanner.commands(start, "", 0)
    return scanner.script


class _Scanner:
    def __init__(self, text: str, end: int) -> None:
        self.text = text
        self.end = end
        self.script = Script()
        self._waiting: list[str] = []  # delimiters of here-documents

    def commands(self, at: int, closer: str, depth: int) -> int:
        """Read commands up to `closer`; answers where it begins."""
        if depth > _MAX_DEPTH:
            raise NotReadable(f"character {at}: nested too deep")
        command = Command(before="")
        while at < self.end:
            if closer and self.text.startswith(closer, at):
                self._close(command, closer)
                return at
            if skipped := self._nothing(at):
                at = skipped
            elif not command.words and self.text.startswith("((", at):
                at = self._arithmetic(at + 2)
            elif redirection := _REDIRECTION.match(self.text, at, self.end):
                at = self._redirection(redirection, command, depth)
            elif operator := _OPERATOR.match(self.text, at, self.end):
                self._close(command, operator[0].strip(" \t\r"))
                command = Command(before=operator[0].strip(" \t\r"))
                at = self._documents(operator.end()) if operator[0].endswith("\n") else operator.end()
            else:
                at = self._word(at, command, depth)
        if closer:
            raise NotReadable(f"character {at}: '{closer}' is missing")
        self._close(command, "")
        return at

    def _nothing(self, at: int) -> int:
        """Past blanks, or a comment; 0 where neither is."""
        if blank := _BLANK.match(self.text, at, self.end):
            return blank.end()
        return self._comment(at) if self.text[at] == "#" else 0

    def _close(self, command: Command, after: str) -> None:
        command.after = after
        if command.words:
            self.script.commands.append(command)

    def _comment(self, at: int) -> int:
        end = self.text.find("\n", at, self.end)
        end = self.end if end < 0 else end
        self.script.comments.append((at, end))
        return end

    def _redirection(self, found: re.Match[str], command: Command, depth: int) -> int:
        operator = found[0].lstrip("0123456789")
        at = found.end()
        if operator in ("<", ">") and self.text.startswith("(", at):
            return self.commands(at + 1, ")", depth + 1) + 1
        if blank := _BLANK.match(self.text, at, self.end):
            at = blank.end()
        if at >= self.end or self.text[at] in "\r\n;|()<>":
            return at
        if operator in ("<<", "<<-"):
            begin = at
            at = self._skip_word(at, depth)
            self._waiting.append(re.sub(r"[\\'\"]", "", self.text[begin:at]))
            return at
        return self._word(at, command, depth, target=operator != "<<<")

    def _documents(self, at: int) -> int:
        for delimiter in self._waiting:
            begin = at
            while at < self.end:
                end = self.text.find("\n", at, self.end)
                end = self.end if end < 0 else end
                if self.text[at:end].strip() == delimiter:  # indented too: the script may stand in another file
                    self.script.documents.append((begin, at))
                    at = min(end + 1, self.end)
                    break
                at = min(end + 1, self.end)
            else:
                self.script.documents.append((begin, at))
        self._waiting.clear()
        return at

    def _word(self, at: int, command: Command, depth: int, *, target: bool = False) -> int:
        end = self._skip_word(at, depth)
        if end == at:  # a lone '&' of '&>' and the like
            return at + 1
        command.words.append(Word(at, end, self.text[at:end], target))
        if self.text.startswith("(", end) and _ARRAY.match(self.text[at:end]):
            return self.commands(end + 1, ")", depth + 1) + 1
        return end

    def _skip_word(self, at: int, depth: int) -> int:
        while at < self.end:
            if plain := _PLAIN.match(self.text, at, self.end):
                at = plain.end()
            elif self.text[at] in "\\'\"$`":
                at = self._quoted(at, depth)
            else:
                return at
        return at

    def _quoted(self, at: int, depth: int) -> int:
        """Past one quotation or expansion that begins at `at`."""
        char = self.text[at]
        if char == "\\":
            return min(at + 2, self.end)
        if char == "'":
            return self._find("'", at + 1) + 1
        if char == '"':
            return self._double(at + 1, depth)
        if char == "`":
            close = self._find("`", at + 1, escapes=True)
            inner = _Scanner(self.text, close)
            inner.script = self.script
            inner.commands(at + 1, "", depth + 1)
            return close + 1
        return self._dollar(at, depth)

    def _dollar(self, at: int, depth: int) -> int:
        if self.text.startswith("$((", at):
            return self._arithmetic(at + 3)
        if self.text.startswith("$(", at):
            return self.commands(at + 2, ")", depth + 1) + 1
        if self.text.startswith("${", at):
            return self._braces(at + 2, depth + 1)
        if self.text.startswith("$'", at):
            return self._find("'", at + 2, escapes=True) + 1
        return at + 1

    def _double(self, at: int, depth: int) -> int:
        while at < self.end:
            if plain := _IN_DOUBLE.match(self.text, at, self.end):
                at = plain.end()
            elif self.text[at] == '"':
                return at + 1
            else:
                at = at + 1 if self.text.startswith("$'", at) else self._quoted(at, depth)
        raise NotReadable(f"character {at}: a quotation mark is missing")

    def _braces(self, at: int, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise NotReadable(f"character {at}: nested too deep")
        while at < self.end:
            if plain := _IN_BRACES.match(self.text, at, self.end):
                at = plain.end()
            elif self.text[at] == "}":
                return at + 1
            else:
                at = self._quoted(at, depth)
        raise NotReadable(f"character {at}: '}}' is missing")

    def _arithmetic(self, at: int) -> int:
        return self._find("))", at) + 2

    def _find(self, what: str, at: int, *, escapes: bool = False) -> int:
        """Where `what` is next; with `escapes`, not after a backslash."""
        found = self.text.find(what, at, self.end)
        while escapes and found > at and self.text[found - 1] == "\\":
            found = self.text.find(what, found + 1, self.end)
        if found < 0:
            raise NotReadable(f"character {at}: {what} is missing")
        return found
