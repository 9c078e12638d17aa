// Sequelize over mysql2 or mariadb: `sequelize.js DIALECT`, the target on standard input, answers on standard output.
//
// Owns the calls. It must never judge an answer: run.py compares what is printed of the mesh with what is printed of the
// server.
'use strict';
const fs = require('fs');
const { Sequelize, DataTypes, Op, Transaction } = require('sequelize');

const dialect = process.argv[2];
const { target } = JSON.parse(fs.readFileSync(0, 'utf8'));
const db = new Sequelize('drivers', target.user, target.password, {
  host: '127.0.0.1', port: target.port, dialect, logging: false, pool: { max: 2 }, timezone: '+00:00',
});
const plain = (models) => models.map((m) => m.get({ plain: true }));
const problem = (e) => ({ error: [e.name, e.parent && e.parent.errno, e.parent && e.parent.sqlState] });
const Author = db.define('author', {
  name: { type: DataTypes.STRING(60), unique: true, allowNull: false }, born: DataTypes.DATEONLY, notes: DataTypes.JSON,
  fee: DataTypes.DECIMAL(12, 2), alive: DataTypes.BOOLEAN, photo: DataTypes.BLOB, kind: DataTypes.ENUM('x', 'y'),
}, { timestamps: false, tableName: 'seq_author' });
const Book = db.define('book', { title: DataTypes.STRING }, { timestamps: false, tableName: 'seq_book' });
Author.hasMany(Book);
Book.belongsTo(Author);

const plays = {
  async connect() { await db.authenticate(); return db.query('SELECT @@time_zone AS zone, DATABASE() AS db', { type: Sequelize.QueryTypes.SELECT }); },
  async create() { await db.sync({ force: true }); await db.sync({ alter: true }); return db.getQueryInterface().describeTable('seq_author'); },
  async insert() {
    const one = await Author.create({ name: 'Ünal 😀', born: '1980-02-29', notes: { a: [1, null] }, fee: '12.50', alive: true, photo: Buffer.from([0, 255]), kind: 'y' });
    await Author.bulkCreate([...Array(20).keys()].map((n) => ({ name: `author ${n}`, fee: n })));
    await Book.bulkCreate([{ title: 'a', authorId: one.id }, { title: 'b', authorId: one.id }]);
    return plain(await Author.findAll({ include: Book, order: ['id', [Book, 'id']], limit: 3 }));
  },
  async find() { return [await Author.count({ where: { fee: { [Op.gt]: 5 } } }), await Author.sum('fee'), await Author.findAndCountAll({ limit: 2, offset: 1, order: ['id'], raw: true })]; },
  async update() { return [await Author.update({ fee: 1 }, { where: { name: { [Op.like]: 'author%' } } }), await Author.upsert({ name: 'author 1', fee: 7 }), await Author.findOne({ where: { name: 'author 1' }, raw: true })]; },
  async unique() { return Author.create({ name: 'author 1' }).then(() => 'no error', problem); },
  async committed() { await db.transaction(async (t) => { await Author.create({ name: 'in' }, { transaction: t }); }); return Author.count({ where: { name: 'in' } }); },
  async rolledBack() {
    await db.transaction(async (t) => { await Author.create({ name: 'out' }, { transaction: t }); throw new Error('back'); }).catch(() => {});
    return Author.count({ where: { name: 'out' } });
  },
  async isolation() {
    const level = await db.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE }, (transaction) => Author.findAll({ transaction, lock: true, limit: 1, raw: true }));
    return level.length;
  },
  async together() {
    const each = async (n) => { for (let i = 0; i < 10; i++) await db.transaction((t) => Author.create({ name: `p ${n} ${i}` }, { transaction: t })); };
    await Promise.all([each(0), each(1), each(2), each(3)]);
    return Author.count({ where: { name: { [Op.like]: 'p %' } } });
  },
  async raw() { return db.query('SELECT n, name FROM numbers_a WHERE n < :n ORDER BY n', { replacements: { n: 4 }, type: Sequelize.QueryTypes.SELECT }); },
  async bound() { return db.query('SELECT n FROM numbers_a WHERE n < $1 AND name <> $2 ORDER BY n', { bind: [5, 'x'], type: Sequelize.QueryTypes.SELECT }); },
  async drop() { await db.drop(); return (await db.getQueryInterface().showAllTables()).length; },
};

async function main() {
  for (const [name, play] of Object.entries(plays)) {
    const answer = await play().catch(problem);
    console.log(JSON.stringify({ scenario: name, session: 'a', step: 0, answer: answer ?? null }));
  }
  await db.close();
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
