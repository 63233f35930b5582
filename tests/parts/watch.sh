#!/bin/sh
# Ends the servers of a folder once nobody needs them, and removes the folder.
#   watch.sh owned FOLDER            when the process that holds FOLDER/owner is gone
#   watch.sh shared FOLDER SECONDS   when no process held FOLDER.users for so long, judged under FOLDER.lock
#   watch.sh end FOLDER...           now
# A process is ours only if its arguments or its environment name the folder: a process id may have found a new owner.
set -u

end() {
  for role in "$1"/pids/*; do
    [ -f "$role" ] || continue
    pid=$(cat "$role")
    [ "$pid" = "$$" ] && continue
    if [ -n "$pid" ] && grep -aqsF "$1" "/proc/$pid/cmdline" "/proc/$pid/environ"; then
      kill -9 -- "-$pid" 2>/dev/null # with what it started, where it leads a group
      kill -9 "$pid" 2>/dev/null
    fi
  done
  sleep 0.2
  place=$(cat "$1/place" 2>/dev/null) # where a database has its data
  if [ -n "$place" ]; then
    if grep -qsF " $place " /proc/mounts; then umount -l "$place"; fi
    case $place in */raccord-test-*) rm -rf "$place" ;; esac
  fi
  rm -rf "$1"
}

case $1 in
  owned)
    flock -x "$2/owner" true
    if [ -d "$2/pids" ]; then end "$2"; fi
    ;;
  shared)
    idle=0
    exec 9>>"$2.lock"
    while [ -d "$2/pids" ]; do
      sleep 1
      flock -x 9
      if flock -xn "$2.users" true; then idle=$((idle + 1)); else idle=0; fi
      if [ "$idle" -ge "$3" ]; then end "$2"; exit; fi
      flock -u 9
    done
    ;;
  end)
    shift
    for folder in "$@"; do
      if [ -d "$folder/pids" ]; then end "$folder"; fi
    done
    ;;
esac
