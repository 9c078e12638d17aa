//! The one pass over a statement text: digest, verb, facts, and where to look for effects.
//!
//! Owns the order of things: each token goes to the normaliser and to the fact finder; a statement whose head can change
//! the session is also read by its own parser in `effects`. Must stay linear and, for plain queries, free of allocation.

mod block;
mod calls;
mod head;

use smallvec::SmallVec;

use crate::dialect::Dialect;
use crate::digest::{Digest, Normalizer, Sink};
use crate::effects::{self, Effects};
use crate::facts::Facts;
use crate::hints;
use crate::lexer::{Lexer, Span, Token, TokenKind};
use crate::statement::Statement;
use crate::verb::{Class, Verb};
use crate::words::{self, Keyword, Word};
use block::Block;
pub(crate) use block::body_end;

/// Analyses `sql` in one pass; what the digest is, the sink knows.
pub(crate) fn scan<S: Sink>(sql: &[u8], dialect: &Dialect, sink: S) -> (Statement, S) {
    let mut scanner = Scanner::new(sql, dialect, sink);
    scanner.run();
    let mut facts = scanner.facts;
    if scanner.statements > 1 {
        facts.add(Facts::MULTI);
    }
    if scanner.unterminated {
        facts.add(Facts::UNTRUSTED_TEXT);
    }
    let statement = Statement {
        digest: Digest::default(),
        guard: 0,
        verb: scanner.first_verb.unwrap_or(Verb::Empty),
        class: class_with_facts(scanner.class, facts),
        statements: scanner.statements,
        facts,
        effects: scanner.effects,
        unterminated: scanner.unterminated,
        hints: scanner.hints,
    };
    (statement, scanner.normal.into_sink())
}

/// Where the statements of a text end, each with its `;`: as many as the scanner counts, empty ones included.
pub(crate) fn ends(sql: &[u8], dialect: &Dialect) -> Vec<usize> {
    let mut scanner = Scanner::new(sql, dialect, crate::digest::HashSink::new());
    scanner.ends = Some(Vec::new());
    scanner.run();
    let mut ends = scanner.ends.unwrap_or_default();
    if ends.last().copied().unwrap_or(0) < sql.len() {
        ends.push(sql.len());
    }
    ends
}

/// Runs the same pass for its normalised text only.
pub(crate) fn normalise<S: Sink>(sql: &[u8], dialect: &Dialect, sink: S) -> S {
    let mut scanner = Scanner::new(sql, dialect, sink);
    scanner.run();
    scanner.normal.into_sink()
}

/// A query that writes files, locks, or runs unknown code is no plain read.
fn class_with_facts(class: Class, facts: Facts) -> Class {
    let writes = Facts::INTO_OUTFILE | Facts::LOCKING_READ | Facts::CALLS_ROUTINE | Facts::SEQUENCE;
    if class <= Class::Read && facts.has_any(writes) {
        Class::Write
    } else {
        class
    }
}

/// What names and parentheses mean where the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Queries and expressions: `name(` is a call.
    Expression,
    /// Definitions: `name(` is a column list, a type, an index.
    Definition,
    /// The column list of LOAD DATA.
    LoadColumns,
    /// The body of a routine, trigger, event or view: stored, not run.
    Body,
    /// A compound statement that runs now.
    Compound,
}

/// The token before, as far as later tokens depend on it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    kind: Option<TokenKind>,
    word: Word,
    span: Span,
    /// What stood before this token, when it is a name.
    lead: Lead,
    /// What this token is to a name that follows.
    gives: Lead,
}

/// What stands before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Start,
    Dot,
    As,
    Close,
    /// A name or literal.
    Operand,
    Other,
}

const NOTHING: Seen = Seen {
    kind: None,
    word: Word::NAME,
    span: Span { start: 0, end: 0 },
    lead: Lead::Start,
    gives: Lead::Start,
};

struct Scanner<'a, S: Sink> {
    lexer: Lexer<'a>,
    dialect: &'a Dialect,
    normal: Normalizer<S>,
    // Of the whole text.
    facts: Facts,
    effects: Effects,
    first_verb: Option<Verb>,
    class: Class,
    statements: u16,
    unterminated: bool,
    hints: SmallVec<[Span; 1]>,
    /// Where statements ended, for who asks.
    ends: Option<Vec<usize>>,
    // Of the current statement.
    start: Lexer<'a>,
    current: Facts,
    verb: Option<Verb>,
    context: Context,
    block: Block,
    last: Seen,
    depth: u32,
    /// Bit n: the common table expressions of a WITH are being listed at parenthesis depth n.
    cte_depths: u64,
    with_pending: bool,
    insert_target: bool,
    into_pending: bool,
    scope_pending: bool,
    last_insert_id_pending: bool,
}

impl<'a, S: Sink> Scanner<'a, S> {
    fn new(sql: &'a [u8], dialect: &'a Dialect, sink: S) -> Self {
        let lexer = Lexer::new(sql, dialect);
        Self {
            lexer,
            dialect,
            normal: Normalizer::new(sink),
            facts: Facts::NONE,
            effects: Effects::new(),
            first_verb: None,
            class: Class::Show,
            statements: 0,
            unterminated: false,
            hints: SmallVec::new(),
            ends: None,
            start: lexer,
            current: Facts::NONE,
            verb: None,
            context: Context::Expression,
            block: Block::new(),
            last: NOTHING,
            depth: 0,
            cte_depths: 0,
            with_pending: false,
            insert_target: false,
            into_pending: false,
            scope_pending: false,
            last_insert_id_pending: false,
        }
    }

    fn run(&mut self) {
        loop {
            if self.last.kind.is_none() {
                self.start = self.lexer;
            }
            let Some(kind) = self.lexer.step() else {
                break;
            };
            let token = self.lexer.read_last(kind);
            self.unterminated |= token.unterminated;
            // What texts are made of comes first, each kind by the shortest way.
            match kind {
                TokenKind::Word => self.word_token(token),
                TokenKind::Dot => {
                    self.expected(kind);
                    self.normal.dot();
                    self.pass(token, Word::NAME, Lead::Other, Lead::Dot);
                }
                TokenKind::Comma => {
                    self.expected(kind);
                    self.normal.comma();
                    self.pass(token, Word::NAME, Lead::Other, Lead::Other);
                }
                TokenKind::Equal => {
                    self.expected(kind);
                    self.normal.equal();
                    self.pass(token, Word::NAME, Lead::Other, Lead::Other);
                }
                TokenKind::Number | TokenKind::String | TokenKind::Parameter => {
                    self.expected(kind);
                    self.normal.literal(kind);
                    self.pass(token, Word::NAME, Lead::Other, Lead::Operand);
                }
                TokenKind::Open => {
                    self.parenthesis(token.span);
                    self.expected(kind);
                    self.normal.open();
                    self.pass(token, Word::NAME, Lead::Other, Lead::Other);
                }
                TokenKind::Close => {
                    self.close();
                    self.expected(kind);
                    self.normal.close();
                    self.pass(token, Word::NAME, Lead::Other, Lead::Close);
                }
                TokenKind::Comment => self.comment(token.span),
                TokenKind::ExecutableClose => {}
                TokenKind::Hint => {
                    let hint = token.span.of(self.lexer.sql());
                    self.current.add(hints::facts(hint));
                    self.normal.hint(hint, self.dialect);
                }
                TokenKind::ExecutableOpen => self.current.add(Facts::EXECUTABLE_COMMENT),
                TokenKind::Semicolon if !self.block.holds_semicolon(self.context) => {
                    self.normal.semicolon();
                    if let Some(ends) = &mut self.ends {
                        ends.push(token.span.end);
                    }
                    self.end_statement();
                }
                _ => self.other_token(token),
            }
        }
        self.unterminated |= self.lexer.in_executable_comment();
        self.end_statement();
    }

    /// Comments are nothing to the server; some speak to the mesh.
    fn comment(&mut self, span: Span) {
        let few = self.hints.len() <= hints::HINT_COMMENTS_MAX;
        if few && hints::is_hint(span.of(self.lexer.sql())) {
            self.hints.push(span);
        }
    }

    #[inline(always)]
    fn word_token(&mut self, token: Token) {
        let chars = self.lexer.last_chars();
        let word = words::lookup_chars(chars);
        let lead = self.last.gives;
        if self.verb.is_none() {
            self.start_statement(word);
        }
        self.word(chars.bytes, word, lead);
        self.expected(token.kind);
        self.normal.word(chars, word);
        let (word, gives) = match lead {
            Lead::Dot => (Word::NAME, Lead::Operand),
            _ if word == Word::NAME => (word, Lead::Operand),
            _ if word.keyword == Keyword::As => (word, Lead::As),
            _ => (word, Lead::Other),
        };
        self.pass(token, word, lead, gives);
    }

    fn other_token(&mut self, token: Token) {
        let bytes = token.span.of(self.lexer.sql());
        let mut lead = Lead::Other;
        let mut gives = Lead::Other;
        match token.kind {
            TokenKind::QuotedName | TokenKind::Introducer => {
                lead = self.last.gives;
                self.name(bytes);
            }
            TokenKind::UserVariable => self.user_variable(token.span),
            TokenKind::SystemVariable => self.system_variable(bytes),
            TokenKind::Assign => self.assign(),
            _ => {}
        }
        if token.kind == TokenKind::QuotedName || token.kind.is_literal() {
            gives = Lead::Operand;
        }
        self.expected(token.kind);
        self.normal.token(token.kind, bytes);
        self.pass(token, Word::NAME, lead, gives);
    }

    /// What earlier tokens left to be decided by the next one: seldom anything.
    #[inline(always)]
    fn expected(&mut self, kind: TokenKind) {
        let none = self.verb.is_none();
        if none | self.last_insert_id_pending | self.scope_pending | self.normal.separates() {
            self.decide(kind);
        }
    }

    #[cold]
    fn decide(&mut self, kind: TokenKind) {
        if self.last_insert_id_pending && kind != TokenKind::Open {
            self.last_insert_id_pending = false;
            self.current.add(match kind {
                TokenKind::Close => Facts::READS_LAST_INSERT_ID,
                _ => Facts::SETS_LAST_INSERT_ID,
            });
        }
        if self.verb.is_none() && kind != TokenKind::Open {
            self.start_statement(Word::NAME);
        }
        if !matches!(kind, TokenKind::Dot | TokenKind::SystemVariable) {
            self.scope_pending = false;
        }
        if self.normal.separates() && kind != TokenKind::Semicolon {
            self.normal.separate_statements();
        }
    }

    #[inline(always)]
    fn pass(&mut self, token: Token, word: Word, lead: Lead, gives: Lead) {
        self.last = Seen {
            kind: Some(token.kind),
            word,
            span: token.span,
            lead,
            gives,
        };
    }

    fn parenthesis(&mut self, open: Span) {
        if self.open(open) {
            let name = self.last.span.of(self.lexer.sql());
            self.normal.name_is_function(self.last.kind, name);
        }
    }

    /// A keyword after a dot is a name; every other word may change the state.
    #[inline]
    fn word(&mut self, bytes: &[u8], word: Word, lead: Lead) {
        if lead == Lead::Dot {
            return self.name(bytes);
        }
        if self.with_pending {
            self.with_list(word.keyword);
        }
        if word.keyword == Keyword::None {
            self.into_pending = false;
            return;
        }
        self.keyword(word.keyword);
    }

    fn name(&mut self, bytes: &[u8]) {
        if self.scope_pending {
            self.session_variable(bytes);
        }
        if self.with_pending {
            self.with_list(Keyword::None);
        }
        self.into_pending = false;
    }

    /// The word after WITH tells a list of table expressions from `WITH ROLLUP` and its like.
    fn with_list(&mut self, keyword: Keyword) {
        self.with_pending = false;
        if !matches!(
            keyword,
            Keyword::Query | Keyword::Rollup | Keyword::Cube | Keyword::Ties
        ) && self.depth < 64
        {
            self.cte_depths |= 1 << self.depth;
        }
    }

    #[inline]
    fn listing_ctes(&self) -> bool {
        self.depth < 64 && self.cte_depths >> self.depth & 1 == 1
    }

    #[inline]
    fn keyword(&mut self, keyword: Keyword) {
        if matches!(self.context, Context::Body | Context::Compound) {
            self.block.keyword(keyword, self.last.word.keyword);
        }
        let before = self.last.word.keyword;
        let into = std::mem::replace(&mut self.into_pending, keyword == Keyword::Into);
        match keyword {
            Keyword::With => self.with_pending = true,
            Keyword::Select
            | Keyword::Insert
            | Keyword::Replace
            | Keyword::Update
            | Keyword::Delete
            | Keyword::Values
            | Keyword::Value
            | Keyword::Table
            | Keyword::Set => self.main_keyword(keyword, before),
            Keyword::SqlCalcFoundRows => self.current.add(Facts::CALC_FOUND_ROWS),
            Keyword::Share if before == Keyword::For || before == Keyword::In => {
                self.current.add(Facts::LOCKING_READ);
            }
            Keyword::In if before == Keyword::Lock => self.current.add(Facts::LOCKING_READ),
            Keyword::Outfile | Keyword::Dumpfile if into => self.current.add(Facts::INTO_OUTFILE),
            Keyword::CurrentUser => self.current.add(Facts::READS_USER),
            _ => {}
        }
    }

    /// Words that begin a query block or a clause of a modification.
    fn main_keyword(&mut self, keyword: Keyword, before: Keyword) {
        if keyword == Keyword::Update && before == Keyword::For {
            self.current.add(Facts::LOCKING_READ);
        }
        if keyword == Keyword::Value && matches!(before, Keyword::Next | Keyword::Previous) {
            self.current.add(Facts::SEQUENCE);
        }
        match (self.context, keyword) {
            // CREATE TABLE … SELECT: from here on names with parentheses are calls.
            (Context::Definition, Keyword::Select) if self.verb == Some(Verb::Create) => {
                self.context = Context::Expression;
            }
            // Deeper down, VALUES defines a partition.
            (Context::Definition, Keyword::Values)
                if self.verb == Some(Verb::Create) && self.depth == 0 =>
            {
                self.context = Context::Expression;
            }
            (Context::LoadColumns, Keyword::Set) if before != Keyword::Character => {
                self.context = Context::Expression;
            }
            _ => {}
        }
        if self.listing_ctes() && keyword != Keyword::Set && keyword != Keyword::Value {
            self.cte_depths &= !(1 << self.depth);
            if self.depth == 0 {
                self.resolve_with(keyword);
            }
        }
        // A verb where one may stand names its target next; `INSERT(` and `REPLACE(` are undone at the parenthesis.
        self.insert_target = matches!(keyword, Keyword::Insert | Keyword::Replace);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth < 63 {
            self.cte_depths &= (2 << self.depth) - 1;
        }
        self.into_pending = false;
    }

    fn user_variable(&mut self, span: Span) {
        if self.is_account_host(span) {
            return;
        }
        self.current.add(Facts::USER_VARIABLE);
        let assigned = self.into_pending
            || self.context == Context::LoadColumns
            || matches!(self.verb, Some(Verb::Call | Verb::GetDiagnostics));
        if assigned {
            self.current.add(Facts::USER_VARIABLE_ASSIGNED);
        }
    }

    /// `'u'@'h'`, outside of queries, names an account.
    fn is_account_host(&self, span: Span) -> bool {
        if self.context == Context::Definition {
            return true;
        }
        let follows_name = self.last.span.end == span.start
            && match self.last.kind {
                Some(TokenKind::Word) => {
                    !self.last.word.is_reserved() || self.last.lead == Lead::Dot
                }
                Some(TokenKind::QuotedName | TokenKind::String) => true,
                _ => false,
            };
        follows_name
            && matches!(
                self.verb,
                Some(Verb::Set | Verb::Show | Verb::Kill | Verb::Create | Verb::Alter)
            )
    }

    fn system_variable(&mut self, bytes: &[u8]) {
        let name = variable_name(bytes);
        const SCOPES: [&[u8]; 5] = [b"session", b"local", b"global", b"persist", b"persist_only"];
        self.scope_pending = SCOPES.iter().any(|scope| name.eq_ignore_ascii_case(scope));
        if !self.scope_pending {
            self.session_variable(name);
        }
    }

    /// Variables whose value belongs to the connection and not to the settings a session carries along.
    fn session_variable(&mut self, name: &[u8]) {
        const FACTS: [(&[u8], Facts); 6] = [
            (b"last_insert_id", Facts::READS_LAST_INSERT_ID),
            (b"identity", Facts::READS_LAST_INSERT_ID),
            (b"warning_count", Facts::READS_WARNING_COUNT),
            (b"error_count", Facts::READS_WARNING_COUNT),
            (b"pseudo_thread_id", Facts::READS_CONNECTION_ID),
            (b"last_gtid", Facts::READS_LAST_GTID),
        ];
        let name = variable_name(name);
        for (known, fact) in FACTS {
            if name.eq_ignore_ascii_case(known) {
                self.current.add(fact);
            }
        }
    }

    fn assign(&mut self) {
        // SET's own parser tells an assignment from a `:=` inside a value.
        if self.verb != Some(Verb::Set) {
            self.current.add(Facts::USER_VARIABLE_ASSIGNED);
        }
    }

    fn end_statement(&mut self) {
        if let Some(verb) = self.verb {
            if self.last_insert_id_pending {
                self.current.add(Facts::SETS_LAST_INSERT_ID);
            }
            let mut current = self.current;
            match self.context {
                Context::Body if self.block.is_closed() => {
                    current = current_of_definition(current);
                }
                Context::Body => current.add(Facts::UNPARSED),
                Context::Compound => current.add(Facts::COMPOUND),
                _ => {}
            }
            if current.has_any(Facts::GET_LOCK_FUNCTION | Facts::RELEASE_LOCK_FUNCTION)
                && matches!(verb, Verb::Select | Verb::Do)
                && effects::locks::parse(self.start, self.dialect, &mut self.effects)
            {
                current.remove(Facts::GET_LOCK_FUNCTION | Facts::RELEASE_LOCK_FUNCTION);
            }
            self.facts.add(current);
            self.class = self.class.max(verb.class());
            self.statements = self.statements.saturating_add(1);
            self.first_verb.get_or_insert(verb);
        }
        self.current = Facts::NONE;
        self.verb = None;
        self.context = Context::Expression;
        self.block = Block::new();
        self.last = NOTHING;
        self.depth = 0;
        self.cte_depths = 0;
        self.with_pending = false;
        self.insert_target = false;
        self.into_pending = false;
        self.scope_pending = false;
        self.last_insert_id_pending = false;
    }
}

/// What a stored definition does now: its head's facts and nothing of its body's.
fn current_of_definition(facts: Facts) -> Facts {
    let mut kept = Facts::NONE;
    for fact in [
        Facts::IMPLICIT_COMMIT,
        Facts::EXECUTABLE_COMMENT,
        Facts::HINT,
        Facts::UNPARSED,
        // `CREATE EVENT … AT @x` reads it now.
        Facts::USER_VARIABLE,
    ] {
        if facts.has(fact) {
            kept.add(fact);
        }
    }
    kept
}

/// The name in `@@name`, `` @@`name` ``, `name` or `` `name` ``.
fn variable_name(bytes: &[u8]) -> &[u8] {
    let name = bytes.strip_prefix(b"@@").unwrap_or(bytes);
    match name {
        [b'`', inner @ .., b'`'] => inner,
        name => name,
    }
}
