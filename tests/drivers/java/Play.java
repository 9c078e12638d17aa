import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/**
 * Plays the scenarios with a JDBC driver, `mysql` or `mariadb`: the play on standard input, answers on standard output.
 *
 * <p>Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
 * when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.
 */
public final class Play {
    private static boolean mariadb;
    private static final List<String> ENDS_WITHOUT = List.of("reset", "change_user");

    private static final class Unsupported extends RuntimeException {
        Unsupported(String what) {
            super(what);
        }
    }

    /** One client session of a scenario. */
    private static final class Session {
        final Map<String, Object> target;
        final Map<String, Object> wanted = new HashMap<>();
        final Map<String, PreparedStatement> kept = new HashMap<>();
        Connection conn;
        long firstId;

        Session(Map<String, Object> target, Map<String, Object> connect, String who) {
            this.target = target;
            wanted.put("schema", "drivers");
            wanted.put("user", target.get("user"));
            wanted.put("password", target.get("password"));
            connect.forEach((key, value) -> {
                boolean of = key.endsWith("_of");
                wanted.put(of ? key.substring(0, key.length() - 3) : key, of ? map(value).get(who) : value);
            });
        }

        boolean yes(String name) {
            return Boolean.TRUE.equals(wanted.get(name));
        }

        /** MariaDB's driver: what has parameters is prepared on the server, and goes out together with its first run. */
        Properties ofMariadb() {
            Properties p = new Properties();
            p.put("sslMode", yes("tls") ? "trust" : "disable");
            p.put("useCompression", String.valueOf(yes("compress")));
            p.put("allowLocalInfile", String.valueOf(yes("local")));
            p.put("useServerPrepStmts", "true");
            return p;
        }

        /** MySQL's driver: placeholders are filled in by the driver, except where a scenario prepares. */
        Properties ofMysql() {
            Properties p = new Properties();
            p.put("sslMode", yes("tls") ? "REQUIRED" : "DISABLED");
            p.put("useCompression", String.valueOf(yes("compress")));
            p.put("allowLoadLocalInfile", String.valueOf(yes("local")));
            p.put("rewriteBatchedStatements", "true");
            p.put("useCursorFetch", "false");
            return p;
        }

        Connection connect() throws SQLException {
            if (wanted.containsKey("charset")) {
                throw new Unsupported("always utf8mb4");
            }
            Properties p = mariadb ? ofMariadb() : ofMysql();
            p.put("user", wanted.get("user"));
            p.put("password", wanted.get("password"));
            p.put("allowPublicKeyRetrieval", "true");
            p.put("allowMultiQueries", String.valueOf(yes("multi")));
            p.put("useAffectedRows", String.valueOf(!yes("found_rows")));
            p.put("connectTimeout", "10000");
            p.put("socketTimeout", "60000");
            Object schema = wanted.get("schema");
            Connection made = DriverManager.getConnection("jdbc:" + (mariadb ? "mariadb" : "mysql") + "://127.0.0.1:" + target.get("port") + "/" + (schema == null ? "" : schema), p);
            if (wanted.containsKey("autocommit")) {
                made.setAutoCommit(yes("autocommit"));
            }
            return made;
        }

        void open() throws SQLException {
            conn = connect();
            firstId = number();
        }

        long number() throws SQLException {
            try (Statement s = conn.createStatement(); ResultSet r = s.executeQuery("SELECT CONNECTION_ID()")) {
                r.next();
                return r.getLong(1);
            }
        }

        void close() {
            kept.clear();
            try {
                if (conn != null) {
                    conn.close();
                }
            } catch (SQLException broken) {
                // It was broken before.
            }
            conn = null;
        }

        Object play(Map<String, Object> step) throws SQLException {
            String what = (String) step.get("do");
            if (conn == null && !what.equals("reconnect")) {
                open();
            }
            String sql = (String) step.get("sql");
            List<Object> args = arguments(step.get("args"));
            switch (what) {
                case "query": return args.isEmpty() ? text(sql) : filled(sql, args);
                case "prepared":
                    try (PreparedStatement s = onServer(sql)) {
                        return bound(s, args);
                    }
                case "prepare": kept.put((String) step.get("name"), onServer(sql)); return "prepared";
                case "run": return bound(kept(step), args);
                case "release": kept(step).close(); return "released";
                case "batch": return batch(sql, list(step.get("rows")));
                case "call": return call((String) step.get("name"), args, step.get("out"));
                case "cursor": return cursor(sql, args);
                case "stream": return streamed(sql, args);
                case "begin": conn.setAutoCommit(false); return "begun";
                case "commit": conn.commit(); conn.setAutoCommit(!wanted.containsKey("autocommit") || yes("autocommit")); return "committed";
                case "rollback": conn.rollback(); conn.setAutoCommit(!wanted.containsKey("autocommit") || yes("autocommit")); return "rolled back";
                case "autocommit": conn.setAutoCommit(Boolean.TRUE.equals(step.get("on"))); wanted.put("autocommit", step.get("on")); return conn.getAutoCommit();
                case "use": conn.setCatalog((String) step.get("schema")); return conn.getCatalog();
                case "ping": return conn.isValid(10);
                case "reset_or_close": close(); return "cleared";
                case "reconnect": close(); open(); return "reconnected";
                case "same_id": return number() == firstId;
                case "metadata": return described((String) step.get("table"));
                case "kill": return whileKilled(sql, "KILL QUERY " + firstId);
                case "kill_connection": return whileKilled("SELECT SLEEP(8)", "KILL " + firstId).equals("killed too late") ? "killed too late" : "lost";
                default: throw new Unsupported("no " + what);
            }
        }

        Object text(String sql) throws SQLException {
            try (Statement s = conn.createStatement()) {
                return answers(s, s.execute(sql, Statement.RETURN_GENERATED_KEYS));
            }
        }

        Object filled(String sql, List<Object> args) throws SQLException {
            try (PreparedStatement s = conn.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                return bound(s, args);
            }
        }

        PreparedStatement onServer(String sql) throws SQLException {
            if (mariadb) {
                return conn.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS);
            }
            return (PreparedStatement) conn.unwrap(com.mysql.cj.jdbc.JdbcConnection.class).serverPrepareStatement(sql, Statement.RETURN_GENERATED_KEYS);
        }

        PreparedStatement kept(Map<String, Object> step) {
            PreparedStatement one = kept.get((String) step.get("name"));
            if (one == null) {
                throw new Unsupported("it was not prepared");
            }
            return one;
        }

        Object bound(PreparedStatement s, List<Object> args) throws SQLException {
            for (int n = 0; n < args.size(); n++) {
                s.setObject(n + 1, args.get(n));
            }
            return answers(s, s.execute());
        }

        Object batch(String sql, List<Object> rows) throws SQLException {
            try (PreparedStatement s = conn.prepareStatement(sql)) {
                for (Object row : rows) {
                    List<Object> values = list(row);
                    for (int n = 0; n < values.size(); n++) {
                        s.setObject(n + 1, values.get(n));
                    }
                    s.addBatch();
                }
                return Arrays.toString(s.executeBatch());
            } catch (BatchUpdateException e) {
                return Arrays.asList(Arrays.toString(e.getUpdateCounts()), problem(e));
            }
        }

        Object call(String name, List<Object> args, Object out) throws SQLException {
            List<Object> outs = out == null ? List.of() : list(out);
            try (CallableStatement s = conn.prepareCall("{call " + name + "(" + String.join(", ", args.stream().map(a -> "?").toList()) + ")}")) {
                for (int n = 0; n < args.size(); n++) {
                    s.setObject(n + 1, args.get(n));
                    if (outs.contains((long) n)) {
                        s.registerOutParameter(n + 1, Types.VARCHAR);
                    }
                }
                List<Object> all = new ArrayList<>();
                all.add(answers(s, s.execute()));
                for (Object n : outs) {
                    all.add(s.getString((int) (long) (Long) n + 1));
                }
                return all;
            }
        }

        Object streamed(String sql, List<Object> args) throws SQLException {
            try (PreparedStatement s = conn.prepareStatement(sql, ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
                s.setFetchSize(mariadb ? 7 : Integer.MIN_VALUE);
                return bound(s, args);
            }
        }

        Object cursor(String sql, List<Object> args) throws SQLException {
            if (mariadb) {
                throw new Unsupported("no cursors on the server");
            }
            var cursors = conn.unwrap(com.mysql.cj.jdbc.JdbcConnection.class).getPropertySet().<Boolean>getProperty(com.mysql.cj.conf.PropertyKey.useCursorFetch);
            cursors.setValue(true);
            try (PreparedStatement s = onServer(sql)) {
                s.setFetchSize(7);
                return bound(s, args);
            } finally {
                cursors.setValue(false);
            }
        }

        /** What frameworks and tools ask of a table: all that the server computes from statistics is left out. */
        Object described(String table) throws SQLException {
            var meta = conn.getMetaData();
            String catalog = conn.getCatalog();
            List<Object> all = new ArrayList<>();
            all.add(described(meta.getTables(catalog, null, table, null)));
            all.add(described(meta.getTables(catalog, null, "%", new String[] {"VIEW"})));
            all.add(described(meta.getColumns(catalog, null, table, "%")));
            all.add(described(meta.getPrimaryKeys(catalog, null, table)));
            all.add(described(meta.getIndexInfo(catalog, null, table, false, true)));
            all.add(described(meta.getImportedKeys(catalog, null, table)));
            all.add(described(meta.getExportedKeys(catalog, null, table)));
            all.add(described(meta.getBestRowIdentifier(catalog, null, table, java.sql.DatabaseMetaData.bestRowSession, true)));
            all.add(described(meta.getVersionColumns(catalog, null, table)));
            return all;
        }

        private Object described(ResultSet found) throws SQLException {
            try (found) {
                List<Object> all = new ArrayList<>();
                while (found.next()) {
                    Map<String, Object> row = new LinkedHashMap<>();
                    for (int n = 1; n <= found.getMetaData().getColumnCount(); n++) {
                        String label = found.getMetaData().getColumnLabel(n);
                        if (!label.equals("CARDINALITY")) {
                            row.put(label, shown(found.getObject(n)));
                        }
                    }
                    all.add(row);
                }
                return all;
            }
        }

        Object whileKilled(String sql, String kill) throws SQLException {
            long began = System.nanoTime();
            Thread killer = new Thread(() -> {
                try {
                    Thread.sleep(400);
                    try (Connection other = connect(); Statement s = other.createStatement()) {
                        s.execute(kill);
                    }
                } catch (SQLException | InterruptedException e) {
                    System.err.println(e);
                }
            });
            killer.start();
            Object answer;
            try {
                answer = text(sql);
            } catch (SQLException e) {
                answer = Map.of("error", problem(e));
            }
            return System.nanoTime() - began < 5_000_000_000L ? answer : "killed too late";
        }
    }

    private static Object answers(Statement s, boolean rows) throws SQLException {
        List<Object> results = new ArrayList<>();
        while (results.size() < 20) {
            if (rows) {
                try (ResultSet r = s.getResultSet()) {
                    results.add(rows(r));
                }
            } else if (s.getUpdateCount() >= 0) {
                Map<String, Object> one = new LinkedHashMap<>();
                one.put("affected", s.getUpdateCount());
                try (ResultSet keys = s.getGeneratedKeys()) {
                    List<Object> ids = new ArrayList<>();
                    while (keys.next()) {
                        ids.add(keys.getLong(1));
                    }
                    one.put("ids", ids);
                }
                results.add(one);
            } else {
                break;
            }
            rows = s.getMoreResults();
        }
        return Map.of("results", results);
    }

    private static Object rows(ResultSet r) throws SQLException {
        ResultSetMetaData meta = r.getMetaData();
        List<Object> columns = new ArrayList<>();
        for (int n = 1; n <= Math.min(60, meta.getColumnCount()); n++) {
            columns.add(Arrays.asList(meta.getColumnLabel(n), meta.getColumnTypeName(n), meta.getPrecision(n), meta.getScale(n), meta.isNullable(n), meta.getTableName(n)));
        }
        List<Object> all = new ArrayList<>();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int n = 1; n <= meta.getColumnCount(); n++) {
                row.add(shown(r.getObject(n)));
            }
            all.add(row);
        }
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("columns", columns);
        out.put("rows", all.size() <= 60 ? all : Map.of("rows", all.size(), "sha1", sha1(Json.write(all).getBytes(StandardCharsets.UTF_8)), "first", all.get(0)));
        return out;
    }

    private static Object shown(Object value) {
        if (value == null || value instanceof Long || value instanceof Integer || value instanceof Boolean) {
            return value;
        }
        String text = value instanceof byte[] raw ? "bytes:" + (raw.length > 200 ? raw.length + " " + sha1(raw) : HexFormat.of().formatHex(raw)) : value.getClass().getSimpleName() + ":" + value;
        return text.length() <= 300 ? text : text.substring(0, 20) + "… " + text.length() + " " + sha1(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String sha1(byte[] bytes) {
        try {
            return new BigInteger(1, MessageDigest.getInstance("SHA-1").digest(bytes)).toString(16);
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static List<Object> arguments(Object args) {
        List<Object> all = new ArrayList<>();
        if (args == null) {
            return all;
        }
        for (Object one : list(args)) {
            if (one instanceof Map<?, ?> m) {
                all.add(m.containsKey("hex") ? HexFormat.of().parseHex((String) m.get("hex")) : ((String) m.get("repeat")).repeat((int) (long) (Long) m.get("times")));
            } else {
                all.add(one);
            }
        }
        return all;
    }

    private static Object problem(SQLException e) {
        // The driver puts the number of its connection before the server's text.
        String text = String.valueOf(e.getMessage()).replaceAll("\\(conn=\\d+\\) |\\(port=\\d+\\)", "").split("\n")[0];
        return Arrays.asList(e.getErrorCode(), e.getSQLState(), text);
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value) {
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> list(Object value) {
        return (List<Object>) value;
    }

    private static void play(Map<String, Object> order, Map<String, Object> scenario) {
        Map<String, Session> sessions = new HashMap<>();
        Map<String, Integer> next = new HashMap<>();
        Map<String, Object> steps = map(scenario.get("steps"));
        for (String who : List.of("a", "b")) {
            sessions.put(who, new Session(map(order.get("target")), map(scenario.get("connect")), who));
            next.put(who, 0);
        }
        String turn = "a";
        String other = "b";
        boolean over = false;
        while (!over && (next.get("a") < list(steps.get("a")).size() || next.get("b") < list(steps.get("b")).size())) {
            if (next.get(turn) >= list(steps.get(turn)).size()) {
                String swap = turn;
                turn = other;
                other = swap;
            }
            int index = next.merge(turn, 1, Integer::sum) - 1;
            Map<String, Object> step = map(list(steps.get(turn)).get(index));
            Object answer;
            try {
                answer = sessions.get(turn).play(step);
            } catch (Unsupported e) {
                answer = Map.of("unsupported", e.getMessage());
                over = ENDS_WITHOUT.contains((String) step.get("do"));
            } catch (SQLException e) {
                answer = Map.of("error", problem(e));
            }
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("scenario", scenario.get("name"));
            line.put("session", turn);
            line.put("step", index);
            line.put("answer", answer);
            System.out.println(Json.write(line));
            boolean left = next.get(turn) < list(steps.get(turn)).size();
            if (!left) {
                sessions.get(turn).close();
            }
            if (order.get("turns").equals("always") || !Boolean.TRUE.equals(step.get("hold")) || !left) {
                String swap = turn;
                turn = other;
                other = swap;
            }
        }
        sessions.values().forEach(Session::close);
    }

    public static void main(String[] names) throws Exception {
        mariadb = names[0].equals("mariadb");
        Map<String, Object> order = map(Json.read(new String(System.in.readAllBytes(), StandardCharsets.UTF_8)));
        Map<String, Object> direct = new HashMap<>(map(order.get("target")));
        direct.put("port", direct.get("direct"));
        Session server = new Session(direct, Map.of(), "a");
        server.open();
        for (Object scenario : list(order.get("scenarios"))) {
            for (Object sql : list(map(scenario).get("reset"))) {
                server.text((String) sql);
            }
            play(order, map(scenario));
        }
        server.close();
    }
}
