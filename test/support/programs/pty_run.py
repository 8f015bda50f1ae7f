"""Runs a command on a pseudo-terminal of its own, as the foreground job of a session, and types at it.

usage: pty_run.py STEPS -- CMD...
STEPS is a JSON list: {"expect": text} waits for output, {"send": text} types, {"size": [rows, cols]} resizes, {"sleep": seconds},
{"hidden": true} waits until the terminal does not show what is typed, {"hangUp": true} closes it, as a window does.
Prints JSON: output, exit code, and whether the terminal's settings are as before.
"""
import fcntl, json, os, pty, select, struct, sys, termios, time

DEADLINE_S = 30.0


def main():
    at = sys.argv.index("--")
    steps, command = json.loads(sys.argv[1]), sys.argv[at + 1 :]
    keeper, ours = pty.openpty()
    resize(keeper, [40, 100])
    before = termios.tcgetattr(ours)
    pid = os.fork()
    if pid == 0:
        os.close(keeper)
        os.login_tty(ours) if hasattr(os, "login_tty") else login(ours)
        os.execvp(command[0], command)
    hung_up = any("hangUp" in step for step in steps)
    if hung_up:
        os.close(ours)
    output = play(keeper, steps, time.monotonic() + DEADLINE_S)
    pid, status, output = finish(None if hung_up else keeper, pid, output)
    same = hung_up or termios.tcgetattr(ours) == before
    print(json.dumps({"output": output.decode(), "exitCode": os.waitstatus_to_exitcode(status), "settingsKept": same}))


def login(fd):
    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    for target in (0, 1, 2):
        os.dup2(fd, target)
    if fd > 2:
        os.close(fd)


def resize(fd, size):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))


def read_some(fd):
    if fd is None:
        time.sleep(0.02)
        return b""
    if not select.select([fd], [], [], 0.02)[0]:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


def play(fd, steps, deadline):
    output, seen = b"", 0
    for step in steps:
        if "send" in step:
            os.write(fd, step["send"].encode())
        elif "size" in step:
            resize(fd, step["size"])
        elif "sleep" in step:
            time.sleep(step["sleep"])
        elif "hidden" in step:
            while termios.tcgetattr(fd)[3] & termios.ECHO:
                if time.monotonic() > deadline:
                    sys.exit(f"the terminal shows what is typed; got {output!r}")
                output += read_some(fd)
        elif "hangUp" in step:
            os.close(fd)
            return output
        else:
            wanted = step["expect"].encode()
            while output.find(wanted, seen) < 0:
                if time.monotonic() > deadline:
                    sys.exit(f"waited in vain for {step['expect']!r}; got {output!r}")
                output += read_some(fd)
            seen = output.find(wanted, seen) + len(wanted)
    return output


def finish(fd, pid, output):
    deadline = time.monotonic() + DEADLINE_S
    while True:
        output += read_some(fd)
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            while chunk := read_some(fd):
                output += chunk
            return gone, status, output
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            sys.exit(f"the command does not end; got {output!r}")


main()
