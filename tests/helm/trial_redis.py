"""The trial Redis, started as its pod starts it: the rendered command, configuration and probe, on a real server."""

import os
import shutil
import subprocess
import tempfile
import time

from chart import of_kind

PASSWORD = "correct horse $(battery) `staple`"


def check(renderings):
    documents = renderings["trial"]
    container = of_kind(documents, "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
    config = next(d for d in of_kind(documents, "ConfigMap") if "redis.conf" in d["data"])["data"]["redis.conf"]
    for program in ("redis-server", "redis-cli"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is not there: run tests/install.sh")
    folder = tempfile.mkdtemp(prefix="redis-")
    try:
        yield from run(folder, container, config)
    finally:
        shutil.rmtree(folder)


def run(folder, container, config):
    # By the names that the image has, in folders of the test's own, on a socket there.
    for ours, theirs in (("valkey-server", "redis-server"), ("valkey-cli", "redis-cli")):
        os.symlink(shutil.which(theirs), os.path.join(folder, ours))
    os.mkdir(os.path.join(folder, "data"))
    path, socket = os.path.join(folder, "redis.conf"), os.path.join(folder, "socket")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config.replace("dir /data", f"dir {folder}/data") + f"\nport 0\nunixsocket {socket}\n")
    script = container["args"][0].replace("/etc/redis/redis.conf", path)
    secrets = {variable["name"]: PASSWORD for variable in container["env"]}
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": folder, **secrets}
    server = subprocess.Popen([*container["command"], script], env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(*words, password=PASSWORD):
        login = {"REDISCLI_AUTH": password} if password else {}
        done = subprocess.run(["redis-cli", "-s", socket, *words], capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], **login})
        return done.stdout.strip() + done.stderr.strip()

    try:
        deadline = time.monotonic() + 120
        while ask("ping") != "PONG":
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                yield f"the server does not answer: {server.communicate()[0]}"
                return
            time.sleep(0.05)
        if "NOAUTH" not in ask("ping", password=None):
            yield "who has no password gets in"
        if "PONG" == ask("ping", password="wrong"):
            yield "who has a wrong password gets in"
        for key, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"),
                           ("maxmemory", str(512 << 20)), ("save", "")):
            answer = ask("config", "get", key).splitlines()
            if answer[1:] != ([value] if value else []) and answer != [key, value]:
                yield f"{key} is {answer}"
        with open(f"/proc/{server.pid}/cmdline", "rb") as file:
            line = file.read().replace(b"\0", b" ").decode()
        if "valkey-server" not in line and "redis-server" not in line:
            yield f"the first process is {line!r}: it would not hear the signal to stop"
        if "horse" in line:
            yield "the password can be seen by `ps`"
        ask("set", "a", "b")
        server.terminate()
        if server.wait(timeout=120) not in (0, -15):
            yield f"ended by the signal with {server.returncode}"
        if not os.path.getsize(os.path.join(folder, "data", "appendonlydir", "appendonly.aof.1.incr.aof")):
            yield "nothing was written to the log"
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
