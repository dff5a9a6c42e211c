#!/bin/sh
# Starts a sandbox: puts right what a home of an older image lacks, opens the doors, and becomes the command.
set -eu

[ -e "$HOME/disk0" ] || [ -L "$HOME/disk0" ] || ln -s /data/disk0 "$HOME/disk0" || true
# A directory of the sandbox's own: opencode does not search a home, with all its caches.
if mkdir -p "$HOME/project" 2>/dev/null; then
    cd "$HOME/project"
fi

# As a child of the container's init, which cleans up after it, and not of the command.
(python3 -I -S /usr/local/lib/cli-server/doors.py </dev/null &)

exec "$@"
