// mysql2, by its promises.
'use strict';
const fs = require('fs');
const mysql = require('mysql2/promise');

// SERVER_SESSION_STATE_CHANGED: MySQL sets it for transactions although nobody asked for their state; dbmesh does not.
const TRACKED = 0x4000;

module.exports = ({ Unsupported, shown, shownRows }) => {
  // The rows of a statement as text and of one prepared on the server: objects would hide columns of the same name.
  const answer = ([rows, fields]) => {
    if (Array.isArray(fields) && fields.some((f) => f === undefined || Array.isArray(f))) {
      return { results: rows.map((part, n) => one(part, fields[n])) };
    }
    return { results: [one(rows, fields)] };
  };
  const one = (rows, fields) => {
    if (!Array.isArray(rows)) {
      return { affected: rows.affectedRows, id: rows.insertId, info: rows.info, changed: rows.changedRows, warnings: rows.warningStatus, status: rows.serverStatus & ~TRACKED };
    }
    const columns = (fields || []).map((f) => [f.name, f.columnType ?? f.type, f.columnLength, f.flags, f.decimals, f.characterSet, f.orgTable]);
    return { columns: columns.length > 60 ? [columns.length, columns.at(-1)] : columns, rows: shownRows(rows) };
  };
  const options = (sql, values) => ({ sql, values, rowsAsArray: true });
  const driver = {
    async connect(target, wanted) {
      const more = {};
      if (wanted.charset) more.charset = wanted.charset === 'utf8mb3' ? 'UTF8_GENERAL_CI' : wanted.charset === 'latin1' ? 'LATIN1_SWEDISH_CI' : wanted.charset;
      more.flags = [wanted.found_rows ? 'FOUND_ROWS' : '-FOUND_ROWS'];
      if (wanted.local) more.infileStreamFactory = (path) => fs.createReadStream(path);
      const conn = await mysql.createConnection({
        host: '127.0.0.1', port: target.port, user: wanted.user, password: wanted.password, database: wanted.schema ?? undefined,
        multipleStatements: wanted.multi ?? false, compress: wanted.compress ?? false, supportBigNumbers: true,
        ssl: wanted.tls ? { rejectUnauthorized: false } : undefined, connectTimeout: 10000, ...more,
      });
      conn.connection.on('error', () => {});
      if ('autocommit' in wanted) await conn.query(`SET autocommit = ${wanted.autocommit ? 1 : 0}`);
      return conn;
    },
    error: (e) => [e.errno ?? null, e.sqlState ?? null, e.sqlMessage ?? e.message],
    threadId: (conn) => conn.threadId,
    async number(conn, sql) { return (await conn.query(options(sql)))[0][0][0]; },
    async query(conn, sql, args) { return answer(await conn.query(options(sql, args.length ? args : undefined))); },
    async prepared(conn, sql, args) {
      const done = await conn.execute(options(sql, args));
      conn.unprepare(options(sql, args));
      return answer(done);
    },
    async prepare(conn, sql) { return { statement: await conn.prepare({ sql, rowsAsArray: true }) }; },
    async run(kept, args) { return answer(await kept.statement.execute(args)); },
    async release(kept) { await kept.statement.close(); },
    async batch(conn, sql, rows) {
      if (!sql.startsWith('INSERT')) {
        const all = [];
        for (const row of rows) all.push(answer(await conn.execute(options(sql, row))));
        return all;
      }
      return answer(await conn.query(options(sql.replace(/VALUES .*/, 'VALUES ?'), [rows])));
    },
    stream(conn, sql) {
      return new Promise((done, failed) => {
        const rows = [];
        conn.connection.query(options(sql)).stream({ highWaterMark: 5 })
          .on('data', (row) => rows.push(row)).on('error', failed).on('end', () => done(shownRows(rows)));
      });
    },
    async use(conn, schema) { return answer(await conn.query(options(`USE \`${schema}\``))); },
    async reset(conn) {
      if (!conn.reset) throw new Unsupported('no reset');
      await conn.reset();
    },
    changeUser: (conn, target, schema) => conn.changeUser({ user: target.user, password: target.password, database: schema }),
    shown,
  };
  return driver;
};
