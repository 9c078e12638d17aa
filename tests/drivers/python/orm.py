"""SQLAlchemy, core and ORM: `orm.py DIALECT`, the target on standard input, answers on standard output.

Owns the calls. It must never judge an answer: run.py compares what is printed of the mesh with what is printed of the
server.
"""

import datetime
import decimal
import json
import sys
import threading

import sqlalchemy as sa
from sqlalchemy import orm

Base = orm.declarative_base()


class Customer(Base):
    __tablename__ = "orm_customer"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(80), unique=True, nullable=False)
    born = sa.Column(sa.Date)
    notes = sa.Column(sa.JSON)
    photo = sa.Column(sa.LargeBinary)
    kind = sa.Column(sa.Enum("private", "business", name="kind"), default="private")
    orders = orm.relationship("Order", back_populates="customer", cascade="all, delete-orphan", order_by="Order.id")


class Order(Base):
    __tablename__ = "orm_order"
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=True)
    customer_id = sa.Column(sa.ForeignKey("orm_customer.id"), nullable=False, index=True)
    total = sa.Column(sa.Numeric(12, 2), nullable=False)
    version = sa.Column(sa.Integer, nullable=False)
    placed = sa.Column(sa.DateTime, nullable=False)
    customer = orm.relationship("Customer", back_populates="orders")
    __mapper_args__ = {"version_id_col": version}


DAY = datetime.datetime(2024, 2, 29, 12, 30)


class Plays:
    """Each method is a scenario; what it returns is compared."""

    def __init__(self, engine):
        self.engine = engine

    def create(self):
        Base.metadata.drop_all(self.engine)
        Base.metadata.create_all(self.engine)
        Base.metadata.create_all(self.engine)
        return sorted(sa.inspect(self.engine).get_table_names())

    def reflect(self):
        inspector = sa.inspect(self.engine)
        meta = sa.MetaData()
        meta.reflect(self.engine, only=["orm_customer", "orm_order", "types_a"])
        tables = {name: [(c.name, str(c.type), c.nullable) for c in table.columns] for name, table in sorted(meta.tables.items())}
        keys = [inspector.get_foreign_keys("orm_order"), inspector.get_indexes("orm_customer"), inspector.get_pk_constraint("orm_order")]
        return [tables, keys, inspector.get_schema_names(), inspector.get_view_names(), inspector.get_table_comment("orm_order")]

    def defaults(self):
        with self.engine.connect() as c:
            return [c.get_isolation_level(), self.engine.dialect.server_version_info, self.engine.dialect.default_schema_name, c.exec_driver_sql("SELECT @@sql_mode, @@autocommit").all()]

    def unit_of_work(self):
        with orm.Session(self.engine) as s, s.begin():
            s.add_all([Customer(name=f"customer {n} ü😀", born=datetime.date(1990, 1, n + 1), notes={"n": [n, None, "é"]}, photo=bytes(range(n, n + 9))) for n in range(5)])
        with orm.Session(self.engine) as s, s.begin():
            for c in s.scalars(sa.select(Customer).order_by(Customer.id)):
                c.orders.append(Order(total=decimal.Decimal("9.99") * c.id, placed=DAY))
        with orm.Session(self.engine) as s:
            found = s.scalars(sa.select(Customer).options(orm.selectinload(Customer.orders)).order_by(Customer.id)).all()
            return [(c.id, c.name, c.born, c.notes, c.photo, c.kind, [(o.id, o.total, o.version, o.placed) for o in c.orders]) for c in found]

    def stale_version(self):
        with orm.Session(self.engine) as one, orm.Session(self.engine) as two:
            a, b = one.get(Order, 1), two.get(Order, 1)
            a.total, b.total = 1, 2
            one.commit()
            try:
                two.commit()
            except orm.exc.StaleDataError as e:
                return str(e)
        return "no error"

    def unchanged_update(self):
        # The dialects ask for found rows: an update that changes nothing still counts its row.
        with self.engine.begin() as c:
            first = c.execute(sa.update(Order).where(Order.id == 2).values(total=5)).rowcount
            return [first, c.execute(sa.update(Order).where(Order.id == 2).values(total=5)).rowcount]

    def unique_error(self):
        with orm.Session(self.engine) as s:
            s.add(Customer(name="customer 1 ü😀"))
            try:
                s.commit()
            except sa.exc.IntegrityError as e:
                s.rollback()
                return [str(e.orig.args[0]), s.scalar(sa.select(sa.func.count()).select_from(Customer))]
        return "no error"

    def savepoints(self):
        with orm.Session(self.engine) as s:
            s.add(Customer(name="kept"))
            s.flush()
            with s.begin_nested() as point:
                s.add(Customer(name="lost"))
                s.flush()
                point.rollback()
            s.commit()
            return s.scalars(sa.select(Customer.name).where(Customer.name.in_(["kept", "lost"]))).all()

    def bulk(self):
        with self.engine.begin() as c:
            c.execute(sa.insert(Customer), [{"name": f"bulk {n}"} for n in range(300)])
            done = c.execute(sa.text("INSERT INTO orm_customer (name) VALUES (:a), (:b)"), {"a": "x", "b": "y"})
            return [done.lastrowid - c.scalar(sa.select(sa.func.min(Customer.id))), done.rowcount, c.scalar(sa.text("SELECT LAST_INSERT_ID()")) == done.lastrowid]

    def stream(self):
        with self.engine.connect().execution_options(stream_results=True, max_row_buffer=10) as c:
            return sum(row.n for row in c.execute(sa.text("SELECT n FROM numbers_a ORDER BY n")))

    def isolation(self):
        with self.engine.connect().execution_options(isolation_level="SERIALIZABLE") as c:
            inside = c.get_isolation_level()
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            auto = c.exec_driver_sql("SELECT @@autocommit").scalar()
        with self.engine.connect() as c:
            return [inside, auto, c.get_isolation_level(), c.exec_driver_sql("SELECT @@autocommit").scalar()]

    def two_phase(self):
        answers = []
        for end in ("commit", "rollback"):
            with self.engine.connect() as c:
                branch = c.begin_twophase(f"orm-{end}")
                c.execute(sa.insert(Customer), {"name": f"branch {end}"})
                branch.prepare()
                getattr(branch, end)()
                answers.append(c.scalar(sa.select(sa.func.count()).where(Customer.name == f"branch {end}")))
        return answers

    def temporary_table(self):
        with self.engine.connect() as c:
            c.execute(sa.text("CREATE TEMPORARY TABLE orm_tmp (a INT)"))
            c.execute(sa.text("INSERT INTO orm_tmp VALUES (1), (2)"))
            inside = c.scalar(sa.text("SELECT SUM(a) FROM orm_tmp"))
            c.invalidate()
        with self.engine.connect() as c:
            try:
                c.scalar(sa.text("SELECT SUM(a) FROM orm_tmp"))
            except sa.exc.ProgrammingError as e:
                return [int(inside), e.orig.args[0]]
        return "still there"

    def pool_of_threads(self):
        failed, total = [], []

        def work(number):
            try:
                for turn in range(15):
                    with orm.Session(self.engine) as s, s.begin():
                        s.execute(sa.text("SET @who = :n"), {"n": number})
                        one = Customer(name=f"thread {number} {turn}")
                        s.add(one)
                        s.flush()
                        mine = s.scalar(sa.select(Customer.name).where(Customer.id == one.id))
                        total.append(mine == one.name and s.scalar(sa.text("SELECT @who")) == number)
            except Exception as e:  # noqa: BLE001: told to the comparison
                failed.append(f"{type(e).__name__}: {e}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return [failed, len(total), all(total)]

    def drop(self):
        Base.metadata.drop_all(self.engine)
        return sa.inspect(self.engine).has_table("orm_customer")


def main(what=Plays):
    target = json.load(sys.stdin)["target"]
    url = sa.URL.create(f"mysql+{sys.argv[1]}", target["user"], target["password"], "127.0.0.1", target["port"], "drivers", query={"charset": "utf8mb4"})
    plays = what(sa.create_engine(url, pool_size=2, max_overflow=0, pool_pre_ping=True))
    for name in [name for name in vars(what) if not name.startswith("_")]:
        try:
            answer = getattr(plays, name)()
        except Exception as e:  # noqa: BLE001: an error is an answer too
            answer = {"raised": f"{type(e).__name__}: {e}"}
        print(json.dumps({"scenario": name.replace("_", " "), "session": "a", "step": 0, "answer": answer}, default=repr), flush=True)


if __name__ == "__main__":
    main()
