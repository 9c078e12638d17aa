//! Everything else: administration, maintenance, compound statements, and what is not known.

use super::show::explained_verb;
use super::{Effect, Outcome, Scope};
use crate::cursor::Cursor;
use crate::dialect::{Dialect, Flavor};
use crate::facts::Facts;
use crate::verb::Verb;
use crate::words::Keyword;

pub(super) fn read(
    keyword: Keyword,
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    outcome: &mut Outcome<'_>,
) {
    match keyword {
        Keyword::Truncate => outcome.defines(Verb::Truncate, Facts::IMPLICIT_COMMIT),
        Keyword::Grant | Keyword::Revoke => {
            outcome.defines(Verb::UserAdmin, Facts::IMPLICIT_COMMIT)
        }
        Keyword::Analyze => read_analyze(cursor, dialect, outcome),
        Keyword::Optimize | Keyword::Check | Keyword::Repair => {
            outcome.defines(Verb::Maintenance, Facts::IMPLICIT_COMMIT);
        }
        Keyword::Checksum => outcome.defines(Verb::Maintenance, Facts::NONE),
        Keyword::Signal | Keyword::Resignal => outcome.is(Verb::Signal),
        Keyword::Help => outcome.defines(Verb::Help, Facts::NONE),
        Keyword::Reset => outcome.defines(Verb::Reset, Facts::IMPLICIT_COMMIT),
        Keyword::Change | Keyword::Stop => {
            outcome.defines(Verb::Replication, Facts::IMPLICIT_COMMIT)
        }
        Keyword::Import => outcome.defines(Verb::Import, Facts::IMPLICIT_COMMIT),
        Keyword::Purge
        | Keyword::Binlog
        | Keyword::Install
        | Keyword::Uninstall
        | Keyword::Clone
        | Keyword::Shutdown
        | Keyword::Restart
        | Keyword::Cache => outcome.defines(Verb::ServerAdmin, Facts::IMPLICIT_COMMIT),
        Keyword::Backup if dialect.flavor == Flavor::MariaDb => read_backup(cursor, outcome),
        Keyword::If
        | Keyword::Loop
        | Keyword::While
        | Keyword::Repeat
        | Keyword::For
        | Keyword::Case
            if dialect.flavor == Flavor::MariaDb =>
        {
            outcome.is(Verb::Compound);
            outcome.scope = Scope::Compound;
        }
        _ => outcome.unparsed(),
    }
}

/// `ANALYZE TABLE` everywhere; in MariaDB also `ANALYZE [FORMAT = JSON] statement`, which runs the statement.
fn read_analyze(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    let tables = ["table", "tables", "local", "no_write_to_binlog"]
        .iter()
        .any(|word| cursor.is_word(word));
    if tables || dialect.flavor == Flavor::MySql {
        return outcome.defines(Verb::Maintenance, Facts::IMPLICIT_COMMIT);
    }
    match explained_verb(cursor) {
        Some(verb) if verb.class() == crate::verb::Class::Write => outcome.is(verb),
        Some(_) => outcome.is(Verb::Explain),
        None => outcome.unparsed(),
    }
}

/// MariaDB's backup stages and locks belong to the connection.
fn read_backup(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::ServerAdmin, Facts::NONE);
    let ends = cursor.take_word("unlock") || cursor.take_words(&["stage", "end"]);
    outcome.effects.push(if ends {
        Effect::UnlockInstance
    } else {
        Effect::LockInstance
    });
}
