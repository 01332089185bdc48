"""Whether a version is batched: what the graph proves, what a test showed, what is asked for.

Pure. The table is that of ``docs/batching.md``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from serving.loading.batching.analysis import Analysis
from serving.model_config.schema import ModelConfig
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class BatchingVerdict:
    """``max_rows``: most rows of a batch; 0 when each request runs alone. ``words`` say why.
    ``may_cut``: a request of more rows may run in parts; otherwise it runs whole, alone.
    ``surprising``: the configuration asked for something else. ``open``: real requests may
    yet show that it can be batched."""

    batched: bool
    words: str
    max_rows: int
    may_cut: bool = True
    surprising: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """What configuration and settings want. ``max_rows`` 0: no batching, for ``words``.
    ``asked``: the configuration asks for batching (a bound of rows alone is none).
    ``open_tested``: what is open may be batched after a test."""

    max_rows: int
    asked: bool
    words: str = ""
    open_tested: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What running rows together showed. ``disproved``: that their answers change, and how;
    ``unknown``: why it showed nothing; ``rounding``: the node before which rounding alone made
    a difference. All '': they don't change."""

    disproved: str = ""
    unknown: str = ""
    rounding: str = ""


NO_EVIDENCE = Evidence(unknown="nothing was run")


def intent(config: ModelConfig, settings: Settings) -> Intent:
    """The model's configuration goes before the settings; without one, batching if proven."""
    asked = config.batching is True
    if config.batching is False or config.max_batch_size == 0:
        return Intent(0, False, "unbatched by the model's configuration")
    if not settings.batching.enabled and not asked:
        return Intent(0, False, "unbatched by the settings (batching.enabled)")
    rows = config.max_batch_size or settings.batching.max_rows
    return Intent(rows, asked, open_tested=settings.batching.open == "tested")


def most_rows(wanted: Intent, config: ModelConfig, settings: Settings) -> int:
    """Of any run, that of a single request included."""
    line = config.max_queue_rows
    return max(wanted.max_rows, settings.batching.max_queue_rows if line is None else line)


def decide(wanted: Intent, analysis: Analysis, evidence: Evidence) -> BatchingVerdict:
    """The verdict on a version."""
    if not wanted.max_rows:
        return BatchingVerdict(False, wanted.words, 0)
    if analysis.kind == "not batchable":
        return _unbatched(wanted, f"not batchable: {analysis.words}")
    if analysis.kind == "coupled":
        return _coupled(wanted, analysis)
    if analysis.kind == "open":
        return _open(wanted, analysis, evidence)
    if evidence.disproved:
        words = (
            f"proven from the graph, but a test says no (please report it): {evidence.disproved}"
        )
        return _unbatched(wanted, words, loud=True)
    rounding = f", rounding before node {evidence.rounding}" if evidence.rounding else ""
    return _batched(wanted, f"proven{rounding}")


def needs_test(wanted: Intent, analysis: Analysis) -> bool:
    """Whether running rows together could change the verdict."""
    if not wanted.max_rows:
        return False
    if analysis.kind == "open":
        return wanted.asked or wanted.open_tested
    return analysis.kind == "proven"


def undecided(wanted: Intent, why: str, never: str = "") -> BatchingVerdict:
    """The verdict where nothing could be found out at all, for the reason ``why``; ``never``:
    why the shapes alone forbid batching, "" where they do not."""
    if not wanted.max_rows:
        return BatchingVerdict(False, wanted.words, 0)
    if never:
        return _unbatched(wanted, f"not batchable: {never}")
    if wanted.asked:
        return _batched(wanted, f"by the model's configuration; not proven: {why}")
    return BatchingVerdict(False, f"unbatched: not proven: {why}", 0)


def on_providers(analysis: Analysis, providers: Collection[str]) -> Analysis:
    """What is left of a proof on these execution providers: some quantise by themselves, by
    scales that no graph shows."""
    own = sorted(set(providers) & QUANTISING)
    if analysis.kind != "proven" or not own:
        return analysis
    return Analysis("open", why=f"{own[0]} may quantise by itself, which no graph shows")


QUANTISING = frozenset(
    {
        "TensorrtExecutionProvider",
        "NvTensorRTRTXExecutionProvider",
        "OpenVINOExecutionProvider",
        "QNNExecutionProvider",
        "VitisAIExecutionProvider",
        "CoreMLExecutionProvider",
        "NNAPIExecutionProvider",
        "NnapiExecutionProvider",
        "SNPEExecutionProvider",
        "RknpuExecutionProvider",
        "VSINPUExecutionProvider",
        "MIGraphXExecutionProvider",
        "CANNExecutionProvider",
    }
)


def _batched(wanted: Intent, words: str, *, may_cut: bool = True) -> BatchingVerdict:
    rows = wanted.max_rows
    return BatchingVerdict(True, f"batched, up to {rows} rows: {words}", rows, may_cut)


def _unbatched(wanted: Intent, words: str, *, loud: bool = False) -> BatchingVerdict:
    return BatchingVerdict(False, f"unbatched: {words}", 0, surprising=wanted.asked or loud)


def _coupled(wanted: Intent, analysis: Analysis) -> BatchingVerdict:
    if wanted.asked:
        words = "accepted by configuration, rows may influence each other"
        return _batched(wanted, f"{words}: {analysis.words}")
    return _unbatched(wanted, f"coupled: {analysis.words}")


def _open(wanted: Intent, analysis: Analysis, evidence: Evidence) -> BatchingVerdict:
    if not (wanted.asked or wanted.open_tested):
        words = f"open: {analysis.words} ('batching.open: tested' batches it after a test)"
        return _unbatched(wanted, words)
    if evidence.disproved:
        return _unbatched(wanted, f"open, and a test says no: {evidence.disproved}")
    # A request is cut only where that is proven, or asked for.
    if not evidence.unknown:
        words = f"tested, not proven: {analysis.words}"
        return _batched(wanted, words, may_cut=wanted.asked)
    if wanted.asked:
        words = f"by the model's configuration; neither proven nor tested: {analysis.words}"
        return _batched(wanted, f"{words}; {evidence.unknown}")
    words = f"unbatched: open: {analysis.words}; not tested: {evidence.unknown}"
    return BatchingVerdict(False, words, 0, open=True)
