# The program on the PATH, after a line that says where the server listens.
import _signal  # what `signal` wraps takes no time to import
import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(ADDRESS)  # type: ignore[name-defined] # noqa: F821
    cwd = os.getcwd()  # noqa: PTH109 - pathlib takes its time to import
    called = {"argv": sys.argv, "cwd": cwd, "env": dict(os.environ)}
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(called).encode() + b"\n")
    with server.makefile("rb") as answers:
        process = int(answers.readline())
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
            _signal.signal(number, lambda number, _: os.kill(process, number))
        sys.exit(int(answers.readline() or 255))
