"""Draw how often a rollout's judge rolls a version back, by how many times more often it fails.

    python examples/plot_judge.py docs/rollout_judge.svg

Each point is 200 rollouts played with dice (`tests/unit/rollout/simulated.py`); takes minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from serving.rollout.judge import Decision
from serving.rollout.rules import Rules
from tests.unit.rollout.simulated import Play, played

RATIOS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
# The base's share of requests that fail -> requests to both in a window, colour.
BASES = {0.001: (10_000, "#1b6ca8"), 0.01: (2000, "#c0504d"), 0.1: (500, "#5b8c3e")}
PLAYED = 200
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 560, 260, 52, 28, 42


def rolled_back(base: float, ratio: float) -> float:
    play = Play(base, base * ratio, BASES[base][0], windows=2)
    ends = [played(play, Rules(), seed).decision for seed in range(PLAYED)]
    return ends.count(Decision.ROLL_BACK) / PLAYED


def x_of(ratio: float) -> float:
    return LEFT + (ratio - 1) / 2 * (WIDTH - LEFT - 20)


def y_of(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#444") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}"'
        f' font-family="sans-serif" font-size="11">{words}</text>'
    )


def drawn() -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 16, "Rollouts that end in a rollback", "start"),
        text((LEFT + WIDTH) / 2, HEIGHT - 6, "errors of the new version, times those of the base"),
    ]
    for share in (0.0, 0.5, 1.0):
        y = y_of(share)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{share:.0%}", "end"))
    parts += [text(x_of(ratio), HEIGHT - 24, f"{ratio:g}") for ratio in (1, 1.5, 2, 2.5, 3)]
    for place, (base, (_, colour)) in enumerate(BASES.items()):
        points = [(x_of(ratio), y_of(rolled_back(base, ratio))) for ratio in RATIOS]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(WIDTH - 24, y_of(0.4) + 15 * place, f"base {base:g}", "end", colour))
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn())
