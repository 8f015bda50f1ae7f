"""Runs a command whose stderr nobody reads for a while, and counts what came.

usage: slow_reader.py pipe|socket SECONDS -- CMD...
The command prints `over` on stdout when what matters is over. Prints JSON: how long that took, the exit code, and stderr, all of it read
SECONDS after `over`.
"""
import json, os, socket, subprocess, sys, time


def ends(kind):
    if kind == "pipe":
        return os.pipe()
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def main():
    kind, seconds = sys.argv[1], float(sys.argv[2])
    reader, writer = ends(kind)
    began = time.monotonic()
    child = subprocess.Popen(sys.argv[4:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    while child.stdout.readline() not in (b"over\n", b""):
        pass
    over_after = time.monotonic() - began
    time.sleep(seconds)
    stderr = b""
    while chunk := os.read(reader, 65536):
        stderr += chunk
    print(json.dumps({"overAfter": over_after, "exitCode": child.wait(), "stderr": stderr.decode()}))


main()
