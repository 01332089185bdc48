"""What onnxruntime's errors mean, in the gateway's words.

onnxruntime's error classes do not say whose fault an error is (fact C14), and its
texts quote source files and paths. So a small table of patterns decides, our own sentence
goes out, and the original goes to the log. What no pattern knows is our fault: INTERNAL.
The patterns are held against the installed onnxruntime by the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from serving import descriptors, machine
from serving.errors import ErrorCode
from serving.execution import text_locale


@dataclass(frozen=True, slots=True)
class Fault:
    """``message`` may go to clients; ``detail`` is the original, for the log."""

    code: ErrorCode
    message: str
    detail: str


@dataclass(frozen=True, slots=True)
class Limit:
    """Memory that runs may take (bytes). ``of_child``: no more is to be had for them in this
    process. ``shared``: others had some of it when one failed."""

    size: int
    of_child: bool = True
    shared: bool = False


class FaultError(Exception):
    """A run failed in a child, which has found out whose fault it is."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_NODE = re.compile(r"while running (\w{1,64}) node\. ?Name:'.*?' Status Message: ?", re.DOTALL)

# Pattern over the text after the node's name -> what the data did wrong.
_DATA_WORDS: dict[str, str] = {
    (
        r"out of (data )?bounds|[Oo]ut of range|invalid ind(ex|ice)"
        r"|index(es)? (is|are|value) (out of|invalid)|outside the range"
    ): "an index is out of range",
    r"(division|modulo|divide) by zero": "an integer is divided by zero",
    (
        r"cannot be reshaped|dimension can be -1|cannot be less than -1"
    ): "the number of elements does not fit the shape they are put into",
    (
        r"(axis|axes|axis_).*(not in valid range|out(side)? of)|axis .* is not in"
    ): "an axis is out of range",
    (
        r"[Bb]roadcast|[Dd]imension mismatch|dimensions must match|mismatched dimensions"
        r"|[Ii]nput channels C|Invalid input shape|invalid expand shape|must be 1 instead of"
        r"|incompatible in the dimension|[Ss]hapes? .*(mismatch|not match|incompatible)"
        r"|[Dd]imensions? .*(not match|do not agree|incompatible)|equal to twice the input dim"
        r"|must equal size of selected axis"
    ): "the shapes of the inputs do not fit together",
    r"Integer overflow|Size\(\) must be >= 0": "a size is too large or negative",
    (
        r"must be non-negative|is negative|can ?not be (zero|negative)"
        r"|should not be greater than|must have the same length|must equal|should be equal"
        r"|(must|should) be (positive|greater|less|in range|>=|<=|>|<)|[Ss]hould be in range"
    ): "a value is not one the operator takes",
    r"^(sto(i|l|ll|ul|ull|f|d|ld))\s*$": "a text is not a number",
    r"[Ee]mpty (tensor|input|sequence)|zero[- ]size": "an input is empty",
}
_DATA = tuple((re.compile(pattern), words) for pattern, words in _DATA_WORDS.items())

_ALLOCATION = re.compile(r"Failed to allocate memory for requested buffer of size (\d+)")
# No tensor is so large, whatever memory there is.
_IMPOSSIBLE = re.compile(r"storage size overflowed|exceeds the supported maximum of \d+ bytes")
_DIMENSION = re.compile(r"index: (\d+) Got: (-?\d+) Expected: (-?\d+)")
_DIMENSIONS_OF = re.compile(r"Got invalid dimensions for input: (.+?) for the following indices")
_RANK = re.compile(r"Invalid rank for input: (.+?) Got: (\d+) Expected: (\d+)")
_DATATYPE = re.compile(
    r"Unexpected input data type\. Actual: \((\w+\(.+?\))\) ?, expected: \((\w+\(.+?\))\)"
)


def classify(error: BaseException, limit: Limit | None = None) -> Fault:
    """Whose fault a failed run is, and what may be said of it.

    ``limit``: on its memory, by default what the machine has. A request for more than that is
    too large; one that found no room beside others may come again.
    """
    if isinstance(error, FaultError):
        return error.fault
    original = f"{type(error).__name__}: {error}"
    text = str(error)
    if short_of_memory(error):
        found = _of_memory(text, limit or Limit(machine.usable_memory(), of_child=False))
    else:
        found = _of_inputs(text) or _of_node(text) or _unknown(error)
    return Fault(found[0], found[1], original)


def too_large_an_answer(size: int, most: int) -> Fault:
    """Of a run whose answers have ``size`` bytes."""
    words = f"the answer takes {size} bytes, over the limit of {most} bytes"
    words += " (setting limits.max_message_bytes); ask for fewer rows or outputs"
    return Fault(ErrorCode.TOO_LARGE, words, words)


def no_room_for_an_answer(error: OSError) -> Fault:
    """One that is not too large, where the machine has no memory to lay it into."""
    return Fault(ErrorCode.FULL, "there is no room for the answer just now", str(error))


def _of_inputs(text: str) -> tuple[ErrorCode, str] | None:
    """The checks that onnxruntime makes before it runs anything."""
    if named := _DIMENSIONS_OF.search(text):
        wrong = "; ".join(
            f"dimension {axis} is {got}, expected {want}"
            for axis, got, want in _DIMENSION.findall(text)
        )
        return ErrorCode.BAD_REQUEST, f"input '{named[1]}': {wrong or 'unexpected dimensions'}"
    if rank := _RANK.search(text):
        return (
            ErrorCode.BAD_REQUEST,
            f"input '{rank[1]}' has {rank[2]} dimensions, expected {rank[3]}",
        )
    if types := _DATATYPE.search(text):
        return ErrorCode.BAD_REQUEST, f"an input has datatype {types[1]}, expected {types[2]}"
    return None


def _of_memory(text: str, limit: Limit) -> tuple[ErrorCode, str]:
    nodes = list(_NODE.finditer(text))
    place = f" (operator {nodes[-1][1]})" if nodes else ""
    asked = _ALLOCATION.search(text)
    if asked and int(asked[1]) > limit.size:
        words = f"the request makes the model ask for {asked[1]} bytes of memory at once"
        return ErrorCode.TOO_LARGE, f"{words}, and it may take {limit.size}{place}"
    if limit.of_child and not limit.shared:
        words = "the request makes the model take more memory than it may"
        return ErrorCode.TOO_LARGE, f"{words}, {limit.size} bytes{place}"
    return ErrorCode.FULL, f"there is not enough memory for this request beside others{place}"


def _of_node(text: str) -> tuple[ErrorCode, str] | None:
    nodes = list(_NODE.finditer(text))
    if not nodes:
        return None
    # The last one named is the innermost: a Loop's error holds the error of its body.
    operator, rest = nodes[-1][1], text[nodes[-1].end() :]
    if _IMPOSSIBLE.search(rest):
        words = "the request makes the model make a tensor that is larger than possible"
        return ErrorCode.TOO_LARGE, f"{words} (operator {operator})"
    for pattern, words in _DATA:
        if pattern.search(rest):
            return ErrorCode.BAD_DATA, _refused(words, operator)
    if operator in ("ArgMax", "ArgMin") and not rest.strip():
        return ErrorCode.BAD_DATA, _refused("an input is empty", operator)
    return ErrorCode.INTERNAL, f"the model failed on this input (operator {operator})"


def _refused(words: str, operator: str) -> str:
    return f"the model refused this input: {words} (operator {operator})"


def _unknown(error: BaseException) -> tuple[ErrorCode, str]:
    if descriptors.is_shortage(error):
        return ErrorCode.UNAVAILABLE, "the server has too many files open, try again later"
    if isinstance(error, UnicodeDecodeError):
        return ErrorCode.INTERNAL, "the model answered with text that is not UTF-8"
    return ErrorCode.INTERNAL, "the model failed on this input"


_SHORTAGE = re.compile(r"Failed to allocate memory|bad_alloc")

NO_THREAD = "no thread could be started for it"

# Why a model cannot be loaded: pattern -> sentence made of what it matched.
_LOAD: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"protobuf parsing failed"),
        lambda m: "the model file is corrupt or truncated",
    ),
    (re.compile(r"No graph was found"), lambda m: "the model file holds no graph"),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        lambda m: f"the model has IR version {m[1]}, at most {m[2]} is supported",
    ),
    (
        re.compile(
            r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)", re.DOTALL
        ),
        lambda m: f"the model has opset {m[1]} of {m[2]}, at most {m[3]} is supported",
    ),
    (
        re.compile(r"Fatal error: ([\w.]*):(\w+)\(-?\d+\) is not a registered function"),
        lambda m: f"operator {m[2]} of domain '{m[1]}' is not known",
    ),
    (
        re.compile(r"No Op registered for (\w+) with domain_version of (\d+)"),
        lambda m: f"operator {m[1]} is not known in opset {m[2]}",
    ),
    (
        re.compile(r"Could not find an implementation for (\w+)\((\d+)\)"),
        lambda m: f"no execution provider here runs operator {m[1]} (version {m[2]})",
    ),
    (
        re.compile(
            r"Failed to construct locale(?: with name:(\w+(?:\.[\w-]+)?))?|locale::facet|en_US"
        ),
        lambda m: text_locale.missing(m[1] or text_locale.USUAL),
    ),
    (
        re.compile(r"Op \((\w+)\) \[(Shape|Type)InferenceError\]"),
        lambda m: f"the model's shapes or types contradict each other (operator {m[1]})",
    ),
    (
        re.compile(r"Type Error: Type .*? of (?:input|output) parameter .*? operator \((\w+)\)"),
        lambda m: f"the model gives operator {m[1]} a type that it does not take",
    ),
    (
        re.compile(r"(division|modulo) by zero"),
        lambda m: "the model divides a constant integer by zero",
    ),
    (
        re.compile(r"[Ee]xternal[ _](data|initializer)"),
        lambda m: "the model's external data does not fit its tensors",
    ),
    (_SHORTAGE, lambda m: "there is not enough memory for the model"),
    (re.compile(r"INVALID_GRAPH|Invalid model"), lambda m: "the model's graph is not valid"),
)


def short_of_memory(error: BaseException) -> bool:
    """Whether a load, or a run, failed for want of memory, here or in a child."""
    if isinstance(error, FaultError):
        return error.fault.code in (ErrorCode.TOO_LARGE, ErrorCode.FULL)
    return isinstance(error, MemoryError) or _SHORTAGE.search(str(error)) is not None


def cause_of(error: BaseException) -> BaseException:
    """What the system refused, where a load failed for that: onnxruntime has no classes of error
    for it. Else the error."""
    if short_of_memory(error):
        return MemoryError()
    return BlockingIOError() if machine.is_thread_shortage(error) else error


def load_reason(error: BaseException) -> str:
    """Why onnxruntime refused a model, without its paths and source files."""
    text = str(error)
    if machine.is_thread_shortage(error):
        return NO_THREAD
    for pattern, words in _LOAD:
        if match := pattern.search(text):
            return words(match)
    if isinstance(error, MemoryError):
        return "there is not enough memory for the model"
    return "onnxruntime cannot load the model"
