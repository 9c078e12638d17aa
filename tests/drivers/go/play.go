// Plays the scenarios with Go's go-sql-driver through database/sql: the play on standard input, answers on standard output.
//
// Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
// when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.
package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

type step struct {
	Do     string
	SQL    string
	Args   []any
	Name   string
	Rows   [][]any
	On     bool
	Hold   bool
	Out    []int
	Schema string `json:"schema"`
}

type target struct {
	Port, Direct         int
	User, Password, Kind string
}

type scenario struct {
	Name    string
	Steps   map[string][]step
	Connect map[string]any
	Reset   []string
}

type order struct {
	Scenarios []scenario
	Target    target
	Turns     string
}

type unsupported string

func (u unsupported) Error() string { return string(u) }

// endsWithout: without one of these the rest of a scenario is about nothing.
var endsWithout = map[string]bool{"reset": true, "change_user": true}

type session struct {
	target target
	wanted map[string]any
	db     *sql.DB
	conn   *sql.Conn
	tx     *sql.Tx
	first  int64
	kept   map[string]*sql.Stmt
	ctx    context.Context
}

func newSession(t target, connect map[string]any, who string) *session {
	wanted := map[string]any{"schema": "drivers", "user": t.User, "password": t.Password}
	for key, value := range connect {
		if name, of := strings.CutSuffix(key, "_of"); of {
			wanted[name] = value.(map[string]any)[who]
		} else {
			wanted[key] = value
		}
	}
	return &session{target: t, wanted: wanted, kept: map[string]*sql.Stmt{}}
}

func (s *session) yes(name string) bool { on, _ := s.wanted[name].(bool); return on }

func (s *session) config() (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.User, _ = s.wanted["user"].(string)
	c.Passwd, _ = s.wanted["password"].(string)
	c.DBName, _ = s.wanted["schema"].(string)
	c.Net, c.Addr = "tcp", fmt.Sprintf("127.0.0.1:%d", s.target.Port)
	c.MultiStatements, c.ClientFoundRows = s.yes("multi"), s.yes("found_rows")
	c.AllowAllFiles = s.yes("local")
	c.Logger = &mysql.NopLogger{}
	if s.yes("tls") {
		c.TLSConfig = "skip-verify"
	}
	if s.yes("compress") {
		if err := c.Apply(mysql.EnableCompression(true)); err != nil {
			return nil, err
		}
	}
	if charset, ok := s.wanted["charset"].(string); ok {
		if err := c.Apply(mysql.Charset(charset, "")); err != nil {
			return nil, err
		}
	}
	if on, ok := s.wanted["autocommit"].(bool); ok {
		c.Params = map[string]string{"autocommit": map[bool]string{true: "1", false: "0"}[on]}
	}
	return c, nil
}

func (s *session) open() error {
	config, err := s.config()
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	s.db = sql.OpenDB(connector)
	s.db.SetMaxOpenConns(1)
	if s.conn, err = s.db.Conn(s.ctx); err != nil {
		s.db.Close()
		s.db, s.conn = nil, nil
		return err
	}
	s.first, err = s.number()
	return err
}

func (s *session) close() {
	for name, stmt := range s.kept {
		stmt.Close()
		delete(s.kept, name)
	}
	if s.tx != nil {
		s.tx.Rollback()
		s.tx = nil
	}
	if s.conn != nil {
		s.conn.Close()
		s.db.Close()
		s.conn, s.db = nil, nil
	}
}

func (s *session) number() (id int64, err error) {
	err = s.conn.QueryRowContext(s.ctx, "SELECT CONNECTION_ID()").Scan(&id)
	return id, err
}

func (s *session) query(text string, args []any) (any, error) {
	rows, err := s.conn.QueryContext(s.ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return answers(rows)
}

// run answers a statement in the way of its kind: database/sql has one for rows and one for changes.
func (s *session) run(text string, args []any) (any, error) {
	word := strings.ToUpper(strings.SplitN(strings.TrimLeft(text, "( \n\t"), " ", 2)[0])
	switch word {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD":
		if strings.Contains(text, "RETURNING") || strings.Contains(text, ";") {
			break
		}
		done, err := s.conn.ExecContext(s.ctx, text, args...)
		if err != nil {
			return nil, err
		}
		return changed(done)
	}
	return s.query(text, args)
}

func changed(done sql.Result) (any, error) {
	affected, _ := done.RowsAffected()
	id, _ := done.LastInsertId()
	return map[string]any{"affected": affected, "id": id}, nil
}

func (s *session) play(st step) (any, error) {
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.conn == nil && st.Do != "reconnect" {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	args := arguments(st.Args)
	switch st.Do {
	case "query", "stream":
		return s.run(st.SQL, args)
	case "prepared":
		stmt, err := s.conn.PrepareContext(s.ctx, st.SQL)
		if err != nil {
			return nil, err
		}
		defer stmt.Close()
		return s.runStmt(stmt, st.SQL, args)
	case "prepare":
		stmt, err := s.conn.PrepareContext(s.ctx, st.SQL)
		if err == nil {
			s.kept[st.Name] = stmt
		}
		return "prepared", err
	case "run":
		return s.runStmt(s.kept[st.Name], "SELECT", args)
	case "release":
		defer delete(s.kept, st.Name)
		return "released", s.kept[st.Name].Close()
	case "batch":
		return s.batch(st)
	case "call":
		return s.call(st)
	case "begin":
		// A context that ends with the step would roll the transaction back.
		tx, err := s.conn.BeginTx(context.Background(), nil)
		s.tx = tx
		return "begun", err
	case "commit", "rollback":
		return s.end(st.Do)
	case "autocommit":
		return s.query(map[bool]string{true: "SET autocommit = 1", false: "SET autocommit = 0"}[st.On], nil)
	case "use":
		return s.query("USE `"+st.Schema+"`", nil)
	case "ping":
		return "pong", s.conn.PingContext(s.ctx)
	case "reset_or_close":
		s.close()
		return "cleared", nil
	case "reconnect":
		s.close()
		return "reconnected", s.open()
	case "same_id":
		now, err := s.number()
		return now == s.first, err
	case "kill":
		return s.whileKilled(st.SQL, fmt.Sprintf("KILL QUERY %d", s.first))
	case "kill_connection":
		if answer, _ := s.whileKilled("SELECT SLEEP(8)", fmt.Sprintf("KILL %d", s.first)); answer == "killed too late" {
			return answer, nil
		}
		return "lost", nil
	}
	return nil, unsupported("no " + st.Do)
}

func (s *session) runStmt(stmt *sql.Stmt, text string, args []any) (any, error) {
	if strings.HasPrefix(text, "INSERT") || strings.HasPrefix(text, "UPDATE") {
		done, err := stmt.ExecContext(s.ctx, args...)
		if err != nil {
			return nil, err
		}
		return changed(done)
	}
	rows, err := stmt.QueryContext(s.ctx, args...)
	if err != nil {
		return nil, err
	}
	return answers(rows)
}

func (s *session) batch(st step) (any, error) {
	stmt, err := s.conn.PrepareContext(s.ctx, st.SQL)
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	var all []any
	for _, row := range st.Rows {
		done, err := stmt.ExecContext(s.ctx, row...)
		if err != nil {
			return map[string]any{"done": all, "error": problem(err)}, nil
		}
		one, _ := changed(done)
		all = append(all, one)
	}
	return all, nil
}

func (s *session) call(st step) (any, error) {
	out := map[int]bool{}
	for _, n := range st.Out {
		out[n] = true
	}
	var marks, outs []string
	var args []any
	for n, value := range st.Args {
		if out[n] {
			marks, outs = append(marks, fmt.Sprintf("@o%d", n)), append(outs, fmt.Sprintf("@o%d", n))
			continue
		}
		marks, args = append(marks, "?"), append(args, value)
	}
	first, err := s.query("CALL "+st.Name+"("+strings.Join(marks, ", ")+")", arguments(args))
	if err != nil || len(outs) == 0 {
		return first, err
	}
	second, err := s.query("SELECT "+strings.Join(outs, ", "), nil)
	return []any{first, second}, err
}

func (s *session) end(how string) (any, error) {
	if s.tx == nil {
		return s.query(strings.ToUpper(how), nil)
	}
	tx := s.tx
	s.tx = nil
	if how == "commit" {
		return "committed", tx.Commit()
	}
	return "rolled back", tx.Rollback()
}

func (s *session) whileKilled(text, kill string) (any, error) {
	began := time.Now()
	go func() {
		time.Sleep(400 * time.Millisecond)
		other := &session{target: s.target, wanted: s.wanted, ctx: context.Background()}
		if other.open() == nil {
			other.query(kill, nil)
			other.close()
		}
	}()
	answer, err := s.query(text, nil)
	if time.Since(began) > 5*time.Second {
		return "killed too late", nil
	}
	return answer, err
}

func arguments(args []any) []any {
	var all []any
	for _, one := range args {
		if m, ok := one.(map[string]any); ok {
			if text, ok := m["hex"].(string); ok {
				raw, _ := hex.DecodeString(text)
				one = raw
			} else {
				times, _ := m["times"].(json.Number).Int64()
				one = strings.Repeat(m["repeat"].(string), int(times))
			}
		}
		if number, ok := one.(json.Number); ok {
			if whole, err := number.Int64(); err == nil {
				one = whole
			} else {
				one, _ = number.Float64()
			}
		}
		all = append(all, one)
	}
	return all
}

// answers reads all results of a statement.
func answers(rows *sql.Rows) (any, error) {
	defer rows.Close()
	var results []any
	for {
		columns, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		var names []any
		for _, c := range columns {
			length, _ := c.Length()
			nullable, _ := c.Nullable()
			precision, scale, _ := c.DecimalSize()
			names = append(names, []any{c.Name(), c.DatabaseTypeName(), length, nullable, precision, scale})
		}
		if len(names) > 60 {
			names = []any{len(names), names[len(names)-1]}
		}
		var all [][]any
		for rows.Next() {
			row := make([]any, len(columns))
			at := make([]any, len(columns))
			for i := range row {
				at[i] = &row[i]
			}
			if err := rows.Scan(at...); err != nil {
				return nil, err
			}
			for i := range row {
				row[i] = shown(row[i])
			}
			all = append(all, row)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		results = append(results, map[string]any{"columns": names, "rows": shownRows(all)})
		if !rows.NextResultSet() {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return map[string]any{"results": results, "error": problem(err)}, nil
	}
	return map[string]any{"results": results}, nil
}

func shownRows(all [][]any) any {
	if len(all) <= 60 {
		return all
	}
	text, _ := json.Marshal(all)
	return map[string]any{"rows": len(all), "sha1": fmt.Sprintf("%x", sha1.Sum(text)), "first": all[0]}
}

func shown(value any) any {
	var text string
	switch v := value.(type) {
	case nil, int64, uint64, bool:
		return v
	case []byte:
		text = "bytes:" + strings.ToValidUTF8(string(v), "?")
		if !bytes.Equal(v, []byte(strings.ToValidUTF8(string(v), "?"))) {
			text = "bytes:" + hex.EncodeToString(v)
		}
	default:
		text = fmt.Sprintf("%T:%v", v, v)
	}
	if len(text) > 300 {
		text = fmt.Sprintf("%d %x", len(text), sha1.Sum([]byte(text)))
	}
	return text
}

func problem(err error) any {
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		return []any{m.Number, string(m.SQLState[:]), m.Message}
	}
	return []any{nil, nil, err.Error()}
}

func playScenario(o order, sc scenario) {
	sessions := map[string]*session{}
	next := map[string]int{}
	for _, who := range []string{"a", "b"} {
		sessions[who] = newSession(o.Target, sc.Connect, who)
		defer sessions[who].close()
	}
	left := func(who string) bool { return next[who] < len(sc.Steps[who]) }
	turn, other := "a", "b"
	for left("a") || left("b") {
		if !left(turn) {
			turn, other = other, turn
		}
		index := next[turn]
		st := sc.Steps[turn][index]
		next[turn]++
		answer, err := sessions[turn].play(st)
		over := false
		if lacks, is := err.(unsupported); is {
			answer, over = map[string]any{"unsupported": string(lacks)}, endsWithout[st.Do]
		} else if err != nil {
			answer = map[string]any{"error": problem(err)}
		}
		line, _ := json.Marshal(map[string]any{"scenario": sc.Name, "session": turn, "step": index, "answer": answer})
		fmt.Println(string(line))
		if over {
			return
		}
		if !left(turn) {
			sessions[turn].close()
		}
		if o.Turns == "always" || !st.Hold || !left(turn) {
			turn, other = other, turn
		}
	}
}

func main() {
	var o order
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	if err := decoder.Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	direct := o.Target
	direct.Port = direct.Direct
	server := newSession(direct, nil, "a")
	server.ctx = context.Background()
	if err := server.open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, sc := range o.Scenarios {
		for _, text := range sc.Reset {
			if _, err := server.conn.ExecContext(context.Background(), text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		playScenario(o, sc)
	}
	server.close()
}
