#!/usr/bin/env bash
# Makes the base image of the Dockerfiles where no registry can be reached: Debian's smallest system, by debootstrap.
# Does nothing if the image is there. Needs root, debootstrap and python3. DEBIAN_MIRROR names another mirror.
set -euo pipefail

image=${1:-debian:bookworm-slim}
suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
bundle=/etc/ssl/certs/ca-certificates.crt

if docker image inspect "$image" >/dev/null 2>&1; then
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "making $image needs root: run it with sudo, or pull the image"; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing; install it: apt-get install debootstrap"; exit 1; }

root=$(mktemp --directory)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root" # it becomes the image's /, which users of the image must be able to enter
echo "making $image by debootstrap"
if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" >"$root.log" 2>&1; then
    tail -n 20 "$root.log" "$root/debootstrap/debootstrap.log" >&2 || true
    exit 1
fi
rm -f "$root.log"

cat >"$root/etc/apt/sources.list" <<END
deb $mirror $suite main
deb $mirror $suite-updates main
deb $security $suite-security main
END
# As in Debian's own slim images: what programs run with, without what people read.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<END
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
END
find "$root/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$root"/usr/share/{info,locale,man}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*

# Where a proxy inspects TLS, only the host knows its certificates. They stand in its bundle, however they came there;
# those that Debian does not have go into the image, so that apt, pip and npm work in builds.
if [ -r "$bundle" ]; then
    python3 - "$bundle" "$root$bundle" "$root/usr/local/share/ca-certificates" <<'END'
import re, sys
from pathlib import Path

one = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
host, debian = (set(one.findall(Path(name).read_text(errors="replace"))) for name in sys.argv[1:3])
for number, certificate in enumerate(sorted(host - debian)):
    Path(sys.argv[3], f"host-{number}.crt").write_text(certificate + "\n")
END
    chroot "$root" update-ca-certificates >/dev/null 2>&1
fi

tar --create --numeric-owner --directory "$root" . | docker import --change 'CMD ["bash"]' - "$image" >/dev/null
