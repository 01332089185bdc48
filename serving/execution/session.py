"""One version's onnxruntime session, ready to run batches."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from serving._core import PackedTexts
from serving.cancellation import Cancellation
from serving.errors import ConfigError, LoadError
from serving.execution import external_data, providers
from serving.execution.faults import cause_of, load_reason
from serving.execution.files import ModelFiles, open_files
from serving.execution.graph import signature_of
from serving.execution.private_copy import NoPlaceError, places, private_folder
from serving.execution.run_limit import RunLimit
from serving.execution.runtime import SEVERITY_FATAL, global_pool, ort
from serving.model_config.fit import fit_signature
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.signature import DATATYPES, Signature

Array = np.ndarray[Any, Any]
Input = Array | PackedTexts
# An array, or packed texts where they were asked for, or (address, datatype, shape) of memory
# that the list itself keeps alive.
Output = Array | PackedTexts | tuple[int, str, tuple[int, ...]]

# Below which folder onnxruntime looks for external data; one that can hold none.
_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"
_NO_FOLDER = Path("/dev/null")

_BF16 = DATATYPES["BF16"][1]

# By default a session's threads spin for some 20 ms after each run, on CPUs that other
# models and the doors want. (So does the shared pool, and the Python binding has no switch:
# see docs/decisions/0001-threads-of-their-own.md.)
_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")


class Run(Protocol):
    """(output names, input name -> array, number of requests that the rows are of, 0 for
    unknown) -> outputs in the order of the names."""

    def __call__(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0, /
    ) -> Sequence[Output]: ...


class Outputs(list[Output]):
    """Outputs of which some are addresses; ``keepalive`` holds what they point into."""

    keepalive: Sequence[Any] = ()


class Runner:
    """A loaded session. ``run`` may be called from any number of threads at once.

    ``signature``: inputs and outputs. ``providers``: execution provider -> nodes it got,
    most first; ``provider``: the first of them. ``threads``: of its intra-op pool.
    ``notes``: what is other than asked for, in words.

    On a GPU onnxruntime itself copies inputs to the device and outputs back; ``_path`` is
    the one place where IO binding would go. No GPU path has run on a GPU yet.
    """

    # Of the files that it is made of, where it has texts (``ModelFiles.fingerprint``).
    fingerprint = ""
    # Nothing keeps a session in this process from running.
    trouble = ""
    # The Python binding takes texts as objects only.
    packing = None

    def __init__(
        self,
        session: Any,
        signature: Signature,
        nodes: Mapping[str, int],
        threads: int,
        run_limit: RunLimit,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.signature = signature
        self.notes = notes
        self.providers = dict(nodes)
        self.provider: str = next(iter(nodes), session.get_providers()[0])
        self.threads = threads
        self._session = session
        self._run_limit = run_limit
        self.run: Run = self._path()

    def _path(self) -> Run:
        """The leanest way to run this model.

        BF16 comes in as uint16 and leaves as an address: numpy has no such type (fact C8).
        """
        tensors = self.signature.inputs + self.signature.outputs
        if any(tensor.datatype == "BF16" for tensor in tensors):
            return self._limited(self._run_values)
        # The public ``run`` checks names and looks for WebGPU: 3.4 of 11 microseconds for a
        # tiny model. The queue has checked the names.
        inner = getattr(self._session, "_sess", None)
        if inner is None:
            return self._limited(self._session.run)
        return self._limited(inner.run)

    def _limited(
        self, run: Callable[[Sequence[str], Mapping[str, Array], Any], Sequence[Output]]
    ) -> Run:
        return self._run_limit.bound(run)

    def _run_values(
        self, names: Sequence[str], feeds: Mapping[str, Array], options: Any
    ) -> Sequence[Output]:
        bf16 = {tensor.name for tensor in self.signature.inputs if tensor.datatype == "BF16"}
        values = {name: _value(array, name in bf16) for name, array in feeds.items()}
        results = self._session.run_with_ort_values(list(names), values, options)
        outputs = Outputs(_output(result) for result in results)
        outputs.keepalive = results
        return outputs

    def run_alone(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        """As ``run``: what runs beside it does not matter here."""
        return self.run(names, feeds)

    def stop(self, thread: int, alone: bool = True) -> None:
        """End what this thread runs here within a node's time: its ``run`` raises
        RunStoppedError."""
        self._run_limit.stop(thread)

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        """Whether runs are possible: they are."""
        del timeout, ending
        return True

    def close(self) -> None:
        """Give the session up; its memory is free once no run holds it."""
        if self._session is None:
            return
        alive = weakref.ref(self._session)
        self._session = None
        self.run = _closed
        # Collecting stops every Python thread for a while, so only if it is needed.
        if alive() is not None:
            gc.collect()


def _closed(
    names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
) -> Sequence[Output]:
    raise RuntimeError("the session is closed")


def _value(array: Array, is_bf16: bool) -> Any:
    make = ort().OrtValue
    if is_bf16:
        # Not ascontiguousarray: that makes a scalar an array of one.
        return make.ortvalue_from_numpy_with_onnx_type(np.asarray(array, order="C"), _BF16)
    return make.ortvalue_from_numpy(array)


def _output(value: Any) -> Output:
    if value.data_type() == "tensor(bfloat16)":
        return (int(value.data_ptr()), "BF16", tuple(value.shape()))
    return np.asarray(value.numpy())


def load_runner(
    version_dir: Path, config: ModelConfig, settings: Settings, name: str | None = None
) -> Runner:
    """Load ``version_dir``, read once, on the providers that are asked for.

    ``name`` is the model's, by default the folder's that holds the version. Raises
    LoadError: files missing, corrupt or not the model's own, a provider that is required
    and missing, a signature that cannot be served or contradicts ``config``. It says where
    another try may go better. ConfigError where onnxruntime is not installed.
    """
    ort()
    with open_files(version_dir, config.model_filename) as files:
        runner = runner_of(files, config, settings, name or version_dir.parent.name)
        if runner.signature.has_texts:
            runner.fingerprint = files.fingerprint()
        return runner


def runner_of(files: ModelFiles, config: ModelConfig, settings: Settings, name: str) -> Runner:
    """``load_runner`` for files that are open. Raises LoadError, ConfigError."""
    module = ort()
    said = config.providers_prefer
    prefer = settings.providers.prefer if said is None else said
    require = (*config.providers_require, *settings.providers.require)
    choice = providers.choose(module.get_available_providers(), prefer, require)
    notes = [f"preferred provider {n} is missing" for n in choice.missing]
    options, threads = _options(module, config, settings, notes)
    with _external_data(files, options, settings, notes):
        session = _session(module, files.model, options, choice.order, config.provider_options)
    nodes = providers.node_counts(session)
    providers.check_required(require, session.get_providers(), nodes)
    signature = signature_of(session, files.unshaped_inputs, config)
    try:
        fitted = fit_signature(name, config, signature)
    except ConfigError as error:
        raise LoadError(str(error)) from error
    limit = RunLimit(run_timeout_s(config, settings) or math.inf, module.RunOptions)
    return Runner(session, fitted, nodes, threads, limit, tuple(notes))


@contextmanager
def _external_data(
    files: ModelFiles, options: Any, settings: Settings, notes: list[str]
) -> Iterator[None]:
    """While the session is made: where it finds its external data, and nothing else.

    Left to itself onnxruntime looks for it below the working directory.
    """
    folder, lent, data = _NO_FOLDER, ExitStack(), {}
    if files.external:
        try:
            folder = lent.enter_context(private_folder(files.external, places(settings.state_dir)))
        except NoPlaceError as error:
            data = _in_memory(files, error)
            notes.append(f"its external data is held in memory ({error.strerror})")
    with lent:
        options.add_session_config_entry(_FOLDER_ENTRY, str(folder))
        if data:
            sizes = [len(content) for content in data.values()]
            options.add_external_initializers_from_files_in_memory(
                list(data), list(data.values()), sizes
            )
        yield


def _in_memory(files: ModelFiles, error: NoPlaceError) -> dict[str, bytes]:
    """Location as the model writes it -> the file's bytes, where onnxruntime takes them so."""
    if not all(file.in_memory for file in files.external):
        words = "there is no place for a private copy of its external data"
        raise LoadError.after(error, f"{words} ({error.strerror})") from error
    found: dict[str, bytes] = {}
    for file in files.external:
        found |= dict.fromkeys(file.spellings, external_data.read_file(file))
    return found


def run_timeout_s(config: ModelConfig, settings: Settings) -> float:
    """How long one run may take (seconds); 0 without end."""
    said = config.run_timeout_s
    return settings.limits.run_timeout_s if said is None else said


def _session(
    module: Any,
    model: bytes,
    options: Any,
    order: Sequence[str],
    provider_options: Mapping[str, Mapping[str, str]],
) -> Any:
    by_name = {providers.full_name(name): dict(said) for name, said in provider_options.items()}
    try:
        session = module.InferenceSession(
            model,
            options,
            providers=list(order),
            provider_options=[by_name.get(name, {}) for name in order],
            # Otherwise a provider that fails is replaced by the CPU with a line on stdout.
            enable_fallback=0,
            read_config_from_model=0,
        )
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        raise LoadError.after(cause_of(error), load_reason(error), words) from error
    # The session keeps the file's bytes to build itself anew for other providers, which
    # never happens here.
    if hasattr(session, "_model_bytes"):
        session._model_bytes = None
    return session


def _options(
    module: Any, config: ModelConfig, settings: Settings, notes: list[str]
) -> tuple[Any, int]:
    """The session's options and how many intra-op threads it will have."""
    said = config.session
    options = module.SessionOptions()
    levels = module.GraphOptimizationLevel
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "layout": getattr(levels, "ORT_ENABLE_LAYOUT", levels.ORT_ENABLE_ALL),
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "disabled": levels.ORT_DISABLE_ALL,
    }[said.graph_optimization_level or "all"]
    modes = module.ExecutionMode
    parallel = said.execution_mode == "parallel"
    options.execution_mode = modes.ORT_PARALLEL if parallel else modes.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = said.enable_mem_arena
    options.enable_mem_pattern = said.enable_mem_pattern
    options.log_severity_level = SEVERITY_FATAL
    for key, value in said.entries.items():
        options.add_session_config_entry(key, value)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options, _threads(options, config, settings, notes)


def _threads(options: Any, config: ModelConfig, settings: Settings, notes: list[str]) -> int:
    """Give the session threads: its own, or the shared pool's. How many intra-op threads."""
    pool = global_pool()
    options.use_per_session_threads = pool is None
    if pool is not None:
        _check_shared(pool, config, notes)
        return pool[0]
    said = config.session
    options.intra_op_num_threads = said.intra_op_threads or settings.intra_op_threads
    options.inter_op_num_threads = said.inter_op_threads or settings.threads.inter_op
    for key in _SPINNING:
        if key not in said.entries:
            options.add_session_config_entry(key, "0")
    return int(options.intra_op_num_threads)


def is_for_cpu(config: ModelConfig, settings: Settings) -> bool:
    """Whether no other provider than the CPU's is asked for."""
    said = config.providers_prefer
    prefer = settings.providers.prefer if said is None else said
    wanted = (*prefer, *config.providers_require, *settings.providers.require)
    return all(providers.full_name(name) == providers.CPU for name in wanted)


def makes_threads(config: ModelConfig, settings: Settings) -> bool:
    """Whether a session for the CPU starts threads of its own."""
    said = config.session
    inter_op = said.inter_op_threads or settings.threads.inter_op
    intra_op = said.intra_op_threads or settings.intra_op_threads
    return global_pool() is None and (intra_op > 1 or inter_op > 1)


def _check_shared(pool: tuple[int, int], config: ModelConfig, notes: list[str]) -> None:
    """Serving with other threads than a model asks for must not be silent.

    Once the shared pool exists, onnxruntime's Python binding refuses sessions with threads
    of their own. So our own form of configuration is refused; Triton's, written for another
    server, gets a note.
    """
    said = config.session
    asked = (said.intra_op_threads or pool[0], said.inter_op_threads or pool[1])
    if asked == pool:
        return
    words = (
        f"the configuration asks for {asked[0]} intra-op and {asked[1]} inter-op threads, but"
        f" all models share {pool[0]} and {pool[1]} (threads.shared_pool)"
    )
    if config.source != "config.pbtxt":
        raise LoadError(words)
    notes.append(words)
