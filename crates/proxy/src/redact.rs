//! Secrets in the texts of statements: which texts may hold one, and how a text is shown without.
//!
//! Owns the list of words that give a secret away. It must never take a text for harmless on a guess: a word anywhere in
//! it, be it in a string, is enough. Input: texts of clients.

use std::sync::LazyLock;

use dbmesh_sql::{Class, Dialect, Facts, Statement, digest_text};
use regex::bytes::Regex;

/// Words that give a secret away. Where one of them stands, every literal may be one.
const WORDS: &str = "(?i-u)identified|passw|secret|credential|private|token|aes_|des_|encrypt|decrypt|encode|auth|_key|key_|\
                     keyring|connection|(create|alter)[ \t\r\n]+(server|user)|master_|source_|salt";

/// Whether a literal of this text may be a secret.
pub fn may_hold_secret(sql: &[u8]) -> bool {
    static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(WORDS).ok());
    // An expression that does not compile would be found by the tests; without it, nothing is harmless.
    EXPRESSION.as_ref().is_none_or(|words| words.is_match(sql))
}

/// The dialect in which a text is shown without its literals. Where one may be a secret, what stands in double quotes is
/// one as well, whatever the session's `sql_mode` says: a client that forgot ANSI_QUOTES wrote a password there.
pub fn safe_dialect(sql: &[u8], dialect: Dialect) -> Dialect {
    if !dialect.ansi_quotes || !may_hold_secret(sql) {
        return dialect;
    }
    Dialect {
        ansi_quotes: false,
        ..dialect
    }
}

/// A text as it came, cut at a number of bytes; without its literals if one may be a secret.
pub fn shown(sql: &[u8], statement: &Statement, dialect: Dialect, bytes_max: usize) -> String {
    let unclear = Facts::DYNAMIC_SQL | Facts::UNPARSED | Facts::UNTRUSTED_TEXT;
    let open = statement.class == Class::Admin || statement.unterminated;
    if open || statement.facts.has_any(unclear) || may_hold_secret(sql) {
        return digest_text(sql, &safe_dialect(sql, dialect), bytes_max);
    }
    String::from_utf8_lossy(sql.get(..bytes_max).unwrap_or(sql)).into_owned()
}

#[cfg(test)]
mod tests {
    use dbmesh_sql::analyze;

    use super::*;

    /// Every statement of MySQL and MariaDB that takes a secret, and some that hide one.
    const SECRETS: [&str; 42] = [
        "CREATE USER a IDENTIFIED BY 's3cr3t'",
        "CREATE USER a IDENTIFIED BY \"s3cr3t\"",
        "CREATE USER a IDENTIFIED WITH caching_sha2_password AS 's3cr3t'",
        "CREATE USER a IDENTIFIED WITH caching_sha2_password AS 0x733363723374 COMMENT 's3cr3t'",
        "create user a identified by password 's3cr3t'",
        "CREATE USER a IDENTIFIED VIA ed25519 USING PASSWORD('s3cr3t')",
        "CREATE USER a IDENTIFIED /* x */ BY 's3cr3t', b IDENTIFIED BY 's3cr3t'",
        "ALTER USER a IDENTIFIED BY 's3cr3t' REPLACE 's3cr3t'",
        "ALTER USER USER() IDENTIFIED BY 's3cr3t' RETAIN CURRENT PASSWORD",
        "ALTER USER a IDENTIFIED BY 's3cr3t' FAILED_LOGIN_ATTEMPTS 3",
        "GRANT ALL ON *.* TO a IDENTIFIED BY 's3cr3t'",
        "SET PASSWORD = 's3cr3t'",
        "SET PASSWORD FOR a = PASSWORD('s3cr3t')",
        "SET PASSWORD FOR 'a'@'%' = 's3cr3t' REPLACE 's3cr3t'",
        "SET PASSWORD TO RANDOM",
        "SET GLOBAL innodb_encryption_key = 's3cr3t'",
        "SET @password = 's3cr3t'",
        "CHANGE REPLICATION SOURCE TO SOURCE_USER='r', SOURCE_PASSWORD='s3cr3t'",
        "CHANGE MASTER TO MASTER_PASSWORD='s3cr3t', MASTER_HOST='h'",
        "START REPLICA USER='r' PASSWORD='s3cr3t'",
        "START SLAVE USER='r' PASSWORD='s3cr3t'",
        "START GROUP_REPLICATION USER='r', PASSWORD='s3cr3t'",
        "CLONE INSTANCE FROM 'u'@'h':3306 IDENTIFIED BY 's3cr3t'",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD 's3cr3t')",
        "ALTER SERVER s OPTIONS (PASSWORD 's3cr3t')",
        "CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:s3cr3t@h/d/t'",
        "SELECT AES_ENCRYPT('x', 's3cr3t')",
        "SELECT AES_DECRYPT(a, 's3cr3t') FROM t",
        "SELECT DES_ENCRYPT('x', 's3cr3t')",
        "SELECT ENCODE('x', 's3cr3t')",
        "SELECT ENCRYPT('s3cr3t')",
        "SELECT PASSWORD('s3cr3t'), OLD_PASSWORD('s3cr3t')",
        "INSERT INTO users (name, password) VALUES ('a', 's3cr3t')",
        "UPDATE mysql.user SET authentication_string = 's3cr3t'",
        "PREPARE s FROM 'ALTER USER a IDENTIFIED BY ''s3cr3t'''",
        "EXECUTE IMMEDIATE CONCAT('ALTER US', 'ER a IDENT', 'IFIED BY ''s3cr3t''')",
        "CREATE USER a IDENTIFIED BY 's3cr3t",
        "/*!50000 CREATE USER a IDENTIFIED BY 's3cr3t' */",
        "SELECT 1; SET PASSWORD = 's3cr3t'",
        "SET GLOBAL validate_password.policy = 's3cr3t'",
        "CREATE USER a IDENTIFIED BY _utf8mb4's3cr3t'",
        "ALTER INSTANCE RELOAD KEYRING /* 's3cr3t' */ -- s3cr3t",
    ];

    #[test]
    fn no_secret_is_ever_shown() {
        for sql in SECRETS {
            for ansi_quotes in [false, true] {
                for no_backslash_escapes in [false, true] {
                    let dialect = Dialect {
                        ansi_quotes,
                        no_backslash_escapes,
                        ..Dialect::default()
                    };
                    let statement = analyze(sql.as_bytes(), &dialect);
                    let shown = shown(sql.as_bytes(), &statement, dialect, 4096);
                    assert!(!shown.contains("s3cr3t"), "{sql}: {shown}");
                    let safe = safe_dialect(sql.as_bytes(), dialect);
                    let text = digest_text(sql.as_bytes(), &safe, 4096);
                    assert!(!text.contains("s3cr3t"), "{sql}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_holds_no_secret_is_shown_as_it_is() {
        for sql in [
            "SELECT * FROM t WHERE id = 5",
            "INSERT INTO orders (item) VALUES ('tea')",
            "SET NAMES 'utf8mb4'",
        ] {
            let statement = analyze(sql.as_bytes(), &Dialect::default());
            assert_eq!(
                shown(sql.as_bytes(), &statement, Dialect::default(), 99),
                sql
            );
        }
    }
}
