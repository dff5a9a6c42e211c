"""The command line of a jail, compared whole: what is shown to a sandbox is what stands here."""

from __future__ import annotations

import shlex
from dataclasses import replace

from backends.bubblewrap import Jailer, jail
from backends.environment import environment, etc_files
from backends.furnish import Owner, Places
from backends.program import Program

ROOT = Jailer(
    bwrap="/usr/bin/bwrap",
    setpriv="/usr/bin/setpriv",
    owner=Owner(71000, 71000),
    uid=71000,
    gid=71000,
    links=(("usr/bin", "/bin"),),
    directories=("/lib64",),
)
PERSON = replace(ROOT, setpriv=None, owner=Owner(1001, 1001), uid=1000, gid=1000)
PLACES = Places(home="/d/s/home", tmp="/d/s/tmp", etc="/d/s/etc", log="/d/s/log", disk="/d/w/disk", start="project")
PROGRAM = Program("/usr/bin/opencode", "/opt/opencode/bin/opencode", (("/x/opencode", "/opt/opencode/bin/opencode"),))
COMMAND = ["/opt/opencode/bin/opencode", "serve"]
OPEN_ETC = shlex.split("""
    alternatives bash.bashrc ca-certificates ca-certificates.conf crypto-policies fonts gai.conf host.conf inputrc
    ld.so.cache ld.so.conf ld.so.conf.d localtime magic mime.types nsswitch.conf os-release pki profile.d protocols
    resolv.conf services shells ssl terminfo timezone
""")
SHARED = shlex.split("""
    --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --hostname sandbox --die-with-parent --new-session
    --cap-drop ALL --unsetenv CLI_SERVER_INSTALLATION --unsetenv CLI_SERVER_DATA
""")
CAPABILITIES = shlex.split("""
    --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP --cap-add CAP_DAC_READ_SEARCH
""")
FILE_SYSTEM = [
    *shlex.split("""
        --proc /proc --dev /dev --perms 1777 --size 268435456 --tmpfs /dev/shm
        --perms 0755 --dir /run --perms 0755 --dir /var --perms 0755 --dir /home
        --ro-bind /usr /usr --ro-bind /lib64 /lib64 --symlink /tmp /var/tmp --symlink usr/bin /bin
        --bind /d/s/tmp /tmp --bind /d/s/home /home/agent
        --perms 0755 --dir /data --perms 0755 --dir /data/disk0 --bind /d/w/disk /data/disk0
        --perms 0755 --dir /etc
    """),
    *(word for name in OPEN_ETC for word in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")),
    *shlex.split("""
        --ro-bind /d/s/etc/group /etc/group --ro-bind /d/s/etc/hosts /etc/hosts
        --ro-bind /d/s/etc/passwd /etc/passwd --ro-bind /d/s/etc/profile /etc/profile
        --perms 0755 --dir /opt --perms 0755 --dir /opt/opencode --perms 0755 --dir /opt/opencode/bin
        --ro-bind /x/opencode /opt/opencode/bin/opencode
        --remount-ro / --chdir /home/agent/project --
    """),
]
BECOME = shlex.split("""
    /usr/bin/setpriv --reuid 71000 --regid 71000 --clear-groups
    --inh-caps -all --ambient-caps -all --bounding-set -all --
""")


def test_jail_of_a_daemon_that_is_root() -> None:
    expected = ["/usr/bin/bwrap", *SHARED, *CAPABILITIES, *FILE_SYSTEM, *BECOME, *COMMAND]
    assert jail(ROOT, PLACES, PROGRAM, "/d", COMMAND) == expected


def test_jail_of_an_ordinary_user() -> None:
    user = shlex.split("--unshare-user --uid 1000 --gid 1000")
    expected = ["/usr/bin/bwrap", *user, *SHARED, *FILE_SYSTEM, *COMMAND]
    assert jail(PERSON, PLACES, PROGRAM, "/d", COMMAND) == expected


def test_a_data_directory_below_something_shown_is_covered() -> None:
    hidden = "/usr/local/var/cli-server"
    found = jail(PERSON, PLACES, None, hidden, COMMAND)
    assert found[found.index("--tmpfs", found.index("/etc/profile")) + 1] == hidden
    package = replace(PROGRAM, binds=(("/srv/node_modules", "/srv/node_modules"),))
    assert "/srv/node_modules/data" in jail(PERSON, PLACES, package, "/srv/node_modules/data", COMMAND)
    assert "/srv/data" not in jail(PERSON, PLACES, package, "/srv/data", COMMAND)


def test_a_script_is_shown_under_its_own_name_and_as_opencode() -> None:
    script = Program("/s/oc", "/s/oc", (("/s/oc", "/s/oc"),), (("/s/oc", "/opt/opencode/bin/opencode"),))
    found = " ".join(jail(PERSON, replace(PLACES, start=""), script, "/d", ["/s/oc"]))
    assert "--perms 0755 --dir /s --ro-bind /s/oc /s/oc" in found
    assert "--symlink /s/oc /opt/opencode/bin/opencode" in found
    assert "--chdir /home/agent --" in found


def test_environment_is_given_whole() -> None:
    given = {"A": "1", "HOME": "/root", "PATH": "/evil", "LD_PRELOAD": "x"}
    assert environment(given, home="/home/agent", user="agent", shell="/bin/bash") == {
        "A": "1",
        "LD_PRELOAD": "x",
        "HOME": "/home/agent",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "PATH": (
            "/home/agent/.local/bin:/opt/opencode/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "XDG_CONFIG_HOME": "/home/agent/.config",
        "XDG_DATA_HOME": "/home/agent/.local/share",
        "XDG_STATE_HOME": "/home/agent/.local/state",
        "XDG_CACHE_HOME": "/home/agent/.cache",
    }


def test_etc_names_the_user_and_the_host() -> None:
    files = etc_files(user="agent", uid=5, gid=6, home="/h", shell="/bin/sh", hosts="10.0.0.1 db\n\n")
    assert files["passwd"].splitlines()[1] == "agent:x:5:6:agent:/h:/bin/sh"
    assert files["group"].splitlines()[1] == "agent:x:6:"
    assert files["hosts"] == "10.0.0.1 db\n127.0.1.1 sandbox\n"
    assert "PATH=" not in files["profile"]
