#!/usr/bin/env bash
# Runs Millrace's four services as four processes on a local Kafka and registry, on 127.0.0.1 only.
# Kafka and registry keep their data in .cache/local: what was written stays, also after kill -9.
# MILLRACE_LOCAL names another folder for them, MILLRACE_BIN another executable.
#
#   millrace.sh up      starts what does not run, makes the topics, waits until all is ready
#   millrace.sh down    ends everything; data stay
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${MILLRACE_LOCAL:-$root/.cache/local}
millrace=${MILLRACE_BIN:-$root/target/debug/millrace}
unset MILLRACE_BIN MILLRACE_LOCAL # the executable knows its own variables only
kafka_port=19092
registry_port=19181
# shellcheck source=deploy/local/process.sh
. "$here/process.sh"

# Name and admin port.
services=(ingest:9190 transform:9191 deliver:9192 dlq-replayer:9193)

usage() { sed -n '6,7s/^# *//p' "$0" >&2; exit 2; }

ready() { # PORT
  local line
  (exec 3<>"/dev/tcp/127.0.0.1/$1" &&
    printf 'GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3 &&
    read -r -t 5 line <&3 && [[ $line == *' 200 '* ]]) 2>/dev/null
}

start_parts() {
  lives "$dir/kafka" 0 || "$here/kafka.sh" start one "$dir/kafka" "$kafka_port"
  lives "$dir/registry" registry || "$here/registry.sh" start "$dir/registry" "$registry_port"
}

start_services() {
  local service name port
  lives "$dir" receiver || launch "$dir" receiver "$millrace" --config "$dir/millrace.toml" receiver --listen 127.0.0.1:9700
  for service in "${services[@]}"; do
    name=${service%:*} port=${service#*:}
    lives "$dir" "$name" && continue
    MILLRACE_INSTANCE=$name-0 MILLRACE_ADMIN__LISTEN=127.0.0.1:$port \
      launch "$dir" "$name" "$millrace" --config "$dir/millrace.toml" "$name"
  done
  for service in "${services[@]}"; do await "$dir" "${service%:*}" 60 ready "${service#*:}"; done
}

up() {
  [ -x "$millrace" ] || fail "$millrace is missing; run cargo build first"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  cp "$here/millrace.toml" "$dir/millrace.toml"
  cd "$root"
  start_parts
  "$millrace" --config "$dir/millrace.toml" topics apply
  start_services
  cat <<TEXT
ingest        http://127.0.0.1:8080/v1/events/{source}
dead letters  http://127.0.0.1:8081/v1/dead-letters
commands      $millrace --config $dir/millrace.toml dlq list
logs          $dir/*.log
metrics       ports 9190 ingest, 9191 transform, 9192 deliver, 9193 dlq-replayer
stop with     make down
TEXT
}

down() {
  local name ends=()
  [ -d "$dir" ] || return 0
  dir=$(cd "$dir" && pwd)
  for name in ingest transform deliver dlq-replayer receiver; do end "$dir" "$name" 35 & ends+=($!); done
  for name in "${ends[@]}"; do wait "$name"; done
  "$here/registry.sh" stop "$dir/registry"
  "$here/kafka.sh" stop "$dir/kafka"
}

[ $# -eq 1 ] || usage
case "$1" in
up) up ;;
down) down ;;
*) usage ;;
esac
