//! Plans that hold whatever the values are: a statement of one sharded table whose key is compared for equality.
//!
//! Owns what such a text may differ in (its numbers and strings), and the shard and words for each. A template is made of a
//! text that was planned whole, and must never say anything else than the planner would: where a value leads to no shard, or
//! to several, it says nothing. Input: a planned statement; then texts that may be like it.

use std::sync::Arc;

use dbmesh_model::topology::sharding::{Axis, KeyKind, ShardedTable, Table};
use dbmesh_sql::ast::{BinaryOp, ColumnName, ExprId, ExprKind};
use dbmesh_sql::lexer::Mark;
use dbmesh_sql::parsed::{self, Operand, Predicate};
use dbmesh_sql::{Lexer, Span, StatementKind, TokenKind};

use super::rewrite::{self, Naming};
use super::route::Target;
use super::scope::{Place, Scope};
use super::slots::Positions;
use super::value::{Compared, Constraint, Reading, Variables};
use super::{Input, NodeStatement, ShardPlan, ShardPlanner, algorithm};

/// Literals of a text that is remembered; a longer list is planned each time.
const LITERALS_MAX: usize = 64;

/// A plan for every value of its literals and parameters.
#[derive(Debug)]
pub struct Template {
    table: Arc<ShardedTable>,
    /// What stands before each literal, and after the last.
    gaps: Vec<Gap>,
    edits: Vec<Edit>,
    keys: Vec<Key>,
    parameters: u32,
    renames: bool,
    /// No shard's name needs quotes.
    plain: bool,
}

/// The text between two literals.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    text: Box<[u8]>,
    /// The last tokens in it: the next literal must not change how they are cut. No token looks further ahead.
    tail: Tail,
    /// The literal behind it; none at the end.
    literal: Option<TokenKind>,
}

/// The end of a gap, from its last but one token on.
#[derive(Debug, PartialEq, Eq)]
struct Tail {
    /// Where it begins in the gap, and what came before; none where it is the whole gap.
    from: Option<(usize, Mark)>,
    tokens: usize,
}

/// One change, inside of a gap.
#[derive(Debug)]
struct Edit {
    gap: usize,
    at: usize,
    removed: usize,
    put: Put,
}

#[derive(Debug)]
enum Put {
    Text(Box<[u8]>),
    /// The shard's name.
    Name,
}

/// A column of the key, and what it is compared with.
#[derive(Debug)]
struct Key {
    column: String,
    kind: KeyKind,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    /// This literal, with so many bytes before it: a sign.
    Literal(dbmesh_sql::ast::LiteralKind, usize, usize),
    Parameter(u32),
}

/// Where the literals of a text are.
type Literals = smallvec::SmallVec<[Span; 8]>;

impl ShardPlanner {
    /// What holds of this statement whatever its values are, if it is planned for one shard and anything is known to hold.
    pub fn template(&mut self, input: &Input<'_>, plan: &ShardPlan) -> Option<Template> {
        let ShardPlan::Single(planned) = plan else {
            return None;
        };
        let ast = self.parser.parse(input.sql, input.dialect).ok()?;
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = Scope::of(*input, ast, &self.facts).ok()?;
        let template = Template::of(&scope)?;
        // What it says of the text that it was made of is what was planned.
        template.agrees(input, planned).then_some(template)
    }
}

impl Template {
    fn of(scope: &Scope<'_>) -> Option<Self> {
        let ([table_use], [block]) = (scope.uses.as_slice(), scope.blocks.as_slice()) else {
            return None;
        };
        let kinds = [
            StatementKind::Select,
            StatementKind::Update,
            StatementKind::Delete,
        ];
        let plain = kinds.contains(&scope.facts.kind)
            && block.leaves.len() == 1
            && table_use.block == Some(0)
            && !changes_key(scope);
        let (true, Place::Sharded(sharded)) = (plain, table_use.place) else {
            return None;
        };
        let Some(Table::Sharded(table)) = scope.input.sharding.tables.get(&table_use.table) else {
            return None;
        };
        let (gaps, literals) = cut(scope.input.sql, &scope.reading())?;
        let keys = keys(scope, sharded, block.selection?, &literals)?;
        let renamed = |name: &str| name != table_use.table;
        let renames = renamed(&table.shards.first()?.table);
        if table.shards.iter().any(|s| renamed(&s.table) != renames) {
            return None;
        }
        let target = Target {
            source: table.shards.first()?.source,
            shards: vec![Some(0)],
        };
        let splices = rewrite::fixed(scope, Naming::Target(&target))?;
        let name = rewrite::quoted(&table.shards.first()?.table);
        let mut edits = Vec::new();
        for splice in splices {
            let (gap, at) = place(&gaps, &literals, splice.span)?;
            let put = match splice.text == name {
                true => Put::Name,
                false => Put::Text(splice.text.into()),
            };
            edits.push(Edit {
                gap,
                at,
                removed: splice.span.end - splice.span.start,
                put,
            });
        }
        edits.sort_by_key(|edit| (edit.gap, edit.at, edit.removed));
        Some(Self {
            table: table.clone(),
            gaps,
            edits,
            keys,
            parameters: scope.facts.parameters,
            renames,
            plain: table.shards.iter().all(|s| rewrite::is_plain(&s.table)),
        })
    }

    fn agrees(&self, input: &Input<'_>, planned: &NodeStatement) -> bool {
        let reading = Reading {
            sql: input.sql,
            dialect: input.dialect,
            utf8: input.utf8,
            parameters: input.parameters,
            variables: Variables::Hidden,
        };
        self.node(&reading).as_ref() == Some(planned)
    }

    /// The shard of this text, and the text for it; none if it is another statement, or its values do not lead to one shard.
    /// The text is added to what is there.
    pub fn fill(&self, reading: &Reading<'_>, text: &mut Vec<u8>) -> Option<usize> {
        let literals = self.literals(reading)?;
        let shard = self.shard(reading, &literals)?;
        let name = &self.table.shards.get(shard)?.table;
        self.write(reading.sql, &literals, name, text)?;
        Some(shard)
    }

    /// The shard of this text alone.
    #[must_use]
    pub fn shard_of(&self, reading: &Reading<'_>) -> Option<usize> {
        self.shard(reading, &self.literals(reading)?)
    }

    /// The same as the planner says it.
    pub fn node(&self, reading: &Reading<'_>) -> Option<NodeStatement> {
        let mut sql = Vec::with_capacity(reading.sql.len() + 32);
        let shard = self.fill(reading, &mut sql)?;
        Some(NodeStatement {
            source: self.source(shard)?,
            shard: Some(shard),
            sql,
            parameters: (0..self.parameters).collect(),
            tables: self.renamed(shard).into_iter().collect(),
            rows: Vec::new(),
        })
    }

    /// The table's name at a shard and its own, if they differ.
    #[must_use]
    pub fn renamed(&self, shard: usize) -> Option<(String, String)> {
        let there = self.table.shards.get(shard)?;
        let names = || (there.table.clone(), self.table.name.clone());
        self.renames.then(names)
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table.name
    }

    /// The source that has a shard.
    #[must_use]
    pub fn source(&self, shard: usize) -> Option<usize> {
        Some(self.table.shards.get(shard)?.source)
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.table.shards.len()
    }

    /// Whether the text has literals: then it is another one for other values.
    #[must_use]
    pub fn has_literals(&self) -> bool {
        self.gaps.len() > 1
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let gaps = self
            .gaps
            .iter()
            .map(|gap| gap.text.len() + size_of::<Gap>());
        let edits = self.edits.iter().map(|edit| match &edit.put {
            Put::Text(text) => text.len() + size_of::<Edit>(),
            Put::Name => size_of::<Edit>(),
        });
        let keys = self.keys.len() * (size_of::<Key>() + 32);
        size_of::<Self>() + gaps.sum::<usize>() + edits.sum::<usize>() + keys
    }

    /// The literals of a text that is like it in everything else.
    fn literals(&self, reading: &Reading<'_>) -> Option<Literals> {
        let sql = reading.sql;
        let mut literals = Literals::new();
        let mut lexer = Lexer::new(sql, reading.dialect);
        let mut from = 0;
        for gap in &self.gaps {
            let end = from + gap.text.len();
            if *gap.text != *sql.get(from..end)? {
                return None;
            }
            let Some(literal) = gap.literal else {
                return (end == sql.len()).then_some(literals);
            };
            if let Some((at, mark)) = gap.tail.from {
                lexer.resume(from + at, mark);
            }
            for _ in 0..gap.tail.tokens {
                let token = lexer.next()?;
                if token.unterminated || varies(token.kind) {
                    return None;
                }
            }
            let token = lexer.next()?;
            if token.unterminated || token.kind != literal || token.span.start != end {
                return None;
            }
            literals.push(token.span);
            from = token.span.end;
        }
        None
    }

    /// The one shard that the values lead to.
    fn shard(&self, reading: &Reading<'_>, literals: &[Span]) -> Option<usize> {
        let table = &*self.table;
        let mut axes = table.database.iter().chain(&table.table);
        if let (Some(axis), None) = (axes.next(), axes.next()) {
            let slot = match self.constraint(axis, reading, literals)? {
                Constraint::Exact(value) => algorithm::slot(axis, std::slice::from_ref(&value)),
                _ => return None,
            };
            let algorithm::Slot::At(slot) = slot else {
                return None;
            };
            return match axis.targets.get(slot)?.shards.as_slice() {
                [one] => Some(*one),
                _ => None,
            };
        }
        let mut set = Positions::all(table.shards.len());
        for axis in table.database.iter().chain(&table.table) {
            let constraint = self.constraint(axis, reading, literals)?;
            let slots = algorithm::slots(axis, &constraint);
            set.intersect(&algorithm::shards(table, axis, &slots));
        }
        (set.len() == 1).then(|| set.first())?
    }

    fn constraint(
        &self,
        axis: &Axis,
        reading: &Reading<'_>,
        literals: &[Span],
    ) -> Option<Constraint> {
        let [column] = axis.columns.as_slice() else {
            return None;
        };
        let key = self.keys.iter().find(|key| key.column == column.name)?;
        let operand = match key.value {
            Value::Parameter(ordinal) => Operand::Parameter(ordinal, Span::default()),
            Value::Literal(kind, number, sign) => {
                let span = literals.get(number)?;
                let start = span.start.checked_sub(sign)?;
                let end = span.end;
                Operand::Literal(kind, Span { start, end })
            }
        };
        match reading.compared(key.kind, operand) {
            Compared::Value(value) => Some(Constraint::Exact(value)),
            _ => None,
        }
    }

    fn write(&self, sql: &[u8], literals: &[Span], name: &str, text: &mut Vec<u8>) -> Option<()> {
        let mut edits = self.edits.iter().peekable();
        for (number, gap) in self.gaps.iter().enumerate() {
            let mut at = 0;
            while let Some(edit) = edits.next_if(|edit| edit.gap == number) {
                text.extend_from_slice(gap.text.get(at..edit.at)?);
                match &edit.put {
                    Put::Text(put) => text.extend_from_slice(put),
                    Put::Name if self.plain => text.extend_from_slice(name.as_bytes()),
                    Put::Name => rewrite::push_quoted(name, text),
                }
                at = edit.at + edit.removed;
            }
            text.extend_from_slice(gap.text.get(at..)?);
            if let Some(literal) = literals.get(number) {
                text.extend_from_slice(literal.of(sql));
            }
        }
        Some(())
    }
}

/// What differs between texts of one template.
fn varies(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Number | TokenKind::String)
}

fn cut(sql: &[u8], reading: &Reading<'_>) -> Option<(Vec<Gap>, Vec<Span>)> {
    let (mut gaps, mut literals) = (Vec::new(), Vec::new());
    let mut lexer = Lexer::new(sql, reading.dialect);
    // Where each token of the gap begins, and what came before.
    let mut tokens: Vec<(usize, Mark)> = Vec::new();
    let mut from = 0;
    loop {
        let mark = lexer.mark();
        let Some(token) = lexer.next() else {
            break;
        };
        if token.unterminated || literals.len() > LITERALS_MAX {
            return None;
        }
        if !varies(token.kind) {
            tokens.push((token.span.start - from, mark));
            continue;
        }
        gaps.push(Gap {
            text: sql.get(from..token.span.start)?.into(),
            tail: Tail {
                from: tokens
                    .len()
                    .checked_sub(3)
                    .and_then(|_| tokens.iter().nth_back(1))
                    .copied(),
                tokens: tokens.len().min(2),
            },
            literal: Some(token.kind),
        });
        literals.push(token.span);
        from = token.span.end;
        tokens.clear();
    }
    gaps.push(Gap {
        text: sql.get(from..)?.into(),
        tail: Tail {
            from: None,
            tokens: 0,
        },
        literal: None,
    });
    Some((gaps, literals))
}

/// The gap that has this span, and where in it.
fn place(gaps: &[Gap], literals: &[Span], span: Span) -> Option<(usize, usize)> {
    let gap = literals.iter().take_while(|l| l.end <= span.start).count();
    let before = gap.checked_sub(1).and_then(|before| literals.get(before));
    let start = before.map_or(0, |literal| literal.end);
    let length = gaps.get(gap)?.text.len();
    (span.end <= start + length).then_some((gap, span.start.checked_sub(start)?))
}

/// Whether an assignment touches the key: then its value matters.
fn changes_key(scope: &Scope<'_>) -> bool {
    let sharded = scope.uses.first().and_then(|table| table.sharded());
    let mut assigned = scope.ast.all::<dbmesh_sql::ast::Assignment>().iter();
    assigned.any(|assignment| {
        let column = scope.lower(assignment.column.name);
        sharded.is_none_or(|table| table.is_key(&column))
    })
}

/// What each column of the key is compared with, once for each; none if anything else could restrict the shards.
fn keys(
    scope: &Scope<'_>,
    table: &ShardedTable,
    selection: ExprId,
    literals: &[Span],
) -> Option<Vec<Key>> {
    let mut axes = table.database.iter().chain(&table.table);
    if axes.any(|axis| axis.columns.len() != 1) {
        return None;
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut pending = vec![selection];
    while let Some(term) = pending.pop() {
        let predicate = parsed::predicate(scope.ast, term);
        if let Predicate::And(terms) = predicate {
            pending.extend(terms);
            continue;
        }
        if !mentions_key(scope, table, term)? {
            if !is_open(scope, term, &predicate)? {
                return None;
            }
            continue;
        }
        let Predicate::Compare {
            column,
            op: BinaryOp::Equal,
            value,
        } = predicate
        else {
            return None;
        };
        let name = scope.lower(column.name);
        let key = table.key_columns().find(|key| key.name == name)?;
        scope.column(0, column)?;
        if keys.iter().any(|known| known.column == name) {
            return None;
        }
        keys.push(Key {
            column: name,
            kind: key.kind,
            value: value_of(value, literals)?,
        });
    }
    let all = table
        .key_columns()
        .all(|key| keys.iter().any(|k| k.column == key.name));
    all.then_some(keys)
}

fn value_of(operand: Operand, literals: &[Span]) -> Option<Value> {
    match operand {
        Operand::Parameter(ordinal, _) => Some(Value::Parameter(ordinal)),
        Operand::UserVariable(_) => None,
        Operand::Literal(kind, span) => {
            let number = literals
                .iter()
                .position(|literal| literal.end == span.end)?;
            let literal = literals.get(number)?;
            let before = number.checked_sub(1).and_then(|n| literals.get(n));
            let alone = before.is_none_or(|before| before.end <= span.start);
            let sign = literal.start.checked_sub(span.start)?;
            alone.then_some(Value::Literal(kind, number, sign))
        }
    }
}

fn mentions_key(scope: &Scope<'_>, table: &ShardedTable, term: ExprId) -> Option<bool> {
    let span = scope.ast.expr(term)?.span;
    let mut columns = scope.ast.all::<ColumnName>().iter();
    Some(columns.any(|column| {
        let name = column.name.name;
        let inside = span.start <= name.start && name.end <= span.end;
        inside && table.is_key(&scope.lower(name))
    }))
}

/// Whether a term without the key leaves all shards, whatever its values are.
fn is_open(scope: &Scope<'_>, term: ExprId, predicate: &Predicate<'_>) -> Option<bool> {
    Some(match predicate {
        Predicate::Compare { .. } | Predicate::Between { .. } | Predicate::In { .. } => true,
        // `FALSE`, `0` and `1 = 2` leave none.
        Predicate::Other => !matches!(
            scope.ast.expr(term)?.kind,
            ExprKind::Literal(_) | ExprKind::Binary { .. } | ExprKind::Parenthesised(_)
        ),
        _ => false,
    })
}
