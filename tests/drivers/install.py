"""Fetches the drivers with the package managers of their languages into a cache folder.

Owns `<cache>/drivers`, where `<cache>` is DBMESH_CACHE or ~/.cache/dbmesh. It must never install anything for the whole
machine, and never hide that something is missing: it returns a reason instead of a driver. Versions are those of
requirements.txt, package.json, go.mod and drivers.txt, or the distribution's.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


class Missing(Exception):
    """What is missing, and what to do."""


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    root = os.environ.get("DBMESH_CACHE") or pathlib.Path(home) / "dbmesh"
    folder = pathlib.Path(root) / "drivers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Lock:
    """One installation at a time."""

    def __enter__(self):
        self.file = open(cache() / "lock", "w", encoding="utf-8")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def program(name, hint):
    found = shutil.which(name)
    if not found:
        raise Missing(f"`{name}` is not on PATH: {hint}")
    return found


def run(command, what, seconds=300, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False, **more)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.decode(errors="replace").splitlines()[-6:])
        raise Missing(f"{what} failed:\n{tail}")
    return done.stdout.decode(errors="replace")


def once(name, sources, make):
    """Runs `make(folder)` unless it was done before with these sources; the folder."""
    digest = hashlib.sha256(b"".join(pathlib.Path(s).read_bytes() for s in sources)).hexdigest()[:16]
    folder = cache() / name
    mark = folder / ".made-of"
    with Lock():
        if not (mark.exists() and mark.read_text() == digest):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            mark.write_text(digest)
    return folder


def python():
    """The Python of a virtual environment without mysqlclient, which needs a compiler."""
    wanted = HERE / "python/requirements.txt"

    def make(folder):
        print("drivers: fetching Python drivers", flush=True)
        run([sys.executable, "-m", "venv", str(folder)], "making a virtual environment")
        others = [line for line in wanted.read_text().split() if not line.startswith("mysqlclient")]
        run([str(folder / "bin/pip"), "-q", "install", *others], "pip install")

    return once("python", [wanted], make) / "bin/python"


def apt(*arguments, folder=None):
    """apt with lists of packages of its own, so that neither root nor the machine's lists are needed."""
    program("apt-get", "only Debian's packages are known here; install the driver's packages by hand")
    lists = cache() / "apt/lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache() / 'apt'}", "-o", "Debug::NoLocking=1"]
    return run(["apt-get", "-q", *options, *arguments], f"apt-get {' '.join(arguments)}", cwd=folder)


def debian(*packages):
    """The root of unpacked packages of the machine's own distribution, with what they need and the machine lacks."""
    program("dpkg-deb", "install dpkg")
    listed = cache() / ("deb-" + "-".join(packages) + ".txt")
    listed.write_text("\n".join(packages))

    def make(folder):
        print(f"drivers: fetching {' '.join(packages)}", flush=True)
        apt("update")
        plan = apt("install", "--simulate", "--no-install-recommends", *packages).splitlines()
        # `Inst NAME (…` is new; `Inst NAME [VERSION] (…` only a newer version of what the machine has.
        needed = [words[1] for words in map(str.split, plan) if words[:1] == ["Inst"] and words[2].startswith("(")]
        apt("download", *sorted({*packages, *needed}), folder=folder)
        for package in folder.glob("*.deb"):
            run(["dpkg-deb", "-x", str(package), str(folder / "root")], "dpkg-deb")
            package.unlink()

    return once("deb-" + packages[0], [listed], make) / "root"


def with_libraries(root, *more):
    """How a command is begun that needs the libraries below `root`."""
    folders = [found for base in ("usr/lib", "lib") for found in root.glob(f"{base}/*-linux-gnu")]
    return ["env", f"LD_LIBRARY_PATH={':'.join(map(str, folders))}", *plugins(root), *more]


def plugins(root):
    """What tells MariaDB's connector where its plugins are: it looks where its package would have been installed."""
    found = root.glob("usr/lib/*-linux-gnu/libmariadb3/plugin")
    return [f"MARIADB_PLUGIN_DIR={folder}" for folder in list(found)[:1]]


def mysqlclient():
    """How the same Python is begun, with mysqlclient built against MariaDB's C connector."""
    at = python()
    wanted = [line for line in (HERE / "python/requirements.txt").read_text().split() if line.startswith("mysqlclient")]
    test = [str(at), "-c", "import MySQLdb"]
    if subprocess.run(test, check=False, capture_output=True).returncode == 0:
        return with_connector(at)
    env = dict(os.environ)
    if not any(shutil.which(name) for name in ("mysql_config", "mariadb_config")):
        root = debian("libmariadb-dev", "libmariadb3", "libssl-dev", "zlib1g-dev")
        lib = next(root.glob("usr/lib/*-linux-gnu"))
        env["MYSQLCLIENT_CFLAGS"] = f"-I{root}/usr/include/mariadb"
        env["MYSQLCLIENT_LDFLAGS"] = f"-L{lib} -lmariadb -Wl,-rpath,{lib}"
    with Lock():
        run([str(at.parent / "pip"), "-q", "install", *wanted], "pip install mysqlclient", env=env)
    run(test, "import of mysqlclient")
    return with_connector(at)


def with_connector(at):
    """How this Python is begun with MariaDB's connector, if that was unpacked."""
    return ["env", *plugins(cache() / "deb-libmariadb-dev/root"), str(at)]


def node():
    """A folder with node_modules."""
    program("node", "install Node.js 18 or later")
    npm = program("npm", "install npm")
    wanted = HERE / "node/package.json"

    def make(folder):
        print("drivers: fetching Node drivers", flush=True)
        shutil.copy(wanted, folder)
        run([npm, "install", "--silent", "--no-package-lock", "--ignore-scripts"], "npm install", cwd=folder)

    return once("node", [wanted], make)


def go():
    """The built Go program."""
    compiler = program("go", "install Go")
    sources = sorted((HERE / "go").glob("*.go")) + [HERE / "go/go.mod", HERE / "go/go.sum"]

    def make(folder):
        print("drivers: building the Go program", flush=True)
        run([compiler, "build", "-o", str(folder / "play"), "."], "go build", cwd=HERE / "go")

    return once("go", sources, make) / "play"


def java():
    """The classpath of the Java program, with all of its drivers."""
    compiler = program("javac", "install a JDK of 17 or later (Debian: default-jdk-headless)")
    maven = program("mvn", "install Maven (Debian: maven)")
    wanted = HERE / "java/drivers.txt"

    def fetch(folder):
        for artifact in wanted.read_text().split():
            print(f"drivers: fetching {artifact}", flush=True)
            run([maven, "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], f"fetching {artifact}")

    jars = sorted(map(str, once("jars", [wanted], fetch).glob("*.jar")))
    sources = sorted((HERE / "java").glob("*.java"))

    def make(folder):
        print("drivers: building the Java program", flush=True)
        run([compiler, "-d", str(folder), "-cp", ":".join(jars), *map(str, sources)], "javac")

    return ":".join([str(once("java", [wanted, *sources], make)), *jars])


def php():
    """PHP with its own MySQL driver (mysqlnd), below mysqli and PDO."""
    root = debian("php-cli", "php-mysql")
    interpreter = next(iter(sorted(root.glob("usr/bin/php[0-9]*"))), None) or shutil.which("php")
    if interpreter is None:
        raise Missing(f"no PHP in {root}: remove that folder, so that it is fetched again")
    extensions = next(iter(module.parent for module in root.glob("usr/lib/php/*/mysqlnd.so")), None)
    if extensions is None:
        raise Missing(f"no mysqlnd in {root}: remove that folder, so that it is fetched again")
    loaded = [option for name in ("mysqlnd", "mysqli", "pdo", "pdo_mysql") for option in ("-d", f"extension={name}")]
    return with_libraries(root, str(interpreter), "-n", "-d", f"extension_dir={extensions}", "-d", "memory_limit=1G", "-d", "zend.exception_ignore_args=1", *loaded)


def perl():
    """Perl with DBD::mysql and DBD::MariaDB, both over MariaDB's C connector."""
    program("perl", "install Perl")
    root = debian("libdbd-mysql-perl", "libdbd-mariadb-perl", "libdbi-perl", "libmariadb3")
    folders = [*root.glob("usr/lib/*/perl5/*"), root / "usr/share/perl5"]
    return with_libraries(root, f"PERL5LIB={':'.join(map(str, folders))}", "perl")


def mysql_clients():
    """MySQL's own `mysql` and `mysqldump`: those on PATH, or those that came with the fetched server."""
    hint = "install MySQL's client, or let `cargo xtask test` fetch the server first"
    root = cache().parent / "mysql"
    found = {}
    for name in ("mysql", "mysqldump"):
        at = shutil.which(name)
        if at and "MariaDB" not in run([at, "--no-defaults", "--version"], name):
            found[name] = [at]
        elif (root / "usr/bin" / name).is_file():
            found[name] = unpacked(root, root / "usr/bin" / name)
        else:
            raise Missing(f"MySQL's `{name}` is neither on PATH nor in {root}: {hint}")
    return {"client": found["mysql"], "dump": found["mysqldump"]}


def unpacked(root, at):
    """How a program of another distribution runs: by its own loader, with its own libraries."""
    folders = sorted({lib.parent for base in ("usr/lib", "lib") for lib in root.glob(f"{base}/*/libc.so*")})
    loader = next(iter(one for folder in folders for one in folder.glob("ld-linux*")), None)
    if loader is None:
        raise Missing(f"no dynamic loader in {root}: remove that folder, so that it is fetched again")
    path = ":".join(map(str, [*folders, root / "usr/lib/mysql/private"]))
    return [str(loader), "--inhibit-cache", "--library-path", path, "--argv0", str(at), str(at)]


def mariadb_clients():
    """`mariadb` and `mariadb-dump`: those on PATH, or unpacked ones."""
    found = [shutil.which(name) for name in ("mariadb", "mariadb-dump")]
    if all(found):
        return {"client": found[:1], "dump": found[1:]}
    root = debian("mariadb-client", "mariadb-client-core", "libmariadb3")
    return {"client": with_libraries(root, str(root / "usr/bin/mariadb")), "dump": with_libraries(root, str(root / "usr/bin/mariadb-dump"))}
