// MariaDB's own driver for Node. It pipelines: commands go out before the answer of the one before.
'use strict';
const mariadb = require('mariadb');

module.exports = ({ Unsupported, shownRows }) => {
  const answer = (result) => {
    const several = Array.isArray(result) && result.length && !result.meta && result.every((part) => part && (part.meta || 'affectedRows' in part));
    return { results: several ? result.map(one) : [one(result)] };
  };
  const one = (result) => {
    if (!Array.isArray(result)) return result && 'affectedRows' in result ? { affected: result.affectedRows, id: String(result.insertId), warnings: result.warningStatus } : String(result);
    const columns = (result.meta || []).map((c) => [c.name(), c.type, c.columnLength, c.flags, c.scale, c.collation && c.collation.name, c.dataTypeName ?? null, c.dataTypeFormat ?? null]);
    return { columns: columns.length > 60 ? [columns.length, columns.at(-1)] : columns, rows: shownRows([...result]) };
  };
  return {
    async connect(target, wanted) {
      if (wanted.charset === 'utf8mb3') throw new Unsupported('no utf8mb3');
      const conn = await mariadb.createConnection({
        host: '127.0.0.1', port: target.port, user: wanted.user, password: wanted.password, database: wanted.schema ?? undefined, rowsAsArray: true,
        multipleStatements: wanted.multi ?? false, compress: wanted.compress ?? false, foundRows: wanted.found_rows ?? false,
        permitLocalInfile: wanted.local ?? false, ssl: wanted.tls ? { rejectUnauthorized: false } : false, allowPublicKeyRetrieval: true,
        connectTimeout: 10000, ...(wanted.charset ? { charset: wanted.charset } : {}), prepareCacheLength: 0,
      });
      conn.on('error', () => {});
      if ('autocommit' in wanted) await conn.query(`SET autocommit = ${wanted.autocommit ? 1 : 0}`);
      return conn;
    },
    error: (e) => [e.errno ?? null, e.sqlState ?? null, e.sqlMessage ?? String(e.message).split('\n')[0].replace(/conn:\d+/, 'conn')],
    threadId: (conn) => conn.threadId,
    number: async (conn, sql) => Number((await conn.query(sql))[0][0]),
    query: async (conn, sql, args) => answer(await conn.query({ sql, metaAsArray: false }, args)),
    prepared: async (conn, sql, args) => answer(await conn.execute(sql, args)),
    prepare: (conn, sql) => conn.prepare(sql),
    run: async (kept, args) => answer(await kept.execute(args)),
    release: (kept) => kept.close(),
    batch: async (conn, sql, rows) => answer(await conn.batch(sql, rows)),
    async stream(conn, sql) {
      const rows = [];
      for await (const row of conn.queryStream(sql)) rows.push(row);
      return shownRows(rows);
    },
    use: async (conn, schema) => answer(await conn.query(`USE \`${schema}\``)),
    reset: (conn) => conn.reset(),
    changeUser: (conn, target, schema) => conn.changeUser({ user: target.user, password: target.password, database: schema }),
  };
};
