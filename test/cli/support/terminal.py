"""Runs a command on a pseudo-terminal, types standard input into it, and prints what it shows.

terminal.py COLUMNS COMMAND [ARGUMENT...]; ends with the command's exit code.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

columns = int(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])

sources = [terminal, 0]
while True:
    readable, _, _ = select.select(sources, [], [])
    if 0 in readable:
        typed = os.read(0, 4096)
        if typed:
            os.write(terminal, typed)
        else:
            sources.remove(0)
    if terminal in readable:
        try:
            shown = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the terminal open any more.
            break
        sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
        sys.stdout.buffer.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
