#!/usr/bin/env bash
# Renders the Helm chart with the fewest and with all options, lints it, validates what comes out against the schemas of
# Kubernetes 1.29, 1.34 and 1.37, and has the executable read the configuration and the catalog in it, as a pod would.
# Needs Go, Python and `cargo build`; installs nothing in a cluster.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
chart=$here/../../helm/millrace
tools=${MILLRACE_TOOLS:-$here/../../.cache}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)
helm_version=v3.22.0
validate_version=1.37.0
millrace=${MILLRACE_BIN:-$here/../../target/debug/millrace}
unset MILLRACE_BIN # the executable knows its own variables only

fail() { printf 'helm: %s\n' "$*" >&2; exit 1; }

# A helm built without these flags believes that Kubernetes is 1.20 and refuses the chart.
fetch_helm() {
  [ "$(cat "$tools/bin/helm.version" 2>/dev/null)" = "$helm_version" ] && return 0
  local chartutil=helm.sh/helm/v3/pkg/chartutil rules=helm.sh/helm/v3/pkg/lint/rules
  (cd "$tools" && GOBIN=$tools/bin go install -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$helm_version
    -X $chartutil.k8sVersionMajor=1 -X $chartutil.k8sVersionMinor=34 -X $rules.k8sVersionMajor=1 -X $rules.k8sVersionMinor=34" \
    "helm.sh/helm/v3/cmd/helm@$helm_version") 2>"$tools/helm.log" ||
    { tail -5 "$tools/helm.log" >&2; fail "could not build helm; check the network and the Go toolchain"; }
  printf '%s' "$helm_version" >"$tools/bin/helm.version"
}

fetch_schemas() {
  [ "$(cat "$tools/kubernetes-validate/.stamp" 2>/dev/null)" = "$validate_version" ] && return 0
  rm -rf "$tools/kubernetes-validate"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install -q --disable-pip-version-check --target "$tools/kubernetes-validate" \
    "kubernetes-validate==$validate_version" >&2 || fail "could not fetch the Kubernetes schemas with pip; check the network"
  printf '%s' "$validate_version" >"$tools/kubernetes-validate/.stamp"
}

render() { "$tools/bin/helm" template "$1" "$chart" -n demo --kube-version 1.34.0 "${@:2}"; }

# Kinds of other projects have no schema there; they are rendered, not validated.
validate() { # FILE
  local version
  for version in 1.29 1.34 1.37; do
    PYTHONPATH=$tools/kubernetes-validate python3 "$here/validate.py" "$version" "$1"
  done
}

# The configuration as the pods mount it, with stand-ins for the secrets. Its own sections are read by the executable
# alone, which refuses what it does not know.
config() { # SETTING...
  render r1 "$@" -s templates/configmap.yaml |
    awk '/^  millrace.toml:/ {inside = 1; next} /^[^ ]/ {inside = 0} inside' | sed "s|^    ||; s|/run/secrets|$work/secrets|" >"$work/millrace.toml"
  "$millrace" --config "$work/millrace.toml" config >"$work/config.txt" 2>&1
}
stand_in() { mkdir -p "$work/secrets/$(dirname "$1")" && printf '%s' "${2:-x}" >"$work/secrets/$1"; }
stand_in_secrets() {
  stand_in kafka-sasl/password && stand_in registry/password && stand_in dlq-token/token
  mkdir -p "$work/secrets/kafka-client" "$work/secrets/kafka-ca"
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=stand-in -keyout "$work/secrets/kafka-client/tls.key" \
    -out "$work/secrets/kafka-client/tls.crt" 2>/dev/null
  cp "$work/secrets/kafka-client/tls.crt" "$work/secrets/kafka-ca/ca.crt"
}
reads() { # SETTING...
  config "$@" || { cat "$work/config.txt" >&2; fail "the executable refuses the chart's configuration"; }
  passed=$((passed + 1))
}

# Kubernetes mounts a ConfigMap as links into a folder that is replaced as a whole.
catalog() {
  local mounted=$work/catalog data=..2026_01_01
  mkdir -p "$mounted/$data/mappings" && cp -R "$here/../../examples/." "$mounted/$data"
  ln -s "$data" "$mounted/..data"
  (cd "$mounted" && for name in catalog.yaml mappings secrets; do ln -s "..data/$name" "$name"; done)
  "$millrace" check "$mounted" >"$work/check.txt" 2>&1 || { cat "$work/check.txt" >&2; fail "a mounted catalog is not read"; }
  passed=$((passed + 1))
}

refuses() { # WORD SETTING...: the render has to fail and to say WORD
  local word=$1 told
  shift
  if told=$(render r1 -f "$chart/ci/small.yaml" "$@" 2>&1); then fail "rendered although it should not: $*"; fi
  case $told in *"$word"*) passed=$((passed + 1)) ;; *) fail "refused without naming $word: $told" ;; esac
}

[ -x "$millrace" ] || fail "$millrace is missing; run cargo build first"
fetch_helm
fetch_schemas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
for values in small full; do
  "$tools/bin/helm" lint --quiet "$chart" -f "$chart/ci/$values.yaml" || fail "lint failed with $values.yaml"
  render r1 -f "$chart/ci/$values.yaml" >"$work/$values.yaml"
  render r1 -f "$chart/ci/$values.yaml" | cmp -s - "$work/$values.yaml" || fail "two renders with $values.yaml differ"
  validate "$work/$values.yaml"
  passed=$((passed + 3))
done
# Two releases of one namespace must not share an object.
render other -f "$chart/ci/full.yaml" >"$work/other.yaml"
names() { awk '/^kind: /{kind=$2} /^metadata:/{inside=1} inside && /^  name: /{print kind, $2; inside=0}' "$1" | sort; }
[ -z "$(comm -12 <(names "$work/full.yaml") <(names "$work/other.yaml"))" ] || fail "two releases share an object"
passed=$((passed + 1))
refuses bootstrapserver --set kafka.bootstrapserver=x
refuses bootstrapServers --set kafka.bootstrapServers=
refuses tokenSecret --set dlqReplayer.tokenSecret.name=
refuses passwordSecret --set kafka.sasl.mechanism=PLAIN
refuses catalog --set catalog.existingConfigMap=
refuses replicas --set dlqReplayer.replicas=2
stand_in_secrets
reads -f "$chart/ci/small.yaml"
reads -f "$chart/ci/full.yaml"
reads -f "$chart/ci/small.yaml" --set-json 'deliver.config={"egress_allow":["10.0.0.0/8"],"http.dns_timeout_ms":100}'
if config -f "$chart/ci/small.yaml" --set ingest.config.lissten=x; then fail "an unknown key was accepted"; fi
grep -q ingest.lissten "$work/config.txt" || fail "an unknown key was refused without its name: $(cat "$work/config.txt")"
passed=$((passed + 1))
catalog
printf 'helm: %s checks passed\n' "$passed"
