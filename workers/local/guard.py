"""Stands in front of every child process: ties its life to the parent's, then becomes it.

Run by path, with Python's `-I -S` (a few milliseconds), as `guard.py PARENT_PID SIGNAL USER COMMAND...`. It asks the
kernel to send SIGNAL to this process when the parent dies (prctl(2), PR_SET_PDEATHSIG), which holds even where the
parent is killed with SIGKILL and can clean up nothing. A `preexec_fn` would do the same, but is unsafe in a parent
with threads.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1
SAME_USER = "-"


def main(parent: int, death_signal: signal.Signals, user: str, command: list[str]) -> None:
    """Drop to `user` (`-`: stay who we are), bind to `parent`, exec `command`. Returns only by raising OSError."""
    if user != SAME_USER:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)  # before prctl: a change of user clears the death signal
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we asked
        return
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is this file's job


if __name__ == "__main__":
    main(int(sys.argv[1]), signal.Signals(int(sys.argv[2])), sys.argv[3], sys.argv[4:])
