"""Whether a version runs in a child of its own."""

from __future__ import annotations

from serving.model_config.schema import ModelConfig
from serving.settings import Settings


def isolation_reason(
    config: ModelConfig,
    settings: Settings,
    *,
    trial_died: bool,
    integer_div: bool,
    sparse_functions: bool = False,
    grows: str = "",
) -> str:
    """Why it does; "" where it runs in the server's own process.

    ``trial_died``: its trial ended on generated input. ``integer_div``: requests decide what
    it divides integers by (``integer_division``). ``sparse_functions``: see
    ``serving.execution.stated``. ``grows``: where what it makes follows requests' values
    (``value_growth``). What the model's configuration says goes before the settings, and both
    before what was found out.
    """
    if config.isolation is not None:
        return "its configuration says so" if config.isolation == "process" else ""
    mode = settings.isolation.mode
    if mode != "auto":
        return "isolation.mode says so" if mode == "process" else ""
    if trial_died:
        return "generated input ended its trial's process"
    if integer_div:
        return "it divides integers that requests bring, and one such division ends a process"
    if sparse_functions:
        held = "a function of it holds, or may hold, a sparse tensor"
        return f"{held}, which may end the process that loads it"
    if grows:
        return f"requests' values decide how much it makes: {grows}"
    return ""
