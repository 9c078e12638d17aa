use super::*;

#[test]
fn lookup_ignores_case_and_knows_all_lengths() {
    assert_eq!(lookup(b"SeLeCt").keyword, Keyword::Select);
    assert_eq!(lookup(b"as").keyword, Keyword::As);
    assert_eq!(
        lookup(b"SQL_CALC_FOUND_ROWS").keyword,
        Keyword::SqlCalcFoundRows
    );
    assert_eq!(lookup(b"last_insert_id").keyword, Keyword::LastInsertId);
    assert_eq!(lookup(b"last_insert_ie").keyword, Keyword::None);
    assert_eq!(lookup(b"selec"), Word::NAME);
    assert_eq!(lookup(b""), Word::NAME);
    assert_eq!(lookup(&[b'a'; 33]), Word::NAME);
    assert_eq!(lookup(&[0xd3, 0xc5, 0xcc, 0xc5, 0xc3, 0xd4]), Word::NAME);
}

#[test]
fn every_listed_word_is_found_with_its_flags() {
    let lists = [
        (RESERVED, IS_RESERVED),
        (CLAUSES, IS_CLAUSE),
        (SOFT_KEYWORDS, IS_SOFT),
        (PARENTHESISED, TAKES_PAREN),
        (PARENTHESISED_MYSQL, TAKES_PAREN_MYSQL),
        (TYPES, IS_TYPE),
        (SHARED_FUNCTIONS, NATIVE_MYSQL | NATIVE_MARIADB),
        (MYSQL_FUNCTIONS, NATIVE_MYSQL),
        (MARIADB_FUNCTIONS, NATIVE_MARIADB),
        (MARIADB_11_FUNCTIONS, NATIVE_MARIADB_11),
        (SPACED_FUNCTIONS, NEEDS_ADJACENT),
        (SPACED_MARIADB_FUNCTIONS, NEEDS_ADJACENT_MARIADB),
        (KEYWORD_FUNCTIONS, KEYWORD_FUNCTION),
    ];
    for (list, flags) in lists {
        let words: Vec<&str> = list.split_ascii_whitespace().collect();
        for pair in words.windows(2) {
            assert!(pair[0] < pair[1], "not sorted: {} {}", pair[0], pair[1]);
        }
        for word in words {
            let upper = word.to_ascii_uppercase();
            assert_eq!(lookup(upper.as_bytes()).flags & flags, flags, "{word}");
        }
    }
}

#[test]
fn functions_belong_to_their_flavor() {
    let mysql = Dialect::default();
    let mariadb = Dialect {
        flavor: Flavor::MariaDb,
        version: 101_119,
        ..mysql
    };
    assert!(lookup(b"uuid_to_bin").is_native(&mysql));
    assert!(!lookup(b"uuid_to_bin").is_native(&mariadb));
    assert!(lookup(b"natural_sort_key").is_native(&mariadb));
    assert!(!lookup(b"natural_sort_key").is_native(&mysql));
    assert!(!lookup(b"vec_fromtext").is_native(&mariadb));
    assert!(lookup(b"vec_fromtext").is_native(&Dialect {
        version: 110_701,
        ..mariadb
    }));
}

#[test]
fn introducers() {
    assert!(is_introducer(b"_utf8mb4"));
    assert!(is_introducer(b"_BINARY"));
    assert!(!is_introducer(b"_rowid"));
    assert!(!is_introducer(b"utf8mb4"));
}
