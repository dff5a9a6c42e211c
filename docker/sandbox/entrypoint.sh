#!/bin/sh
# Starts a sandbox: puts right what a home lacks, opens the doors, and becomes the command. Whatever somebody has done to
# the home, it goes on: only a sandbox that runs lets them undo it.
set -u

# Without a home that can be written to, opencode does not start.
[ -r "$HOME" ] && [ -w "$HOME" ] && [ -x "$HOME" ] || chmod u+rwx "$HOME" || true
# A cluster's volume comes empty; a Docker engine has filled it from the image.
[ -e "$HOME/.config" ] || cp -RP /usr/local/lib/cli-server/home/. "$HOME/" 2>/dev/null || true
[ -e "$HOME/disk0" ] || [ -L "$HOME/disk0" ] || ln -s /data/disk0 "$HOME/disk0" || true
# A directory of the sandbox's own: opencode does not search a home, with all its caches. The home is better than nothing.
mkdir -p "$HOME/project" 2>/dev/null || true
for folder in "$HOME/project" "$HOME"; do
    if [ -r "$folder" ] && cd "$folder" 2>/dev/null; then
        break
    fi
    echo "the sandbox does not start in $folder, which is no directory that it may read" >&2
done

# As a child of the container's init, which cleans up after it, and not of the command.
(python3 -I -S /usr/local/lib/cli-server/doors.py </dev/null &)

exec "$@"
