"""Write what Prometheus and Grafana are given, from ``rules.py`` and ``panels.py``.

python deploy/monitoring/generate.py            write the files beside this one
python deploy/monitoring/generate.py --check    only say whether they are as they should be
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import panels
import rules
import yaml

FOLDER = Path(__file__).resolve().parent
HEAD = "# Written by generate.py: change rules.py or panels.py, and run it again.\n"
SCRAPE: dict[str, Any] = {
    "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
    "rule_files": ["alerts.yaml"],
    "scrape_configs": [
        {"job_name": "serving", "static_configs": [{"targets": ["127.0.0.1:8082"]}]}
    ],
}


def files() -> dict[str, str]:
    """Name -> content."""
    return {
        "alerts.yaml": HEAD + _yaml(rules.document()),
        "prometheus.yaml": HEAD + _yaml(SCRAPE),
        "grafana-dashboard.json": json.dumps(panels.document(), indent=1) + "\n",
    }


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=100, default_flow_style=False)


def stale() -> list[str]:
    """The files that are missing, or other than they should be."""
    return [
        name
        for name, content in files().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != content
    ]


def main() -> int:
    if "--check" in sys.argv[1:]:
        for name in (found := stale()):
            print(f"{name} is not what generate.py writes")
        return 1 if found else 0
    for name, content in files().items():
        (FOLDER / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
