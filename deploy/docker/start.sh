#!/bin/sh
# Serve the given directories to other machines; the admin port stays on the loopback
# interface. Every setting can be given as SERVING_... or as a flag.
set -eu
export SERVING_HOST="${SERVING_HOST:-0.0.0.0}"
export ORT_DISABLE_TELEMETRY=1 PYTHONDONTWRITEBYTECODE=1
exec serving start "$@"
