#!/bin/sh
# Build the wheels, the gateway's and its client's, from the sources around this script.
#
#   build.sh WHEELS          PROFILE: a Cargo profile (release)
set -eu
wheels=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
echo "== build tools"
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2' \
    'flit_core>=3.12,<5'

echo "== client"
"$tools/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir "$wheels" ./client

echo "== the page /docs, and charts for the console"
"$tools/bin/python" deploy/pages/fetch.py
"$tools/bin/python" deploy/pages/fetch_charts.py

echo "== wheel, profile ${PROFILE:-release}"
"$tools/bin/maturin" build --profile "${PROFILE:-release}" --locked \
    --interpreter python3 --out "$wheels"
