"""The sentences at the top of the page."""

import pytest

from tests.report.samples import incident, occurrence, parting, port, proof, run, side, site, unproven
from xinqiao.errors import InputError
from xinqiao.record.schema import Readback
from xinqiao.report import verdict
from xinqiao.report.steps import steps

NEEDS_YOU = occurrence(verdict="needs-you", after="")
ORIGINAL, PORTED = run(title="A", chip="a"), run(title="B", chip="b")


def ported(**changes):
    return run(title="B", chip="b", **changes)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        pytest.param(
            [ORIGINAL, port(occurrences=[NEEDS_YOU] * 2), PORTED],
            "The port runs on the virtual B and read back the same 3 numbers as the original on the virtual A.",
            id="the same numbers",
        ),
        pytest.param(
            [ORIGINAL, port(occurrences=[NEEDS_YOU]), ported(values=[1.5, 2.5, 3.0])],
            "The port runs on the virtual B, but its numbers differ from those of the original on the virtual A,"
            " by 0.25 at most.",
            id="other numbers",
        ),
        pytest.param(
            [ORIGINAL, port(occurrences=[]), ported(values=[1.5])],
            "The port runs on the virtual B, but not every number could be compared with the original on the virtual A:"
            " one of them read back more than the other.",
            id="fewer numbers",
        ),
        pytest.param(
            [ORIGINAL, port(occurrences=[]), ported(readbacks=[])],
            "The port runs on the virtual B. Nothing was compared with the original on the virtual A:"
            " no numbers were recorded for both.",
            id="no numbers",
        ),
        pytest.param(
            [ORIGINAL, port(occurrences=[]), ported(exit_code=1)],
            "The port stopped with exit code 1 on the virtual B.",
            id="the port failed",
        ),
        pytest.param(
            [run(title="A", chip="a", exit_code=2), port(occurrences=[]), PORTED],
            "The original stopped with exit code 2 on the virtual A.",
            id="the original failed",
        ),
        pytest.param(
            [run(rank=r, ranks=2, exit_code=r) for r in (0, 1)],
            "The program stopped with exit code 1 on the virtual A.",
            id="one rank failed",
        ),
        pytest.param([run()], "The program runs on the virtual A.", id="one run"),
        pytest.param(
            [ORIGINAL, PORTED],
            "The program runs on the virtual B and read back the same 3 numbers as the first run on the virtual A.",
            id="two runs",
        ),
        pytest.param([run(virtual=False, readbacks=[])], "The program runs on the A.", id="a real chip"),
        pytest.param(
            [run(mode="shapes")], "The program runs on the virtual A, in shapes mode: without data.", id="shapes"
        ),
        pytest.param(
            [port(occurrences=[NEEDS_YOU])],
            "The code was moved to A; it has not run yet.",
            id="no run",
        ),
        pytest.param(
            [run(incidents=[incident(), incident(line="b.py:1")])],
            "The program runs on the virtual A. 1 operator runs on the host, slowly.",
            id="one operator at two places",
        ),
        pytest.param(
            [run(incidents=[incident(), incident(dtype="int32"), incident(operator="aten::x", support="refused")])],
            "The program runs on the virtual A. The chip refuses 1 operator. 2 operators run on the host, slowly.",
            id="refused and moved",
        ),
    ],
)  # fmt: skip
def test_in_english(records, says):
    assert verdict(records, "en") == says


def test_in_chinese():
    assert (
        verdict([ORIGINAL, port(occurrences=[NEEDS_YOU]), PORTED], "zh")
        == "移植后的程序能在虚拟 B 上运行，读回的 3 个数与原程序在虚拟 A 上的完全相同。"
    )


def test_every_rank_is_compared_with_its_own():
    def rank(number, title):
        values = [float(number), 0.5]
        return run(title=title, chip=title, rank=number, ranks=2, readbacks=[Readback(line="x", values=values)])

    records = [rank(0, "A"), rank(1, "A"), port(), rank(0, "B"), rank(1, "B")]
    assert "the same 4 numbers" in verdict(records, "en")


PARTED = proof(verdict="differs", partings=[parting()])
STOPPED = proof(
    verdict="differs", partings=[parting(kind="failure", original=None, port=site(12, "train.py"), distance=None)]
)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([proof()], "The port on the virtual B computes what the original computes on the virtual A, bit for bit."),
        (
            [proof(verdict="close")],
            "The port on the virtual B computes what the original computes on the virtual A, but for rounding.",
        ),
        ([PARTED], "The port on the virtual B does not do what the original does on the virtual A."),
        ([STOPPED], "The port stopped on the virtual B."),
        (
            [proof(port=side(title="B", virtual=False))],
            "The port on the B computes what the original computes on the virtual A, bit for bit.",
        ),
        pytest.param(
            [ORIGINAL, ported(values=[9.0], exit_code=1, incidents=[incident()]), proof(verdict="close")],
            "The port on the virtual B computes what the original computes on the virtual A, but for rounding."
            " 1 operator runs on the host, slowly.",
            id="the runs have no second opinion",
        ),
    ],
)
def test_a_proof_has_the_word(records, says):
    assert verdict(records, "en") == says


@pytest.mark.parametrize("one", [proof(), proof(verdict="close"), PARTED, STOPPED], ids=lambda p: p.verdict)
def test_a_proof_in_chinese(one):
    assert verdict([one], "zh").startswith("移植后的程序在虚拟 B 上")


def test_two_proofs_are_refused():
    with pytest.raises(InputError, match="2 proofs"):
        verdict([proof(), proof()], "en")


@pytest.mark.parametrize(
    ("one", "ports", "says"),
    [
        (None, [], []),
        (
            proof(),
            [],
            ["Nothing is left to do here. On the chip itself, keep a record, and compare it with the virtual one:"],
        ),
        (proof(port=side(virtual=False)), [], ["Nothing is left to do."]),
        (proof(), [port(occurrences=[NEEDS_YOU])], ["1 place in the code needs you."]),
        (
            proof(unproven=[unproven(), unproven(12)]),
            [],
            ["2 of the 4 statements that the port changed never ran: nothing is proven of them."
             " Run the program in a way that reaches them."],
        ),
        (
            proof(verdict="differs", partings=[parting()], unproven=[unproven()]),
            [port(occurrences=[NEEDS_YOU, occurrence(verdict="refused-by-chip"), occurrence()])],
            ["Start at model.py:7: other values. Everything before this call is the same: compare these two lines.",
             "2 places in the code need you.",
             "1 of the 4 statements that the port changed never ran: nothing is proven of it."
             " Run the program in a way that reaches it."],
        ),
        (STOPPED, [], ["Start at train.py:12: the port stopped."
             " This line raised the error; port.log beside the record has everything that the program printed."]),
        (
            proof(verdict="differs", partings=[parting(kind="memory", original=None, port=None)]),
            [],
            ["Start here: another amount of memory."
             " Compare who holds memory at the peak; a tensor may be kept, or kept in another precision."],
        ),
        (None, [port(occurrences=[])], ["Run the original and the port, and compare them:"]),
    ],
)  # fmt: skip
def test_what_to_do(one, ports, says):
    assert [s.text for s in steps(one, [], ports, "en")] == says


def test_a_port_without_a_proof_names_the_command():
    (step,) = steps(None, [], [port(occurrences=[])], "zh")
    assert step.command == "xinqiao prove ORIGINAL PORT --chip a-chip --out DIR -- SCRIPT"
