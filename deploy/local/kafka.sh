#!/usr/bin/env bash
# Starts and stops a local Apache Kafka of one or three nodes, on 127.0.0.1 only.
# Needs what fetch.sh fetched. Plain text, no authentication: for a developer's machine and tests.
#
#   kafka.sh start one|three DIR BASEPORT   clients at BASEPORT (+1, +2), controllers at BASEPORT+10 …
#   kafka.sh node DIR N                     starts node N of DIR again, as it was
#   kafka.sh stop DIR                       ends all nodes of DIR; their data stay
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${MILLRACE_TOOLS:-$here/../../.cache}
# shellcheck source=deploy/local/process.sh
. "$here/process.sh"

usage() { sed -n '5,7s/^# *//p' "$0" >&2; exit 2; }

nodes_of() { local file; for file in "$1"/*.properties; do basename "$file" .properties; done; }
client_port() { sed -n 's/^listeners=CLIENT:\/\/127.0.0.1:\([0-9]*\).*/\1/p' "$1/$2.properties"; }

# Fast groups and small internal topics: a test waits for rebalances, not for defaults.
write_properties() { # DIR NODE COUNT BASEPORT
  local dir=$1 node=$2 count=$3 base=$4 voters='' insync=1 i
  for ((i = 0; i < count; i++)); do voters+=",$i@127.0.0.1:$((base + 10 + i))"; done
  [ "$count" -ge 3 ] && insync=2
  cat >"$dir/$node.properties" <<EOF
process.roles=broker,controller
node.id=$node
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:$((base + node)),CONTROLLER://127.0.0.1:$((base + 10 + node))
advertised.listeners=CLIENT://127.0.0.1:$((base + node))
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
log.dirs=$dir/data-$node
auto.create.topics.enable=false
default.replication.factor=$count
min.insync.replicas=$insync
unclean.leader.election.enable=false
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$count
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=$insync
share.coordinator.state.topic.num.partitions=8
share.coordinator.state.topic.replication.factor=$count
share.coordinator.state.topic.min.isr=$insync
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=3000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=500
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=4
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=16777216
EOF
}

java=(java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
  "-Dlog4j2.configurationFile=$here/kafka/log4j2.xml" -cp "$tools/kafka/libs/*")

format() { # DIR NODE
  "${java[@]}" kafka.tools.StorageTool format --ignore-formatted \
    -t "$(cat "$1/cluster-id")" -c "$1/$2.properties" >>"$1/$2.log" 2>&1
}

launch_node() { launch "$1" "$2" "${java[@]}" kafka.Kafka "$1/$2.properties"; }

await_node() { await "$1" "$2" 90 listens "$(client_port "$1" "$2")"; }

start() { # DIR COUNT BASEPORT
  local dir=$1 count=$2 base=$3 node formats=()
  # 22 letters of base64 are a Kafka uuid; the folder keeps it, so that a restart finds its data.
  [ -s "$dir/cluster-id" ] || head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22 >"$dir/cluster-id"
  for ((node = 0; node < count; node++)); do
    lives "$dir" "$node" && fail "node $node of $dir runs already; stop it first"
    write_properties "$dir" "$node" "$count" "$base"
    [ -s "$dir/data-$node/meta.properties" ] || { format "$dir" "$node" & formats+=($!); }
  done
  for node in "${formats[@]}"; do
    wait "$node" || { tail_of "$dir/0.log"; fail "could not format the storage; see $dir/*.log"; }
  done
  for ((node = 0; node < count; node++)); do launch_node "$dir" "$node"; done
  for ((node = 0; node < count; node++)); do await_node "$dir" "$node"; done
}

# TERM goes to all at once: of three nodes the last cannot hand its partitions over, and is killed.
stop() { # DIR SECONDS
  local node ends=()
  for node in $(nodes_of "$1"); do end "$1" "$node" "$2" & ends+=($!); done
  for node in "${ends[@]}"; do wait "$node"; done
}

[ $# -ge 2 ] || usage
[ -s "$tools/kafka/.stamp" ] || fail "Apache Kafka is not in $tools; run deploy/local/fetch.sh first"
case "$1" in
start)
  [ $# -eq 4 ] || usage
  case "$2" in one) count=1 ;; three) count=3 ;; *) usage ;; esac
  mkdir -p "$3"
  start "$(cd "$3" && pwd)" "$count" "$4"
  ;;
node)
  [ $# -eq 3 ] || usage
  dir=$(cd "$2" && pwd)
  lives "$dir" "$3" && fail "node $3 of $dir runs already"
  launch_node "$dir" "$3"
  await_node "$dir" "$3"
  ;;
stop) if [ -d "$2" ]; then stop "$(cd "$2" && pwd)" 8; fi ;;
*) usage ;;
esac
