<?php
// mysqli and PDO over PHP's own driver, mysqlnd: what each can do, behind one interface.
//
// Owns the calls of the drivers. It must never judge an answer. Input: statements and arguments of the scenarios.

declare(strict_types=1);

final class Unsupported extends RuntimeException
{
}

function problem(mysqli_sql_exception|PDOException $error): array
{
    if ($error instanceof mysqli_sql_exception) {
        return [$error->getCode(), $error->getSqlState(), $error->getMessage()];
    }
    return $error->errorInfo ?? [$error->getCode(), null, $error->getMessage()];
}

abstract class Driver
{
    abstract public function query(string $sql, array $args): mixed;
    abstract public function prepare(string $sql): object;
    abstract public function run(object $statement, array $args): mixed;
    abstract public function number(string $sql): int;
    abstract public function close(): void;

    public function cursor(string $sql, array $args, int $size): array
    {
        throw new Unsupported('no cursors on the server');
    }

    public function changeUser(array $target, string $schema): mixed
    {
        throw new Unsupported('no change of user');
    }

    public function use(string $schema): mixed
    {
        return $this->query("USE `$schema`", []);
    }
}

final class Mysqli_ extends Driver
{
    private mysqli $conn;

    public function __construct(array $target, private array $wanted)
    {
        mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
        $this->conn = mysqli_init();
        $this->conn->options(MYSQLI_OPT_CONNECT_TIMEOUT, 10);
        $this->conn->options(MYSQLI_OPT_READ_TIMEOUT, 60);
        $this->conn->options(MYSQLI_OPT_LOCAL_INFILE, (int) ($wanted['local'] ?? false));
        $this->conn->options(MYSQLI_SET_CHARSET_NAME, str_replace('utf8mb3', 'utf8', $wanted['charset'] ?? 'utf8mb4'));
        $flags = ($wanted['found_rows'] ?? false) ? MYSQLI_CLIENT_FOUND_ROWS : 0;
        $flags |= ($wanted['compress'] ?? false) ? MYSQLI_CLIENT_COMPRESS : 0;
        $flags |= ($wanted['tls'] ?? false) ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT : 0;
        $this->conn->real_connect('127.0.0.1', $wanted['user'], $wanted['password'], $wanted['schema'], $target['port'], null, $flags);
        if (isset($wanted['autocommit'])) {
            $this->conn->autocommit($wanted['autocommit']);
        }
    }

    public function close(): void
    {
        $this->conn->close();
    }

    public function number(string $sql): int
    {
        $result = $this->conn->query($sql);
        return $result === true ? 1 : (int) $result->fetch_row()[0];
    }

    /** Several statements at once only where the scenario allows them; placeholders are filled in here. */
    public function query(string $sql, array $args): mixed
    {
        foreach ($args as $value) {
            $text = is_string($value) ? "'" . $this->conn->real_escape_string($value) . "'" : ($value === null ? 'NULL' : json_encode($value));
            $sql = substr_replace($sql, $text, strpos($sql, '?', $at ?? 0), 1);
            $at = strpos($sql, $text, $at ?? 0) + strlen($text);
        }
        if (!($this->wanted['multi'] ?? false)) {
            $result = $this->conn->query($sql);
            $answer = [$this->shown($result)];
            $this->drain($answer);
            return ['results' => $answer];
        }
        $this->conn->multi_query($sql);
        $answer = [$this->shown($this->conn->store_result() ?: true)];
        $this->drain($answer);
        return ['results' => $answer];
    }

    private function drain(array &$answer): void
    {
        while (count($answer) < 20 && $this->conn->more_results()) {
            $this->conn->next_result();
            $answer[] = $this->shown($this->conn->store_result() ?: true);
        }
    }

    private function shown(mysqli_result|bool $result): array
    {
        if (is_bool($result)) {
            return ['affected' => $this->conn->affected_rows, 'id' => $this->conn->insert_id, 'warnings' => $this->conn->warning_count, 'info' => $this->conn->info];
        }
        $columns = array_map(fn (object $f) => [$f->name, $f->orgname, $f->table, $f->type, $f->length, $f->flags, $f->decimals, $f->charsetnr], $result->fetch_fields());
        $columns = count($columns) <= 60 ? $columns : [count($columns), end($columns)];
        return ['columns' => $columns, 'rows' => shown_rows($result->fetch_all()), 'warnings' => $this->conn->warning_count];
    }

    public function prepare(string $sql): object
    {
        return $this->conn->prepare($sql);
    }

    public function run(object $statement, array $args): mixed
    {
        if ($args) {
            $types = implode('', array_map(fn ($v) => is_int($v) ? 'i' : (is_float($v) ? 'd' : 's'), $args));
            $statement->bind_param($types, ...$args);
        }
        $statement->execute();
        $results = [];
        do {
            $result = $statement->get_result();
            $results[] = $result ? $this->shown($result) : ['affected' => $statement->affected_rows, 'id' => $statement->insert_id];
        } while (count($results) < 20 && $statement->more_results() && $statement->next_result());
        return ['results' => $results];
    }

    public function stream(string $sql): array
    {
        $result = $this->conn->query($sql, MYSQLI_USE_RESULT);
        $rows = [];
        while ($row = $result->fetch_row()) {
            $rows[] = $row;
        }
        $result->close();
        return $rows;
    }

    public function cursor(string $sql, array $args, int $size): array
    {
        $statement = $this->conn->prepare($sql);
        $statement->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
        $args ? $statement->execute($args) : $statement->execute();
        $row = array_fill(0, $statement->field_count, null);
        $statement->bind_result(...$row);
        $rows = [];
        while ($statement->fetch()) {
            $rows[] = array_map(fn ($v) => $v, $row);
        }
        return $rows;
    }

    public function begin(): bool
    {
        return $this->conn->begin_transaction();
    }

    public function commit(): bool
    {
        return $this->conn->commit();
    }

    public function rollback(): bool
    {
        return $this->conn->rollback();
    }

    public function autocommit(bool $on): bool
    {
        return $this->conn->autocommit($on);
    }

    public function use(string $schema): mixed
    {
        return $this->conn->select_db($schema);
    }

    public function changeUser(array $target, string $schema): mixed
    {
        return $this->conn->change_user($target['user'], $target['password'], $schema);
    }
}

final class Pdo_ extends Driver
{
    private ?PDO $conn;

    public function __construct(array $target, array $wanted)
    {
        $charset = $wanted['charset'] ?? 'utf8mb4';
        $dsn = "mysql:host=127.0.0.1;port={$target['port']};charset=" . str_replace('utf8mb3', 'utf8', $charset);
        $options = [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10, PDO::MYSQL_ATTR_FOUND_ROWS => $wanted['found_rows'] ?? false,
            PDO::MYSQL_ATTR_COMPRESS => $wanted['compress'] ?? false, PDO::MYSQL_ATTR_LOCAL_INFILE => $wanted['local'] ?? false,
            PDO::MYSQL_ATTR_MULTI_STATEMENTS => $wanted['multi'] ?? false, PDO::ATTR_EMULATE_PREPARES => true,
        ];
        if ($wanted['tls'] ?? false) {
            $options += [PDO::MYSQL_ATTR_SSL_CIPHER => 'DEFAULT', PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => false];
        }
        if (isset($wanted['autocommit'])) {
            $options[PDO::ATTR_AUTOCOMMIT] = $wanted['autocommit'];
        }
        $this->conn = new PDO($dsn . ($wanted['schema'] ? ";dbname={$wanted['schema']}" : ''), $wanted['user'], $wanted['password'], $options);
    }

    public function close(): void
    {
        $this->conn = null;
    }

    public function number(string $sql): int
    {
        return (int) ($this->conn->query($sql)->columnCount() ? $this->conn->query($sql)->fetchColumn() : 1);
    }

    public function query(string $sql, array $args): mixed
    {
        return $this->run($args ? $this->conn->prepare($sql) : $this->conn->query($sql), $args, !$args);
    }

    public function prepare(string $sql): object
    {
        return $this->conn->prepare($sql, [PDO::ATTR_EMULATE_PREPARES => false]);
    }

    public function run(object $statement, array $args, bool $done = false): mixed
    {
        foreach (array_values($args) as $n => $value) {
            $statement->bindValue($n + 1, is_float($value) ? (string) $value : $value, is_int($value) ? PDO::PARAM_INT : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR));
        }
        $done || $statement->execute();
        $results = [];
        do {
            $results[] = $this->shown($statement);
        } while (count($results) < 20 && $statement->nextRowset());
        $statement->closeCursor();
        return ['results' => $results];
    }

    private function shown(PDOStatement $statement): array
    {
        if ($statement->columnCount() === 0) {
            return ['affected' => $statement->rowCount(), 'id' => $this->conn->lastInsertId()];
        }
        $columns = array_map(fn (int $n) => array_values($statement->getColumnMeta($n) ?: []), range(0, min(60, $statement->columnCount()) - 1));
        return ['columns' => $columns, 'rows' => shown_rows($statement->fetchAll(PDO::FETCH_NUM)), 'affected' => $statement->rowCount()];
    }

    public function stream(string $sql): array
    {
        $this->conn->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
        try {
            return $this->conn->query($sql)->fetchAll(PDO::FETCH_NUM);
        } finally {
            $this->conn->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
        }
    }

    public function begin(): bool
    {
        return $this->conn->beginTransaction();
    }

    public function commit(): bool
    {
        return $this->conn->commit();
    }

    public function rollback(): bool
    {
        return $this->conn->rollBack();
    }

    public function autocommit(bool $on): bool
    {
        return $this->conn->setAttribute(PDO::ATTR_AUTOCOMMIT, $on);
    }
}
