//! Expressions.
//!
//! Owns their forms, with the names of the server's grammar. Must never lose parentheses or order: chains of AND and of OR
//! are one node with a list, so that a thousand terms are not a thousand levels.

use super::{ColumnName, ExprId, Id, List, Name, OrderItem, Query};
use crate::lexer::Span;

/// One expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expr {
    /// Its text.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The forms of expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExprKind {
    /// A literal.
    Literal(LiteralKind),
    /// `?`, counted from 0 in the statement.
    Parameter(u32),
    /// A column, or what looks like one: an alias, a variable of a routine.
    Column(Id<ColumnName>),
    /// `*`, as in `COUNT(*)`.
    Star,
    /// `@x`.
    UserVariable,
    /// `@@x`, `@@session.x`.
    SystemVariable(VariableScope),
    /// `@x := value`.
    Assign {
        /// The variable.
        variable: ExprId,
        /// The value.
        value: ExprId,
    },
    /// `(x)`.
    Parenthesised(ExprId),
    /// `(a, b)`, `ROW(a, b)`.
    Row(List<ExprId>),
    /// `a AND b AND …`.
    And(List<ExprId>),
    /// `a OR b OR …`.
    Or(List<ExprId>),
    /// An operator before its operand.
    Unary(UnaryOp, ExprId),
    /// An operator between two operands. A chain of them grows to the left without limit: follow `left` in a loop, or ask
    /// [`super::Ast::all`] instead of descending.
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left operand.
        left: ExprId,
        /// Right operand.
        right: ExprId,
    },
    /// `a <op> ALL (…)`, `ANY`, `SOME`.
    Quantified {
        /// The comparison.
        op: BinaryOp,
        /// Which quantifier.
        quantifier: Quantifier,
        /// Left operand.
        left: ExprId,
        /// The sub-query.
        query: Id<Query>,
    },
    /// `a [NOT] IN (…)`.
    In {
        /// What is looked for.
        operand: ExprId,
        /// The values, or one sub-query.
        values: List<ExprId>,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `a [NOT] BETWEEN low AND high`: operand, low, high.
    Between {
        /// Operand, low, high.
        operands: List<ExprId>,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `a [NOT] LIKE pattern [ESCAPE c]`: operand, pattern, escape.
    Like {
        /// Operand, pattern, and the escape character where given.
        operands: List<ExprId>,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `a IS [NOT] NULL`, `TRUE`, `FALSE`, `UNKNOWN`.
    Is {
        /// The operand.
        operand: ExprId,
        /// What it is compared with.
        truth: LiteralKind,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `a COLLATE c`.
    Collate(ExprId, Span),
    /// `INTERVAL a unit`, as operand of a date.
    Interval(ExprId, Span),
    /// `CASE`: operand, arms, else.
    Case {
        /// Between CASE and WHEN.
        operand: Option<ExprId>,
        /// WHEN … THEN ….
        arms: List<CaseArm>,
        /// After ELSE.
        otherwise: Option<ExprId>,
    },
    /// `CAST(a AS type)`, `CONVERT(a, type)`, `BINARY a`: the value and the type's text.
    Cast(ExprId, Span),
    /// `CONVERT(a USING charset)`.
    ConvertUsing(ExprId, Span),
    /// `MATCH (a, b) AGAINST (c)`: the columns, then the query.
    Match(List<ExprId>),
    /// `EXISTS (…)`.
    Exists(Id<Query>),
    /// `(SELECT …)` as a value.
    Subquery(Id<Query>),
    /// `DEFAULT`, as a value in INSERT and UPDATE.
    Default,
    /// `DEFAULT(a)`.
    DefaultOf(ExprId),
    /// `VALUES(a)` in ON DUPLICATE KEY UPDATE; MariaDB's `VALUE(a)`.
    ValuesOf(ExprId),
    /// A function.
    Call(Id<Call>),
    /// `{fn x}`, `{d '…'}` and any other `{name x}`.
    Odbc(Span, ExprId),
    /// A bare word that a built-in takes as argument: a unit, a type, a charset.
    Keyword,
}

/// Literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiteralKind {
    /// `NULL`, `\N`.
    Null,
    /// `TRUE`.
    True,
    /// `FALSE`.
    False,
    /// `UNKNOWN`, after IS only.
    Unknown,
    /// A number.
    Number,
    /// One or several adjacent strings, an introducer included.
    String,
    /// `x'…'`, `0x…`.
    Hex,
    /// `b'…'`, `0b…`.
    Bit,
    /// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
    Temporal(TemporalKind),
}

/// Types of temporal literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemporalKind {
    /// `DATE`.
    Date,
    /// `TIME`.
    Time,
    /// `TIMESTAMP`.
    Timestamp,
}

/// The scope that is written in `@@scope.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableScope {
    /// None: the session's value, or the server's where there is no other.
    Unsaid,
    /// `@@session.`, `@@local.`.
    Session,
    /// `@@global.`.
    Global,
    /// `@@persist.`, `@@persist_only.`.
    Persist,
}

/// Operators before an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `NOT`.
    Not,
    /// `!`.
    Bang,
    /// `-`.
    Minus,
    /// `+`.
    Plus,
    /// `~`.
    BitNot,
}

/// Operators between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `=`.
    Equal,
    /// `<=>`.
    NullSafeEqual,
    /// `<>`, `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `XOR`.
    Xor,
    /// `||` under PIPES_AS_CONCAT.
    Concat,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `DIV`.
    IntegerDivide,
    /// `%`, `MOD`.
    Modulo,
    /// `|`.
    BitOr,
    /// `&`.
    BitAnd,
    /// `^`.
    BitXor,
    /// `<<`.
    ShiftLeft,
    /// `>>`.
    ShiftRight,
    /// `REGEXP`, `RLIKE`.
    Regexp,
    /// `NOT REGEXP`.
    NotRegexp,
    /// `SOUNDS LIKE`.
    SoundsLike,
    /// `MEMBER OF`.
    MemberOf,
    /// `->`.
    JsonExtract,
    /// `->>`.
    JsonUnquote,
}

impl BinaryOp {
    /// Whether it compares: `=`, `<=>`, `<>`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NullSafeEqual
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }

    /// The operator that says the same with the operands exchanged.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            other => other,
        }
    }
}

/// Quantifiers of comparisons with sub-queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// `ALL`.
    All,
    /// `ANY`, `SOME`.
    Any,
}

/// `WHEN when THEN then`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseArm {
    /// Its text.
    pub span: Span,
    /// The condition or value.
    pub when: ExprId,
    /// The result.
    pub then: ExprId,
}

/// What the called name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// A built-in function, keyword functions included.
    BuiltIn,
    /// A built-in aggregate.
    Aggregate,
    /// A built-in that needs OVER.
    Window,
    /// MariaDB's `NEXT VALUE FOR s`, `PREVIOUS VALUE FOR s`: the name is the sequence.
    Sequence,
    /// Not known: a stored or loadable function.
    Unknown,
}

/// A function call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The function.
    pub name: Name,
    /// What kind of function.
    pub kind: CallKind,
    /// Arguments.
    pub arguments: List<ExprId>,
    /// Whether `DISTINCT` was said.
    pub distinct: bool,
    /// `ORDER BY` inside the call.
    pub order_by: List<OrderItem>,
    /// From the name to the closing parenthesis, without FILTER and OVER.
    pub span: Span,
    /// `OVER (…)` or `OVER w`.
    pub over: Option<Id<Window>>,
    /// The query block it stands in: [`super::Select::block`], 0 outside of all.
    pub block: u32,
}

/// A window: after OVER, or in the WINDOW clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its text.
    pub span: Span,
    /// Its name in the WINDOW clause, or the one named after OVER without parentheses.
    pub name: Option<Span>,
    /// The named window it builds upon.
    pub base: Option<Span>,
    /// `PARTITION BY`.
    pub partition_by: List<ExprId>,
    /// `ORDER BY`.
    pub order_by: List<OrderItem>,
    /// `ROWS …`, `RANGE …`, `GROUPS …`.
    pub frame: Option<WindowFrame>,
}

/// The frame of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFrame {
    /// Its text.
    pub span: Span,
    /// What is counted.
    pub units: FrameUnits,
    /// Where it starts.
    pub start: FrameBound,
    /// Where it ends; the current row where not said.
    pub end: Option<FrameBound>,
}

/// What a frame counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameUnits {
    /// `ROWS`.
    Rows,
    /// `RANGE`.
    Range,
    /// `GROUPS`.
    Groups,
}

/// The bound of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameBound {
    /// `UNBOUNDED PRECEDING`.
    UnboundedPreceding,
    /// `UNBOUNDED FOLLOWING`.
    UnboundedFollowing,
    /// `CURRENT ROW`.
    CurrentRow,
    /// `n PRECEDING`.
    Preceding(ExprId),
    /// `n FOLLOWING`.
    Following(ExprId),
}
