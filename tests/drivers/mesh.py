"""A dbmesh of the drivers' own, with a small pool, in front of servers that already run.

Owns the process and its folder. It must never outlive the run. Input: the resources.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

CONFIG = """\
apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: drivers}}
spec:
  services:
  - name: mysql
    databaseMySQL: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}, poolSize: {pool}}}
    trafficStrategy: drivers
    compression: [zlib, zstd]
    limits: {{localInfile: true, queueWaitMs: 1500}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {{name: drivers}}
spec: {{selector: {{matchLabels: {{source: drivers}}}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: server, labels: {{source: drivers}}}}
spec: {{database: {{{kind}: {{host: 127.0.0.1, port: {direct}, user: {user}, password: {password}}}}}}}
"""


def one_server(port, user, password, pool, kind, direct):
    """The resources of a service in front of one server."""
    name = {"mysql": "MySQL", "mariadb": "MariaDB"}[kind]
    return CONFIG.format(port=port, user=user, password=password, pool=pool, kind=name, direct=direct)


class Mesh:
    """A running proxy with a pool of so many connections."""

    def __init__(self, binary, pool, text):
        """`text(port)`: the resources of a service at that port."""
        self.pool = pool
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dbmesh-drivers-"))
        self.port, admin = free_port(), free_port()
        (self.folder / "dbmesh.yaml").write_text(text(self.port))
        self.log = open(self.folder / "log", "w", encoding="utf-8")
        command = [binary, "proxy", "--config", str(self.folder / "dbmesh.yaml"), "--admin", f"127.0.0.1:{admin}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.admin = admin
        self.wait()

    def wait(self):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.1)
        log = self.tail()
        self.close()
        raise SystemExit(f"drivers: dbmesh does not become ready; its log ends with\n{log}")

    def alive(self):
        return self.process.poll() is None

    def tail(self, lines=30):
        text = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def close(self):
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.log.close()
        if not os.environ.get("DBMESH_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
