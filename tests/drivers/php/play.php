<?php
// Plays the scenarios with a PHP driver, `mysqli` or `pdo`: the play on standard input, answers on standard output.
//
// Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
// when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.

declare(strict_types=1);
require __DIR__ . '/drivers.php';

// Without one of these the rest of a scenario is about nothing.
const ENDS_WITHOUT = ['reset', 'change_user'];

/** A value as JSON that keeps its type; long ones by length and digest. */
function shown(mixed $value): mixed
{
    if ($value === null || is_bool($value) || is_int($value)) {
        return $value;
    }
    $text = is_float($value) ? 'float:' . var_export($value, true) : (preg_match('//u', $value) === 1 ? "string:$value" : 'bytes:' . bin2hex($value));
    return strlen($text) <= 300 ? $text : substr($text, 0, 20) . ' … ' . strlen($text) . ' ' . sha1($text);
}

function shown_rows(array $rows): array
{
    $rows = array_map(fn (array $row) => array_map(shown(...), array_values($row)), $rows);
    return count($rows) <= 60 ? $rows : ['rows' => count($rows), 'sha1' => sha1(json_encode($rows)), 'first' => $rows[0]];
}

function argument(mixed $value): mixed
{
    if (is_array($value)) {
        return isset($value['hex']) ? hex2bin($value['hex']) : str_repeat($value['repeat'], $value['times']);
    }
    return $value;
}

/** One client session of a scenario. */
final class Session
{
    public ?Driver $driver = null;
    private array $wanted;
    private array $kept = [];
    private int $firstId = 0;

    public function __construct(private string $class, private array $target, array $connect, string $who)
    {
        $this->wanted = ['schema' => 'drivers', 'user' => $target['user'], 'password' => $target['password']];
        foreach ($connect as $key => $value) {
            $of = str_ends_with($key, '_of');
            $this->wanted[$of ? substr($key, 0, -3) : $key] = $of ? $value[$who] : $value;
        }
    }

    public function open(): void
    {
        $this->driver = new $this->class($this->target, $this->wanted);
        $this->firstId = $this->driver->number('SELECT CONNECTION_ID()');
    }

    public function close(): void
    {
        $this->kept = [];
        $driver = $this->driver;
        $this->driver = null;
        $driver?->close();
    }

    public function play(array $step): mixed
    {
        $what = $step['do'];
        if ($this->driver === null && $what !== 'reconnect') {
            $this->open();
        }
        $driver = $this->driver;
        $args = array_map(argument(...), $step['args'] ?? []);
        switch ($what) {
            case 'query':
                return $driver->query($step['sql'], $args);
            case 'prepared':
                return $driver->run($driver->prepare($step['sql']), $args);
            case 'prepare':
                $this->kept[$step['name']] = $driver->prepare($step['sql']);
                return 'prepared';
            case 'run':
                return $driver->run($this->kept[$step['name']] ?? throw new Unsupported('it was not prepared'), $args);
            case 'release':
                unset($this->kept[$step['name']]);
                return 'released';
            case 'batch':
                $statement = $driver->prepare($step['sql']);
                return array_map(fn (array $row) => $driver->run($statement, $row), $step['rows']);
            case 'call':
                return $driver->query("CALL {$step['name']}(" . implode(', ', array_map(fn ($n) => "@_$n", array_keys($args))) . ')', []);
            case 'stream':
                return shown_rows($driver->stream($step['sql']));
            case 'cursor':
                return shown_rows($driver->cursor($step['sql'], $args, $step['size']));
            case 'begin':
                return $driver->begin();
            case 'commit':
                return $driver->commit();
            case 'rollback':
                return $driver->rollback();
            case 'autocommit':
                return $driver->autocommit($step['on']);
            case 'use':
                return $driver->use($step['schema']);
            case 'ping':
                return $driver->number('DO 1');
            case 'change_user':
                return $driver->changeUser($this->target, $step['schema']);
            case 'reset_or_close':
                $this->close();
                return 'cleared';
            case 'reconnect':
                $this->close();
                $this->open();
                return 'reconnected';
            case 'same_id':
                return $driver->number('SELECT CONNECTION_ID()') === $this->firstId;
        }
        throw new Unsupported("no $what");
    }
}

function play(string $class, array $order, array $scenario): void
{
    $sessions = $left = [];
    foreach (['a', 'b'] as $who) {
        $sessions[$who] = new Session($class, $order['target'], $scenario['connect'] ?: [], $who);
        $left[$who] = $scenario['steps'][$who];
    }
    [$turn, $other, $over] = ['a', 'b', false];
    while (($left['a'] || $left['b']) && !$over) {
        if (!$left[$turn]) {
            [$turn, $other] = [$other, $turn];
        }
        $index = count($scenario['steps'][$turn]) - count($left[$turn]);
        $step = array_shift($left[$turn]);
        try {
            $answer = $sessions[$turn]->play($step);
        } catch (Unsupported $why) {
            $answer = ['unsupported' => $why->getMessage()];
            $over = in_array($step['do'], ENDS_WITHOUT, true);
        } catch (ValueError $why) {
            $answer = ['unsupported' => $why->getMessage()];
        } catch (mysqli_sql_exception | PDOException $error) {
            $answer = ['error' => problem($error)];
        } catch (Throwable $error) {
            $answer = ['raised' => get_class($error) . ': ' . $error->getMessage() . ' ' . $error->getLine()];
        }
        // An exception may hold what it came through, and that the connection.
        unset($error, $why);
        $record = ['scenario' => $scenario['name'], 'session' => $turn, 'step' => $index, 'answer' => $answer];
        echo json_encode($record, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
        if (!$left[$turn]) {
            $sessions[$turn]->close();
        }
        if ($order['turns'] === 'always' || !$step['hold'] || !$left[$turn]) {
            [$turn, $other] = [$other, $turn];
        }
    }
    foreach ($sessions as $session) {
        $session->close();
    }
}

set_error_handler(fn (int $level, string $text) => in_array($level, [E_WARNING, E_NOTICE], true));
$class = ['mysqli' => Mysqli_::class, 'pdo' => Pdo_::class][$argv[1]];
$order = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$server = new $class(['port' => $order['target']['direct']] + $order['target'], ['schema' => 'drivers', 'user' => $order['target']['user'], 'password' => $order['target']['password']]);
foreach ($order['scenarios'] as $scenario) {
    foreach ($scenario['reset'] as $sql) {
        $server->query($sql, []);
    }
    play($class, $order, $scenario);
}
