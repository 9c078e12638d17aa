# Plays the scenarios with a driver of Perl's DBI, `mysql` or `MariaDB`: the play on standard input, answers on standard output.
#
# Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
# when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.
use strict;
use warnings;
use DBI;
use Digest::SHA qw(sha1_hex);
use Encode qw(encode_utf8);
use JSON::PP;

my $driver = shift @ARGV;
my $prefix = { mysql => 'mysql', MariaDB => 'mariadb' }->{$driver};
my $json = JSON::PP->new->ascii->canonical->allow_nonref;
$| = 1;

# A value as JSON; long ones by length and digest. Numbers are text for DBI.
sub shown {
    my ($value) = @_;
    return undef unless defined $value;
    my $text = "$value";
    my $bytes = encode_utf8($text);
    return length $bytes <= 300 ? $text : substr($text, 0, 20) . '... ' . length($text) . ' ' . sha1_hex($bytes);
}

sub shown_rows {
    my @rows = map { [map { shown($_) } @$_] } @{ $_[0] };
    return @rows <= 60 ? \@rows : { rows => scalar @rows, sha1 => sha1_hex($json->encode(\@rows)), first => $rows[0] };
}

sub argument {
    my ($value) = @_;
    return $value unless ref $value eq 'HASH';
    return exists $value->{hex} ? pack('H*', $value->{hex}) : $value->{repeat} x $value->{times};
}

sub unsupported { die { unsupported => $_[0] } }

package Session;

sub new {
    my ($class, $target, $connect, $who) = @_;
    my %wanted = (schema => 'drivers', user => $target->{user}, password => $target->{password});
    for my $key (keys %$connect) {
        if ($key =~ /^(.*)_of$/) { $wanted{$1} = $connect->{$key}{$who} }
        else { $wanted{$key} = $connect->{$key} }
    }
    return bless { target => $target, wanted => \%wanted, kept => {}, dbh => undef }, $class;
}

sub on_server { $_[0]{dbh}{"${prefix}_server_prepare"} = $_[1] }

sub open {
    my ($self) = @_;
    my $w = $self->{wanted};
    main::unsupported('always utf8mb4') if $w->{charset} && $w->{charset} ne 'utf8mb4';
    my $dsn = "dbi:$driver:host=127.0.0.1;port=$self->{target}{port}" . (defined $w->{schema} ? ";database=$w->{schema}" : '');
    my %more = (connect_timeout => 10, read_timeout => 60, multi_statements => $w->{multi} ? 1 : 0, compression => $w->{compress} ? 1 : 0);
    $more{client_found_rows} = $w->{found_rows} ? 1 : 0;
    $more{local_infile} = $w->{local} ? 1 : 0;
    $more{ssl} = 1 if $w->{tls};
    $more{ssl_verify_server_cert} = 0 if $w->{tls};
    $dsn .= join '', map { ";${prefix}_$_=$more{$_}" } sort keys %more;
    my $options = { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1 };
    $options->{mysql_enable_utf8mb4} = 1 if $driver eq 'mysql';
    $self->{dbh} = DBI->connect($dsn, $w->{user}, $w->{password}, $options);
    $self->{dbh}{AutoCommit} = $w->{autocommit} ? 1 : 0 if exists $w->{autocommit};
    $self->{first} = $self->number('SELECT CONNECTION_ID()');
}

sub number { ($_[0]{dbh}->selectrow_array($_[1]))[0] }

sub close {
    my ($self) = @_;
    %{ $self->{kept} } = ();
    my $dbh = delete $self->{dbh};
    eval { $dbh->rollback unless $dbh->{AutoCommit}; $dbh->disconnect } if $dbh;
}

sub run {
    my ($self, $sth, $args) = @_;
    $sth->execute(@$args);
    my @results;
    while (@results < 20) {
        if ($sth->{NUM_OF_FIELDS}) {
            my @columns = map { my $n = $_; [map { $sth->{$_}[$n] } qw(NAME TYPE PRECISION SCALE NULLABLE), "${prefix}_type_name", "${prefix}_table"] } 0 .. ($sth->{NUM_OF_FIELDS} > 60 ? 0 : $sth->{NUM_OF_FIELDS} - 1);
            push @results, { columns => \@columns, rows => main::shown_rows($sth->fetchall_arrayref), warnings => $sth->{"${prefix}_warning_count"} };
        } else {
            push @results, { affected => $sth->rows, id => $sth->{"${prefix}_insertid"}, warnings => $sth->{"${prefix}_warning_count"} };
        }
        last unless $sth->more_results;
    }
    return { results => \@results };
}

sub prepare {
    my ($self, $sql, $on_server) = @_;
    $self->on_server($on_server);
    my $sth = $self->{dbh}->prepare($sql);
    $self->on_server(0);
    return $sth;
}

sub play {
    my ($self, $step) = @_;
    my $do = $step->{do};
    $self->open if !$self->{dbh} && $do ne 'reconnect';
    my $dbh = $self->{dbh};
    my @args = map { main::argument($_) } @{ $step->{args} // [] };
    return $self->run($self->prepare($step->{sql}, 0), \@args) if $do eq 'query';
    return $self->run($self->prepare($step->{sql}, 1), \@args) if $do eq 'prepared';
    if ($do eq 'prepare') { $self->{kept}{ $step->{name} } = $self->prepare($step->{sql}, 1); return 'prepared' }
    if ($do eq 'run') { return $self->run($self->{kept}{ $step->{name} } // main::unsupported('it was not prepared'), \@args) }
    if ($do eq 'release') { delete $self->{kept}{ $step->{name} }; return 'released' }
    if ($do eq 'batch') {
        my $sth = $self->prepare($step->{sql}, 1);
        return [map { $self->run($sth, $_) } @{ $step->{rows} }];
    }
    return $self->run($self->prepare("CALL $step->{name}(" . join(', ', map { "\@_$_" } 0 .. $#args) . ')', 0), []) if $do eq 'call';
    if ($do eq 'stream') {
        my $sth = $dbh->prepare($step->{sql}, { "${prefix}_use_result" => 1 });
        $sth->execute;
        return main::shown_rows($sth->fetchall_arrayref);
    }
    return $dbh->begin_work if $do eq 'begin';
    return $dbh->commit if $do eq 'commit';
    return $dbh->rollback if $do eq 'rollback';
    if ($do eq 'autocommit') { $dbh->{AutoCommit} = $step->{on} ? 1 : 0; return $dbh->{AutoCommit} ? 1 : 0 }
    return $dbh->do("USE `$step->{schema}`") if $do eq 'use';
    return $dbh->ping ? 1 : 0 if $do eq 'ping';
    if ($do eq 'reset_or_close') { $self->close; return 'cleared' }
    if ($do eq 'reconnect') { $self->close; $self->open; return 'reconnected' }
    return $self->number('SELECT CONNECTION_ID()') == $self->{first} && $dbh->{"${prefix}_thread_id"} == $self->{first} ? 1 : 0 if $do eq 'same_id';
    main::unsupported("no $do");
}

package main;

# Without one of these the rest of a scenario is about nothing.
my %ends_without = map { $_ => 1 } qw(reset change_user);

sub play {
    my ($order, $scenario) = @_;
    my (%sessions, %next);
    for my $who (qw(a b)) {
        $sessions{$who} = Session->new($order->{target}, $scenario->{connect}, $who);
        $next{$who} = 0;
    }
    my ($turn, $other, $over) = ('a', 'b', 0);
    my $left = sub { $next{ $_[0] } < @{ $scenario->{steps}{ $_[0] } } };
    while (!$over && ($left->('a') || $left->('b'))) {
        ($turn, $other) = ($other, $turn) unless $left->($turn);
        my $index = $next{$turn}++;
        my $step = $scenario->{steps}{$turn}[$index];
        my $answer = eval { $sessions{$turn}->play($step) };
        if (my $error = $@) {
            if (ref $error eq 'HASH') {
                $answer = $error;
                $over = $ends_without{ $step->{do} };
            } elsif ($DBI::err) {
                $answer = { error => [$DBI::err, $DBI::state, $DBI::errstr] };
            } else {
                $answer = { raised => "$error" };
            }
        }
        print $json->encode({ scenario => $scenario->{name}, session => $turn, step => $index, answer => $answer }), "\n";
        $sessions{$turn}->close unless $left->($turn);
        ($turn, $other) = ($other, $turn) if $order->{turns} eq 'always' || !$step->{hold} || !$left->($turn);
    }
    $_->close for values %sessions;
}

my $order = decode_json(do { local $/; <STDIN> });
my $server = Session->new({ %{ $order->{target} }, port => $order->{target}{direct} }, {}, 'a');
$server->open;
for my $scenario (@{ $order->{scenarios} }) {
    $server->{dbh}->do($_) for @{ $scenario->{reset} };
    play($order, $scenario);
}
