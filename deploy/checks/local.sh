#!/usr/bin/env bash
# Checks what `make up` promises, on a Kafka and a registry that begin empty: that records and ids outlive a kill of
# everything, and that the dashboard shows data. Uses the ports of `make up`, and a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MILLRACE_LOCAL=$here/../../.cache/check

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for port in 8080 8081 9190 9191 9192 9193 9700 19092 19181; do
  if listens "$port"; then
    printf 'local: port %s is in use; if it is by make up, run: make down\n' "$port" >&2
    exit 1
  fi
done

down() { "$here/../local/millrace.sh" down; }
trap down EXIT
rm -rf "$MILLRACE_LOCAL"
"$here/restart.py"
if command -v prometheus >/dev/null; then
  "$here/dashboard.py"
else
  echo 'dashboard: LEFT OUT, its queries were not run: install prometheus so that it is found in PATH'
fi
