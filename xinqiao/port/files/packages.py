"""Requirements, as pip, conda, poetry and uv write them: packages that exist for CUDA alone."""

import re

from xinqiao.port.files.advice import OWN_MAKER, Advice, is_cudas_own, needs_you
from xinqiao.port.files.known import known, look_up
from xinqiao.port.target import Target
from xinqiao.port.words import is_bound

_INDEX = re.compile(r"(?:-i|-f|--index-url|--extra-index-url|--find-links)[\s=]+(\S+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]+")
_NAME = re.compile(r"\s*(?:[\w.-]+::)?([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?(.*)", re.DOTALL)
_REPOSITORY = re.compile(r"^git\+\S*/([\w.-]+?)(?:\.git)?(?:[@#\s]|$)")
_CUDA_BUILD = re.compile(r"\+(cu(?:da)?\d+)\b", re.IGNORECASE)
_INDEX = re.compile(r"(?:-i|-f|--index-url|--extra-index-url|--find-links)[\s=]+(\S+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]+")
_CUDA_NAME = re.compile(r"[-_](?:cu|cuda)1\d\w*$")
WHEELS = re.compile(r"(?<=/)cu\d{2,3}(?=/|$|[\"'\s])")
_CUDA_INDEX = re.compile(r"pypi\.(nvidia|ngc\.nvidia)\.com")
_TORCH = ("torch", "torchvision", "torchaudio", "pytorch")


def name_of(requirement: str) -> str:
    """'flash-attn' of 'flash_attn>=2.5 ; python_version > "3.9"'; '' where it is not a requirement."""
    found = _REPOSITORY.search(requirement) or _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def line_advice(line: str, target: Target, around: str) -> Advice | None:
    """What becomes of a line of a requirements file: a requirement, or an option with an index."""
    if found := _INDEX.match(line):
        advised = index_advice(found[1], target)
        if advised is None or advised.verdict != "rewritten":
            return advised
        return Advice(advised.verdict, advised.reason, line.replace(found[1], advised.text))
    return advice(_EDITABLE.sub("", line), target, around) if line else None


def advice(requirement: str, target: Target, around: str = "") -> Advice | None:
    """What becomes of a requirement; None where it is not CUDA-bound.

    around   the text that it stands in, which may name the index of its CUDA build
    """
    name = name_of(requirement)
    if build := _CUDA_BUILD.search(requirement):
        return _cuda_build(requirement, name, target, is_indexed=f"/whl/{build[1].lower()}" in around)
    step = look_up(name, known().packages)
    if step is None and _CUDA_NAME.search(name):
        step = "take its build without CUDA, or the vendor's"
    if step is None and "git+" in requirement and is_bound(requirement):
        step = "take the vendor's fork, or leave it out on this chip"
    if step is None and ("cuda" in (_extras(requirement) + _build(requirement))):
        step = "take its build without CUDA, or the vendor's"
    if step is None:
        return None
    if is_cudas_own(target):
        return OWN_MAKER
    vendors = target.chip.platform.modules.get(name.replace("-", "_"))
    if vendors:
        return needs_you(f"{name} is made for CUDA; this chip's counterpart is {vendors}")
    return needs_you(f"{name} is made for CUDA; {step}")


def _extras(requirement: str) -> str:
    found = _NAME.match(requirement)
    return (found[2] or "") if found else ""


def _build(requirement: str) -> str:
    """The third part of conda's 'pytorch=2.1=py3.11_cuda12.1'."""
    parts = requirement.split("=")
    return parts[2] if len(parts) == 3 and "==" not in requirement else ""


def _cuda_build(requirement: str, name: str, target: Target, *, is_indexed: bool) -> Advice:
    if is_cudas_own(target):
        return OWN_MAKER
    if target.audit:
        return needs_you(f"a CUDA build of {name}: take this vendor's")
    if name not in _TORCH:
        return needs_you(f"a CUDA build of {name}: take its build without CUDA, or the vendor's")
    beside = f", and install {r} beside it on this chip" if (r := target.chip.platform.requirement) else ""
    plain = _CUDA_BUILD.sub("", requirement)
    if target.style == "agnostic" and not is_indexed:  # another index may hold builds for several versions of CUDA
        return needs_you(f"a CUDA build: write {plain.strip()}, name the index of that build on CUDA{beside}")
    return Advice("rewritten", f"the version without the build's name fits CUDA's build and others{beside}", plain)


def index_advice(url: str, target: Target) -> Advice | None:
    """What becomes of the address of a package index; None where it does not hold CUDA builds."""
    if not (WHEELS.search(url) or _CUDA_INDEX.search(url)):
        return None
    if is_cudas_own(target):
        return OWN_MAKER
    requirement = target.chip.platform.requirement
    if target.audit or not WHEELS.search(url):
        return needs_you("an index of packages for CUDA: take the vendor's on this chip")
    if not requirement:
        return needs_you("an index of CUDA builds: leave it out on this chip, and take PyTorch from the vendor")
    if target.style == "vendor":
        reason = f"{requirement} works beside PyTorch's build for the host"
        return Advice("rewritten", reason, WHEELS.sub("cpu", url))
    step = WHEELS.sub("cpu", url)
    return needs_you(f"an index of CUDA builds: on this chip take {step}, and install {requirement} beside torch")
