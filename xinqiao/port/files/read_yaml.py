"""YAML's scalars. Events are read, nothing is built: aliases are not followed, and nesting is no recursion."""

from collections.abc import Iterator

import yaml

from xinqiao.port.files.scalars import Scalar, Walk
from xinqiao.port.files.text import NotReadable

MAX_CHARACTERS = 1_000_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STYLES = {"'": "'", '"': '"', "|": "|", ">": "|"}


def scalars(text: str) -> Iterator[Scalar]:
    """NotReadable where it is not YAML, too long, or nested too deep."""
    if len(text) > MAX_CHARACTERS:
        raise NotReadable(f"longer than {MAX_CHARACTERS:,} characters")
    walk = Walk()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            yield from _event(event, walk, text)
            if walk.too_deep:
                raise NotReadable("nested too deep")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise NotReadable(f"not YAML ({where}{getattr(error, 'problem', None) or 'it cannot be read'})") from error
    except (RecursionError, UnicodeError) as error:
        raise NotReadable("not YAML that can be read") from error


def _event(event: yaml.Event, walk: Walk, text: str) -> Iterator[Scalar]:
    if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
        if walk.frames and walk.frames[-1].key is not None:
            frame = walk.frames[-1]
            yield Scalar(frame.keys, frame.key or "", frame.key_start, frame.key_end, is_key=True)
        elif walk.awaits_key:
            walk.frames[-1].key = ""  # a key that is a list or a table itself: what is in it counts as its value
        walk.open("map" if isinstance(event, yaml.MappingStartEvent) else "list")
    elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
        walk.close()
    elif isinstance(event, yaml.AliasEvent):
        _alias(walk)
    elif isinstance(event, yaml.ScalarEvent):
        yield from _scalar(event, walk, text)


def _alias(walk: Walk) -> None:
    if walk.awaits_key:
        walk.frames[-1].key = ""
    elif walk.frames:
        walk.frames[-1].done("")


def _scalar(event: yaml.ScalarEvent, walk: Walk, text: str) -> Iterator[Scalar]:
    start, end = event.start_mark.index, event.end_mark.index
    if walk.awaits_key:
        frame = walk.frames[-1]
        frame.key, frame.key_start, frame.key_end = event.value, start, end
        return
    quote = _STYLES.get(event.style or "", "")
    if quote in ("'", '"'):
        start, end = start + 1, end - 1
    frame_ = walk.frames[-1] if walk.frames else None
    entry = (frame_.key_start, event.end_mark.index) if frame_ and not walk.in_list else None
    yield Scalar(
        walk.keys(),
        event.value,
        start,
        end,
        quote,
        exact=text[start:end] == event.value,
        before=frame_.before if frame_ and walk.in_list else "",
        entry=entry,
    )
    if frame_:
        frame_.done(event.value)
