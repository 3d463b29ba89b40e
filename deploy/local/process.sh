# shellcheck shell=bash
# What kafka.sh and registry.sh share: starting a process in a session of its own, waiting for
# its port, ending it by its pid file. Sourced, not run.

fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# A pid file may outlive its process and the number be given to another one: a process is ours
# only if its command line names our folder.
lives() { # FOLDER NAME
  local pid
  pid=$(cat "$1/$2.pid" 2>/dev/null) && [ -n "$pid" ] &&
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$1/"
}

launch() { # FOLDER NAME COMMAND...
  local folder=$1 name=$2
  shift 2
  setsid "$@" >>"$folder/$name.log" 2>&1 </dev/null 9>&- &
  printf '%s\n' $! >"$folder/$name.pid"
  # Until it has become the command, it goes by this script's command line, and would be taken for a stranger.
  for _ in {1..100}; do
    lives "$folder" "$name" && return 0
    sleep 0.05
  done
}

# Ends the process and all it started; waits until it is gone, kills what does not go in time.
end() { # FOLDER NAME SECONDS
  local folder=$1 name=$2 tenths=$(($3 * 10)) pid
  lives "$folder" "$name" || { rm -f "$folder/$name.pid"; return 0; }
  pid=$(cat "$folder/$name.pid")
  [ "$tenths" -gt 0 ] && kill -TERM "$pid" 2>/dev/null
  while [ "$tenths" -gt 0 ] && lives "$folder" "$name"; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  while lives "$folder" "$name"; do sleep 0.05; done
  rm -f "$folder/$name.pid"
}

tail_of() { tail -15 "$1" >&2; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

await() { # FOLDER NAME SECONDS CONDITION...
  local folder=$1 name=$2 tenths=$(($3 * 10)) seconds=$3
  shift 3
  until "$@"; do
    lives "$folder" "$name" || { tail_of "$folder/$name.log"; fail "$name ended at start; see $folder/$name.log"; }
    [ "$tenths" -gt 0 ] || { tail_of "$folder/$name.log"; fail "$name is not ready after $seconds s; see $folder/$name.log"; }
    sleep 0.1
    tenths=$((tenths - 1))
  done
}
