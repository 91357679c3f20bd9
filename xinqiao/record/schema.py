"""What a run and a port leave behind: the JSON files that every other part reads. SI units throughout.

A file is `{"schema": 1, "kind": "run" | "port" | "proof", ...}` (what `size` answers: sizes.py); unknown keys are
refused on reading, so that a file from a newer version is never half understood.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

SCHEMA = 1
Support = Literal["native", "fallback", "refused", "unknown"]
ProofVerdict = Literal["same", "close", "differs"]
Verdict = Literal["rewritten", "safe", "needs-you", "refused-by-chip"]
_VERDICT_KEYS = {"needs_you": "needs-you", "refused": "refused-by-chip"}


class OperatorRow(Struct, forbid_unknown_fields=True, kw_only=True):
    """One operator at one dtype and one set of shapes, summed over the run."""

    operator: str  # 'aten::addmm'
    dtype: str  # of the first tensor that the operator computes on: 'float32'
    shapes: list[list[int]]  # inputs in order, then outputs
    count: int
    seconds: float  # predicted on the chip, all calls together
    flops: float
    bytes: float
    support: Support
    kind: str = ""  # of kernel: 'gemm', 'grouped_gemm', 'prefill_attention', 'decode_attention', 'elementwise'
    bound: str = ""  # by what most of the time is: 'compute', 'attention', 'memory', 'cache', 'launch'


class Holder(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who held memory at the peak."""

    bytes: int
    line: str  # 'train.py:41 in train', or '(backward)', or '(small allocations)'
    module: str  # 'GPT.blocks.0.attn', or '' outside any module


class MemoryPoint(Struct, forbid_unknown_fields=True, kw_only=True):
    seconds: float  # simulated
    bytes: int  # allocated


class Memory(Struct, forbid_unknown_fields=True, kw_only=True):
    """Device memory of one device."""

    device: int
    capacity: int | None  # bytes; None: the chip's capacity is not known, so nothing was refused
    peak: int
    end: int
    curve: list[MemoryPoint]
    holders: list[Holder]  # alive at the peak, largest first
    parts: dict[str, int] = {}  # bytes of 'parameters', 'buffers', 'gradients' and 'optimizer', where there are any


class Collective(Struct, forbid_unknown_fields=True, kw_only=True):
    operator: str  # 'allreduce_'
    backend: str  # the name the program asked for: 'hccl'
    count: int
    bytes: int
    seconds: float


class StreamClock(Struct, forbid_unknown_fields=True, kw_only=True):
    device: int
    stream: int
    seconds: float  # busy until


class Incident(Struct, forbid_unknown_fields=True, kw_only=True):
    """An operator × dtype that the chip refuses or sends to the host."""

    operator: str
    dtype: str
    support: Support
    count: int
    line: str  # the Python line that caused the first one
    reason: str
    source: str


class Readback(Struct, forbid_unknown_fields=True, kw_only=True):
    """Numbers that one Python line read back from the device (`loss.item()`), in order, the first 10,000."""

    line: str
    values: list[float]


class CallKind(Struct, forbid_unknown_fields=True, kw_only=True):
    """What calls of the journal have in common: an operator at one set of shapes and dtypes, or a mark."""

    operator: str  # 'aten::addmm'; without '::' a mark: 'synchronize', 'seed', 'module inputs', …
    dtype: str  # that the operator computes in; '' for a mark
    tensors: list[tuple[str, list[int]]]  # (dtype, shape) of each, inputs first
    inputs: int  # how many of them are inputs
    support: Support


class Site(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Python line. file: relative to the project, or 'site-packages/…', or '' where there is no line."""

    file: str
    line: int
    function: str


class Failure(Struct, forbid_unknown_fields=True, kw_only=True):
    """The exception that ended the program."""

    kind: str  # 'RuntimeError'
    message: str
    site: Site  # the innermost line of the project, else of any package


class CudaUse(Struct, forbid_unknown_fields=True, kw_only=True):
    """Something CUDA-bound that ran on a chip whose device is not 'cuda'."""

    name: str  # 'torch.cuda.synchronize'
    site: Site
    count: int


class Evidence(Struct, forbid_unknown_fields=True, kw_only=True):
    """What two runs are compared by: every call in order, and what the program said.

    entries    base64 of zlib of packed entries, each '<IIIHHQQddd': kind, site and module as numbers of the lists here,
               thread, flags, then hash, blocks, sum of squares and two sketches of the values (native/fingerprint.cpp).
               Flags: 1 backward, 2 random, 4 from the host, 8 to the host, 16 a hash only, 32 autograd listens. The
               mark 'number read' has the number in the place of the sum of squares.
    left_out   calls beyond the million that are kept
    """

    kinds: list[CallKind]
    sites: list[Site]
    modules: list[str]  # 'GPT.blocks.0.attn'
    entries: str
    left_out: int
    printed: list[str]  # lines with numbers, from both streams, the first 20,000
    failure: Failure | None
    cuda_uses: list[CudaUse]
    reached: dict[str, list[int]]  # of the lines that were watched: those that ran


class RunRecord(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="run"):
    schema: int = SCHEMA
    chip: str  # 'ascend-910c'
    title: str  # 'Huawei Ascend 910C'
    virtual: bool  # False: the vendor's own device computed
    mode: Literal["values", "shapes"]
    device: str  # 'npu'
    argv: list[str]
    rank: int
    ranks: int
    versions: dict[str, str]  # torch, python, xinqiao, numpy
    seed: int  # of the CPU's generator, whether the program chose it or PyTorch did
    exit_code: int
    wall_seconds: float
    predicted_seconds: float  # the longest stream
    operators: list[OperatorRow]
    memory: list[Memory]
    collectives: list[Collective]
    streams: list[StreamClock]
    incidents: list[Incident]
    readbacks: list[Readback]
    caveats: list[str]  # what the run could not know, one sentence each: 'memory bandwidth is not known: ...'
    evidence: Evidence | None = None  # only where it was asked for


class Occurrence(Struct, forbid_unknown_fields=True, kw_only=True):
    """One CUDA-bound place in the code."""

    file: str  # relative to the project, '/' as separator
    line: int  # from 1, in the original
    column: int  # from 1, in characters
    end_line: int
    end_column: int
    rule: str
    verdict: Verdict
    before: str
    after: str  # '' where nothing was rewritten
    reason: str  # one sentence; for needs-you also the next step
    risky: bool = False  # the rewrite is right in most programs, not in all; it is made only when asked for
    source: str = ""  # where the rule's facts come from


class PortedFile(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One file that was looked at, or that the port adds."""

    file: str  # relative to the project, '/' as separator
    changed: bool
    added: bool = False
    problem: str = ""  # why it could not be read; it is left as it is


class Summary(Struct, forbid_unknown_fields=True, kw_only=True, rename=_VERDICT_KEYS):
    """A port in numbers."""

    title: str  # of the chip, for people
    style: Literal["agnostic", "vendor"]
    files: int  # looked at
    lines: int
    changed: int  # files that differ from the original
    rewritten: int
    safe: int
    needs_you: int
    refused: int
    seconds: float  # measured here


class Dependency(Struct, forbid_unknown_fields=True, kw_only=True):
    """An installed package that the project imports, with its CUDA-bound places."""

    package: str  # as it is installed: 'scikit-learn'
    version: str
    modules: list[str]  # as it is imported: 'sklearn'
    choice: Literal["", "patch", "translate"]  # what this port does about it
    known: str  # what is known of its versions on this chip, with the source; '' where nothing is
    occurrences: list[Occurrence]  # `file` begins with the module
    summary: Summary


class PortRecord(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="port"):
    schema: int = SCHEMA
    chip: str
    files: list[PortedFile]
    occurrences: list[Occurrence]
    summary: Summary
    dependencies: list[Dependency] | UnsetType = UNSET  # there only where they were looked at


class Side(Struct, forbid_unknown_fields=True, kw_only=True):
    """One of the two runs that a proof compares."""

    chip: str
    title: str
    virtual: bool
    argv: list[str]
    exit_code: int
    wall_seconds: float
    peak_bytes: int  # device memory, the largest of all devices


class Parting(Struct, forbid_unknown_fields=True, kw_only=True):
    """A place where two runs part, or a note about one. Without a site where it has no line.

    kind       'failure', 'values', 'number', 'printed', 'dtype', 'shape', 'random', 'missing', 'extra', 'synchronize',
               'autocast', 'collective', 'memory', 'host', 'cuda', …
    weight     'differs': the runs are not the same. 'close': within the bound. 'note': worth knowing, and no difference
    order      number of the call in the original's journal, so that the first is the first; -1 outside of it
    port_order the same in the port's journal; -1 where it has none
    distance   ‖original − port‖ / ‖original‖; None where it is not known
    """

    kind: str
    weight: Literal["differs", "close", "note"]
    rank: int
    order: int
    port_order: int = -1
    message: str  # one sentence
    original: Site | None
    port: Site | None
    module: str  # 'GPT.blocks.0.attn'; '' outside any
    operator: str  # 'aten::mm'; '' where it is none
    distance: float | None = None
    details: list[str] = []  # shapes and dtypes on both sides, values, a line each


class Unproven(Struct, forbid_unknown_fields=True, kw_only=True):
    """A statement that the port changed and the run never reached."""

    file: str
    line: int
    text: str


class ProofRecord(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="proof"):
    """What laying two runs side by side found. Counts are sums over the ranks."""

    schema: int = SCHEMA
    verdict: ProofVerdict
    original: Side
    port: Side
    ranks: int
    numbers: int  # read back from the device, on both sides
    numbers_equal: int
    printed: int  # lines with numbers
    printed_equal: int
    calls: int  # that have their counterpart
    calls_equal: int  # whose values are the same bit for bit
    modules: int  # that ran on both sides
    modules_equal: int  # that got, gave and passed back the same bits
    bound: float  # how far numbers may be apart and still be close
    bound_reason: str
    partings: list[Parting]  # the first one first, at most 200
    changed: int  # statements of the port that the original does not have
    unproven: list[Unproven]
    wall_seconds: float
    caveats: list[str]
