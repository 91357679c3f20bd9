"""The page: what the records say, in the order in which a reader needs it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec.structs import asdict

from xinqiao.errors import InputError
from xinqiao.record.files import Record
from xinqiao.record.sizes import Answer, SizeRecord
from xinqiao.report import charts, kinds, numbers, sections, sizes
from xinqiao.report.lineup import compare
from xinqiao.report.steps import FOR_A_PERSON, place, steps
from xinqiao.report.verdict import chip_name, split, subject, verdict
from xinqiao.report.words import WORDS, Language, say, sentence

SHOWN = {  # of each list before the reader unfolds the rest
    "places": 12,
    "partings": 8,
    "unproven": 12,
    "bars": 20,
    "series": 3,
    "holders": 8,
}
CUT = {"operators": 300, "numbers": 200, "unproven": 500}  # of each list on the page at all; the record has the rest


def page(records: Sequence[Record], *, lang: Language) -> str:
    """The whole page as HTML. Nothing in it is fetched from elsewhere, and nothing in it runs. InputError for none."""
    if not records:
        raise InputError(
            "no records: give at least one file that `run --record`, `port --record` or `prove --out` wrote"
        )
    answers = [answer for record in records if isinstance(record, SizeRecord) for answer in record.answers]
    if answers:
        if not all(isinstance(record, SizeRecord) for record in records):
            raise InputError("answers of `size` and records of other kinds: make a page of each")
        return sizes_page(answers, lang=lang)
    runs, ports, proof = split(records)
    about = subject(runs) if runs else None
    moved = proof.port if proof else ports[-1].summary if ports else None
    return (
        _environment()
        .get_template("page.html")
        .render(
            lang="zh-Hans" if lang == "zh" else "en",
            say=partial(say, lang),
            sentence=sentence,
            chip_name=lambda run: chip_name(run, lang),
            numbers=numbers,
            charts=charts,
            bars=sections.bars,
            memory=lambda run: sections.memory(run, lang),
            places=sections.places(ports),
            dependencies=sections.dependencies(ports),
            proof=proof,
            counts=sections.counts(proof) if proof else [],
            steps=steps(proof, runs, ports, lang),
            site=place,
            kind_name=lambda kind: kinds.name(kind, lang),
            advice=lambda kind: kinds.advice(kind, lang),
            for_a_person=FOR_A_PERSON,
            comparison=compare(runs),
            title=say(lang, "title", chip=moved.title) if moved else say(lang, "title_run", chip=runs[-1].title),
            verdict=verdict(records, lang),
            runs=runs,
            ports=ports,
            about=about,
            others=[run for run in runs if run is not about],
            shown=SHOWN,
            cut=CUT,
        )
    )


def sizes_page(answers: Sequence[Answer], *, lang: Language) -> str:
    """The whole page of what `size` answered about one model on one chip or several. At least one answer."""
    return (
        _environment()
        .get_template("size.html")
        .render(
            lang="zh-Hans" if lang == "zh" else "en",
            say=partial(say, lang),
            has=lambda key: key in WORDS,
            sizes=sizes,
            asdict=asdict,
            numbers=numbers,
            charts=charts,
            title=say(lang, "size_title", model=answers[0].model),
            verdict=sizes.verdict(answers, lang),
            sentence_of=lambda answer: sizes.sentence_of(answer, lang),
            answers=answers,
            bars=partial(sizes.bars, answers, lang),
            stores=sizes.stores(answers),
            trade=sizes.trade(answers, lang),
            traded=sizes.traded(answers),
            roofline=lambda answer: sizes.roofline(answer, lang),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
