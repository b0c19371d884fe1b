# The program on the PATH, after a line that says where the server listens.
import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(ADDRESS)  # type: ignore[name-defined] # noqa: F821
    cwd = os.getcwd()  # noqa: PTH109 - pathlib takes its time to import
    called = {"argv": sys.argv, "cwd": cwd, "env": dict(os.environ)}
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(called).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(16) or 255))
