"""What a chip is: data only. One .toml file holds one Chip; read.py reads it, catalog.py finds it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from xinqiao.chips.figures import Confidence, Duration, Power
from xinqiao.chips.performance import Compute, Links, Memory, PerDevice

Status = Literal["shipping", "announced"]
Count = Annotated[int, Meta(ge=1)]
DtypeState = Literal["native", "partial", "refused", "unknown"]
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    *(
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn_x2",
    ),
)


class Rejected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim that circulates and is wrong or unsupported, kept so that nobody adds it again."""

    claim: str
    reason: str
    source: str = ""


class Torch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chip's names in PyTorch."""

    device: str  # 'npu'
    package: str = ""  # imported beside torch: 'torch_npu'; '': PyTorch itself, or not known
    collective: str  # what init_process_group takes: 'hccl'
    device_name: str = ""  # what get_device_name answers; '': not known
    devices_per_package: Count = 1  # PyTorch sees each die of some packages as a device of its own
    server_devices: Count = 8  # that PyTorch sees on a usual server
    confidence: Confidence
    source: str
    note: str = ""


class Cuda(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What torch.cuda answers on a chip whose PyTorch device is 'cuda'. None or '': not known."""

    capability: tuple[int, int] | None = None
    cuda: str = ""  # torch.version.cuda
    hip: str = ""  # torch.version.hip
    arch_list: tuple[str, ...] = ()  # torch.cuda.get_arch_list()
    gcn_arch: str = ""
    multi_processor_count: int | None = None
    warp_size: int | None = None
    regs_per_multiprocessor: int | None = None
    max_threads_per_multi_processor: int | None = None
    max_threads_per_block: int | None = None
    shared_memory_per_block: int | None = None  # bytes, as the next three
    shared_memory_per_block_optin: int | None = None
    shared_memory_per_multiprocessor: int | None = None
    l2_bytes: int | None = None
    clock_rate: int | None = None  # kHz
    memory_clock_rate: int | None = None  # kHz
    memory_bus_width: int | None = None  # bits
    confidence: Confidence
    source: str


class Software(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the vendor's PyTorch does."""

    operators: str = ""  # a table in operators/; '': nothing is known of any operator
    pages: str = ""  # the column of that table's API pages that is about this chip
    unsupported_operator: Literal["fallback", "refuse", "unknown"] = "unknown"
    unsupported_dtype: Literal["fallback", "refuse", "unknown"] = "unknown"
    source: str = ""


class Fused(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The vendor's one kernel for what one of `xinqiao.ops`' operators computes, and what it takes."""

    operator: str  # ours, 'nsa_selected'; its backward operator has a row of its own
    name: str  # the vendor's, 'npu_nsa_select_attention'
    chips: tuple[str, ...]  # that have it, and those that are based on them
    dtypes: tuple[str, ...]  # of activations
    only: dict[str, tuple[int, ...]] = {}  # size → the values that it may have; sizes: xinqiao/cost/own.py
    most: dict[str, int] = {}  # size → its largest value
    source: str


class Platform(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the vendor calls the things around PyTorch. '' or a missing key: not known."""

    native: bool = False  # it is CUDA itself: nothing differs
    visible_devices: str = ""  # the environment variable that CUDA_VISIBLE_DEVICES is for NVIDIA
    monitor: str = ""  # the command that nvidia-smi is for NVIDIA: 'npu-smi info'
    requirement: str = ""  # what pip installs beside torch: 'torch-npu'
    image: str = ""  # a public container image to start from
    environment: dict[str, str] = {}  # CUDA's and NCCL's variable → the vendor's; '': the vendor needs none
    modules: dict[str, str] = {}  # a CUDA-only Python package → the vendor's counterpart
    inductor: str = ""  # what torch.compile's Inductor writes kernels with there: 'triton-ascend'
    module: tuple[str, ...] = ()  # names of torch.cuda that the device's own module has too; (): not known
    functions: dict[str, str] = {}  # 'torch.cuda.CUDAGraph' → the vendor's 'torch.npu.NPUGraph'; '': it has none
    fused: tuple[Fused, ...] = ()
    source: str = ""


class Dtypes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Torch dtypes on the chip as a whole; one that is not listed is unknown."""

    native: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()  # some operators have it
    refused: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """ValueError for a dtype that torch does not have, or that is listed twice."""
        listed = (*self.native, *self.partial, *self.refused)
        for key in ("native", "partial", "refused"):
            for dtype in getattr(self, key):
                if dtype not in DTYPES:
                    raise ValueError(f"{key}: '{dtype}' is not one of {', '.join(DTYPES)}")
                if listed.count(dtype) > 1:
                    raise ValueError(f"{key}: '{dtype}' is listed twice")

    def state(self, dtype: str) -> DtypeState:
        """The state of a torch dtype such as 'float32' on the chip as a whole."""
        if dtype in self.refused:
            return "refused"
        if dtype in self.partial:
            return "partial"
        return "native" if dtype in self.native else "unknown"


class Chip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chip. Figures are per package, as sources state them; `per_device` has one PyTorch device's."""

    name: str  # the file's name
    base: str = ""  # the chip whose figures it inherits where it states none
    title: str
    vendor: str
    status: Status
    comments: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    process: str = ""
    power: Power = Power()
    formats: tuple[str, ...] = ()  # number formats that its matrix units multiply natively
    lacks: tuple[str, ...] = ()  # keys of `compute` that the chip is known not to have
    compute: Compute = Compute()
    memory: Memory = Memory()
    links: Links = Links()
    launch: Duration = Duration()  # of one kernel
    calibration: str = ""  # kernels measured on it, a file that `xinqiao calibrate` wrote; '': none were
    torch: Torch
    cuda: Cuda | None = None
    software: Software = Software()
    platform: Platform = Platform()
    dtypes: Dtypes = Dtypes()

    def __post_init__(self) -> None:
        """ValueError where a format is both lacking and given a peak."""
        for key in self.lacks:
            if key not in Compute.__struct_fields__:
                raise ValueError(f"lacks: '{key}' is not one of {', '.join(Compute.__struct_fields__)}")
            if getattr(self.compute, key).known:
                raise ValueError(f"lacks: '{key}' also has a peak in compute")

    def per_device(self) -> PerDevice:
        """The figures of one device as PyTorch sees it."""
        return PerDevice(
            compute=self.compute,
            memory=self.memory,
            links=self.links,
            launch_time=self.launch,
            lacks=self.lacks,
            devices=self.torch.devices_per_package,
        )
