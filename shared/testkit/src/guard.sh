# Waits until its input ends, which happens when the test process is gone in whatever way, then
# kills all that runs out of the folder $1 and removes it. Also the sweep of what a crash left.
cat >/dev/null
for file in "$1"/*.pid; do
  pid=$(cat "$file" 2>/dev/null) || continue
  [ -n "$pid" ] || continue
  if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF "TESTKIT_SCRATCH=$1"; then
    kill -9 -- "-$pid" 2>/dev/null
  fi
done
rm -rf "$1"
