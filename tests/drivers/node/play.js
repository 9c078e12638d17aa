// Plays the scenarios with a Node driver: `play.js DRIVER`, the play on standard input, answers on standard output.
//
// Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
// when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.
'use strict';
const crypto = require('crypto');
const fs = require('fs');

class Unsupported extends Error {}

// Without one of these the rest of a scenario is about nothing.
const ENDS_WITHOUT = new Set(['reset', 'change_user']);

function short(text) {
  if (text.length <= 300) return text;
  return `${text.slice(0, 20)}… ${text.length} ${crypto.createHash('sha1').update(text).digest('hex')}`;
}

// A value as JSON that keeps its type; long ones by length and digest.
function shown(value) {
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') return value ?? null;
  if (Buffer.isBuffer(value)) return short('bytes:' + value.toString('hex'));
  if (value instanceof Date) return 'Date:' + (isNaN(value) ? 'invalid' : value.toISOString());
  if (typeof value === 'bigint') return 'bigint:' + value;
  if (typeof value === 'string') return short('string:' + value);
  return short('json:' + JSON.stringify(value));
}

function shownRows(rows) {
  const all = rows.map((row) => row.map(shown));
  if (all.length <= 60) return all;
  return { rows: all.length, sha1: crypto.createHash('sha1').update(JSON.stringify(all)).digest('hex'), first: all[0] };
}

function argument(value) {
  if (value && typeof value === 'object' && 'hex' in value) return Buffer.from(value.hex, 'hex');
  if (value && typeof value === 'object') return value.repeat.repeat(value.times);
  return value;
}

class Session {
  constructor(driver, target, connect, who) {
    Object.assign(this, { driver, target, kept: {}, conn: null });
    this.wanted = { schema: 'drivers', user: target.user, password: target.password };
    for (const [key, value] of Object.entries(connect)) {
      if (key.endsWith('_of')) this.wanted[key.slice(0, -3)] = value[who];
      else this.wanted[key] = value;
    }
  }

  async play(step) {
    if (!this.conn && step.do !== 'reconnect') await this.open();
    const args = (step.args || []).map(argument);
    const d = this.driver;
    switch (step.do) {
      case 'query': return d.query(this.conn, step.sql, args);
      case 'prepared': return d.prepared(this.conn, step.sql, args);
      case 'prepare': this.kept[step.name] = await d.prepare(this.conn, step.sql); return 'prepared';
      case 'run': return d.run(this.kept[step.name], args);
      case 'release': await d.release(this.kept[step.name]); delete this.kept[step.name]; return 'released';
      case 'batch': return d.batch(this.conn, step.sql, step.rows);
      case 'call': return d.query(this.conn, `CALL ${step.name}(${(step.out || []).length ? marks(step) : step.args.map(() => '?').join(', ')})`, (step.out || []).length ? [] : args);
      case 'cursor': throw new Unsupported('no cursors on the server');
      case 'stream': return d.stream(this.conn, step.sql);
      case 'begin': await this.conn.beginTransaction(); return 'begun';
      case 'commit': await this.conn.commit(); return 'committed';
      case 'rollback': await this.conn.rollback(); return 'rolled back';
      case 'autocommit': return d.query(this.conn, `SET autocommit = ${step.on ? 1 : 0}`, []);
      case 'use': return d.use(this.conn, step.schema);
      case 'ping': await this.conn.ping(); return 'pong';
      case 'reset': return d.reset(this.conn);
      case 'reset_or_close':
        try { await d.reset(this.conn); } catch (e) { if (!(e instanceof Unsupported)) throw e; await this.close(); }
        return 'cleared';
      case 'change_user': await d.changeUser(this.conn, this.target, step.schema); return 'changed';
      case 'reconnect': await this.close(); await this.open(); return 'reconnected';
      case 'same_id': return (await d.number(this.conn, 'SELECT CONNECTION_ID()')) === d.threadId(this.conn) && d.threadId(this.conn) === this.firstId;
      case 'kill': return this.whileKilled(step.sql, (id) => `KILL QUERY ${id}`);
      case 'kill_connection': {
        const answer = await this.whileKilled('SELECT SLEEP(8)', (id) => `KILL ${id}`);
        return answer === 'killed too late' ? answer : 'lost';
      }
      default: throw new Unsupported(step.do);
    }
  }

  async whileKilled(sql, kill) {
    const began = Date.now();
    const running = this.driver.query(this.conn, sql, []).catch((e) => ({ error: this.driver.error(e) }));
    await new Promise((done) => setTimeout(done, 400));
    const other = await this.driver.connect(this.target, this.wanted);
    await this.driver.query(other, kill(this.driver.threadId(this.conn)), []);
    await other.end();
    const answer = await running;
    return Date.now() - began < 5000 ? answer : 'killed too late';
  }

  async open() {
    this.conn = await this.driver.connect(this.target, this.wanted);
    this.firstId = this.driver.threadId(this.conn);
  }

  async close() {
    const conn = this.conn;
    this.conn = null;
    this.kept = {};
    if (conn) await conn.end().catch(() => conn.destroy());
  }
}

// Arguments of a call with OUT parameters: user variables, as neither driver has them otherwise.
function marks(step) {
  return step.args.map((value, n) => (step.out.includes(n) ? `@out${n}` : JSON.stringify(value))).join(', ');
}

async function playScenario(driver, order, scenario) {
  const sessions = {};
  const left = {};
  for (const who of ['a', 'b']) {
    sessions[who] = new Session(driver, order.target, scenario.connect, who);
    left[who] = scenario.steps[who].map((step, index) => [index, step]);
  }
  let [turn, other] = ['a', 'b'];
  let over = false;
  while ((left.a.length || left.b.length) && !over) {
    if (!left[turn].length) [turn, other] = [other, turn];
    const [index, step] = left[turn].shift();
    let answer;
    try {
      answer = await limited(sessions[turn].play(step), 60000);
    } catch (e) {
      if (e instanceof Unsupported) {
        answer = { unsupported: e.message };
        over = ENDS_WITHOUT.has(step.do);
      } else answer = { error: driver.error(e) };
    }
    fs.writeSync(1, JSON.stringify({ scenario: scenario.name, session: turn, step: index, answer: answer === undefined ? null : answer }) + '\n');
    if (!left[turn].length) await sessions[turn].close();
    if (order.turns === 'always' || !step.hold || !left[turn].length) [turn, other] = [other, turn];
  }
  for (const session of Object.values(sessions)) await session.close();
}

function limited(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer')), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function main() {
  const driver = require(`./driver_${process.argv[2]}.js`)({ Unsupported, shown, shownRows });
  const order = JSON.parse(fs.readFileSync(0, 'utf8'));
  const direct = { ...order.target, port: order.target.direct };
  const server = await driver.connect(direct, { ...order.target, schema: 'drivers' });
  for (const scenario of order.scenarios) {
    for (const sql of scenario.reset) await driver.query(server, sql, []);
    await playScenario(driver, order, scenario);
  }
  await server.end();
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
