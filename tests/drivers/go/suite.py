"""go-sql-driver's own tests: `suite.py` with the target on standard input, one answer for each test on standard output.

Owns a copy of the module's sources. It must never run tests that look for other hosts: only those of driver_test.go, which
talk to the server they are given. run.py compares what passes against the server with what passes through the mesh.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MODULE = "github.com/go-sql-driver/mysql"
SECONDS_MAX = 200


def main():
    target = json.load(sys.stdin)["target"]
    subprocess.run(["go", "mod", "download"], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run(["go", "list", "-m", "-f", "{{.Dir}}", MODULE], cwd=HERE, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory(prefix="dbmesh-drivers-go-") as folder:
        copy = pathlib.Path(folder) / "mysql"
        shutil.copytree(listed.stdout.strip(), copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        names = re.findall(r"^func (Test\w+)\(", (copy / "driver_test.go").read_text(encoding="utf-8"), re.MULTILINE)
        env = {**os.environ, "MYSQL_TEST_USER": target["user"], "MYSQL_TEST_PASS": target["password"], "MYSQL_TEST_PROT": "tcp",
               "MYSQL_TEST_ADDR": f"127.0.0.1:{target['port']}", "MYSQL_TEST_DBNAME": "gotest"}
        command = ["go", "test", "-json", f"-timeout={SECONDS_MAX}s", "-run", f"^({'|'.join(names)})$", "."]
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=SECONDS_MAX + 30, check=False)
    passed = 0
    for line in done.stdout.splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("Test") and event["Action"] in ("pass", "fail", "skip"):
            passed += event["Action"] == "pass"
            print(json.dumps({"scenario": event["Test"], "session": "a", "step": 0, "answer": event["Action"]}), flush=True)
    # Without a server each of them is left out.
    if passed < 100:
        sys.exit(f"only {passed} tests passed: {done.stderr[-500:]}")


if __name__ == "__main__":
    main()
