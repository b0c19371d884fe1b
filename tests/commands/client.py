# The program on the PATH, after a line that says where the server listens. Its modules are written
# in C: `socket`, `signal` and `json` around them take longer to import than all that is done here.
import _signal
import _socket
import marshal
import os
import sys

server = _socket.socket(_socket.AF_UNIX)
server.connect(ADDRESS)  # type: ignore[name-defined] # noqa: F821
cwd = os.getcwd()  # noqa: PTH109 - pathlib takes its time to import
called = marshal.dumps({"argv": sys.argv, "cwd": cwd, "env": dict(os.environ)})
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(b"%d\n" % len(called) + called)
with open(server.detach(), "rb") as answers:  # noqa: PTH123 - a number
    process = int(answers.readline())
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, lambda number, _: os.kill(process, number))
    sys.exit(int(answers.readline() or 255))
