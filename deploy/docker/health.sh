#!/bin/sh
# Exit status 0 while the gateway is live. Readiness is for whoever routes traffic.
exec python -c '
import os, sys, urllib.request
port = os.environ.get("SERVING_HTTP_PORT", "8080")
try:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/live", timeout=2)
except OSError as error:
    sys.exit(f"not live: {error}")
'
