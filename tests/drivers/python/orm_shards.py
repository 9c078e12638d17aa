"""SQLAlchemy over tables that are split: `orm_shards.py DIALECT`, the target on standard input, answers on standard output.

Owns the calls. It must never judge an answer: run.py compares what is printed of the mesh with what is printed of the
server. The tables are those of sharded.py, as SQLAlchemy finds them.
"""

import datetime
import decimal

import sqlalchemy as sa
from orm import main
from sqlalchemy import orm


class Plays:
    """Each method is a scenario; what it returns is compared."""

    def __init__(self, engine):
        self.engine = engine
        base = orm.declarative_base()
        sales, parts = (sa.Table(f"{name}_a", base.metadata, autoload_with=engine) for name in ("sales", "parts"))
        self.tables = [sales, parts]

        class Sale(base):
            __table__ = sales

        class Part(base):
            __table__ = parts
            of = orm.relationship(Sale, primaryjoin=parts.c.sale == sales.c.id, foreign_keys=[parts.c.sale], backref=orm.backref("parts", order_by=parts.c.line))

        self.Sale, self.Part = Sale, Part

    def reflected(self):
        inspector = sa.inspect(self.engine)
        return [[[(c.name, str(c.type), c.nullable, c.autoincrement) for c in table.columns] for table in self.tables], inspector.get_pk_constraint("parts_a"), inspector.get_indexes("sales_a"), inspector.get_foreign_keys("parts_a"), inspector.get_table_comment("sales_a"), inspector.has_table("sales_a"), inspector.has_table("sales_0")]

    def unit_of_work(self):
        with orm.Session(self.engine) as s, s.begin():
            for n in range(6):
                sale = self.Sale(customer=n % 3, total=decimal.Decimal("1.25") * n, placed=datetime.datetime(2024, 2, n + 1, 12), note=f"note {n} ü😀")
                sale.parts = [self.Part(line=line, name=f"part {line}", pieces=n * line) for line in (1, 2)]
                s.add(sale)
                s.flush()
        return self.all()

    def all(self):
        with orm.Session(self.engine) as s:
            found = s.scalars(sa.select(self.Sale).options(orm.selectinload(self.Sale.parts)).order_by(self.Sale.id)).all()
            return [(o.id, o.customer, o.total, o.placed, o.note, o.kind, [(p.line, p.name, p.pieces) for p in o.parts]) for o in found]

    def one(self):
        with orm.Session(self.engine) as s:
            sale = s.scalars(sa.select(self.Sale).order_by(self.Sale.id).limit(1)).one()
            again = s.get(self.Sale, sale.id, populate_existing=True)
            part = s.get(self.Part, (sale.id, 2))
            return [again.note, part.name, s.get(self.Sale, 1_000_000)]

    def queries(self):
        sale, part = self.Sale, self.Part
        with orm.Session(self.engine) as s:
            return [
                [tuple(row) for row in s.execute(statement)]
                for statement in (
                    sa.select(sale.customer, sa.func.count(), sa.func.sum(sale.total)).group_by(sale.customer).order_by(sale.customer),
                    sa.select(sale.note, part.name).join(part, part.sale == sale.id).where(part.pieces > 3).order_by(sale.id, part.line),
                    sa.select(sale.customer, sa.func.avg(part.pieces)).join(part, part.sale == sale.id).group_by(sale.customer).having(sa.func.avg(part.pieces) > 1).order_by(sale.customer),
                    sa.select(sa.func.count()).select_from(sa.select(sale.customer).distinct().subquery()),
                    sa.select(sale.id - sa.func.min(sale.id).over(), sa.func.row_number().over(order_by=sale.id.desc())).order_by(sale.id),
                    sa.select(sale.note).where(sale.note.like("note%")).order_by(sale.placed.desc()).limit(2).offset(1),
                    sa.select(sale.note).where(sa.exists().where(part.sale == sale.id, part.pieces > 8)).order_by(sale.id),
                )
            ]

    def changes(self):
        sale = self.Sale
        with orm.Session(self.engine) as s, s.begin():
            first = s.scalars(sa.select(sale).order_by(sale.id).limit(1)).one()
            first.note, first.total = "changed", 7
        with self.engine.begin() as c:
            counts = [c.execute(sa.update(sale).where(sale.customer == 1).values(kind="big")).rowcount, c.execute(sa.delete(self.Part).where(self.Part.line == 2)).rowcount]
        with orm.Session(self.engine) as s:
            s.add(sale(customer=99))
            s.flush()
            with s.begin_nested() as point:
                s.execute(sa.update(sale).values(customer=98))
                point.rollback()
            s.rollback()
        return [counts, self.all()]

    def bulk(self):
        with self.engine.begin() as c:
            c.execute(sa.insert(self.Sale), [{"customer": n, "total": n} for n in range(50)])
            done = c.execute(sa.insert(self.Sale), {"customer": 7})
            return [c.scalar(sa.select(sa.func.count()).select_from(self.Sale)), done.inserted_primary_key[0], c.scalar(sa.select(sa.func.max(self.Sale.id)))]

    def clash(self):
        with orm.Session(self.engine) as s:
            s.add_all([self.Part(sale=500, line=1), self.Part(sale=501, line=1)])
            s.commit()
            s.add_all([self.Part(sale=502, line=1), self.Part(sale=500, line=1)])
            try:
                s.commit()
            except sa.exc.IntegrityError as e:
                s.rollback()
                return [e.orig.args[0], s.scalar(sa.select(sa.func.count()).where(self.Part.sale >= 500))]
        return "no error"

    def stream(self):
        with self.engine.connect().execution_options(stream_results=True, max_row_buffer=10) as c:
            return sum(row.n for row in c.execute(sa.text("SELECT n FROM numbers_a ORDER BY n")))


if __name__ == "__main__":
    main(Plays)
