//! Expressions between operators: precedence climbing.
//!
//! Owns the servers' precedence, with what `sql_mode` changes of it. Must never turn a chain of AND or OR into depth. The
//! levels are those of the server's grammar: expr, bool_pri, predicate, bit_expr, simple_expr.

use super::tokens::op;
use super::{Reader, Result};
use crate::ast::{BinaryOp, ExprId, ExprKind, LiteralKind, Quantifier, UnaryOp};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

/// How close an operator binds.
pub(super) type Power = u8;
pub(super) const OR: Power = 1;
const XOR: Power = 2;
const AND: Power = 3;
const NOT: Power = 4;
const COMPARISON: Power = 5;
const PREDICATE: Power = 6;
pub(super) const BIT_EXPR: Power = 7;
const BIT_AND: Power = 8;
const SHIFT: Power = 9;
const SUM: Power = 10;
const PRODUCT: Power = 11;
const BIT_XOR: Power = 12;
const CONCAT: Power = 13;
pub(super) const SIMPLE: Power = 14;
const COLLATE: Power = 15;

/// What may stand after an operand.
#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Is,
    Compare(BinaryOp),
    Binary(BinaryOp),
    In,
    Between,
    Like,
    Regexp,
    Member,
    SoundsLike,
    Collate,
}

impl Reader<'_> {
    /// An expression.
    pub(super) fn expr(&mut self) -> Result<ExprId> {
        self.expr_at(OR)
    }

    /// An expression whose operators bind at least as close as `min`.
    pub(super) fn expr_at(&mut self, min: Power) -> Result<ExprId> {
        self.deeper(|reader| {
            let start = reader.start();
            let is_not = reader.is(Term::Not) && !reader.dialect.high_not_precedence;
            let left = reader.prefix(min)?;
            // NOT has taken every operator that binds closer; what is left after a predicate does not belong to it.
            let max = match is_not {
                true => AND,
                false => COLLATE,
            };
            reader.infix_until(start, left, min, max)
        })
    }

    /// An operand with the operators before it.
    fn prefix(&mut self, min: Power) -> Result<ExprId> {
        let tok = self.peek();
        match tok.kind {
            TokenKind::Word => match tok.term {
                Term::Not if self.dialect.high_not_precedence => self.unary(UnaryOp::Not, SIMPLE),
                Term::Not if min <= NOT => self.unary(UnaryOp::Not, NOT),
                Term::Interval => self.interval_operand(),
                Term::Binary => {
                    self.bump();
                    let operand = self.expr_at(SIMPLE)?;
                    Ok(self.expr_node(tok.span.start, ExprKind::Cast(operand, tok.span)))
                }
                _ => self.primary(),
            },
            TokenKind::Operator => {
                const MINUS: u32 = op(b"-");
                const PLUS: u32 = op(b"+");
                const TILDE: u32 = op(b"~");
                const BANG: u32 = op(b"!");
                match tok.aux {
                    MINUS => self.unary(UnaryOp::Minus, SIMPLE),
                    PLUS => self.unary(UnaryOp::Plus, SIMPLE),
                    TILDE => self.unary(UnaryOp::BitNot, SIMPLE),
                    BANG => self.unary(UnaryOp::Bang, SIMPLE),
                    _ => self.primary(),
                }
            }
            _ => self.primary(),
        }
    }

    fn unary(&mut self, op: UnaryOp, power: Power) -> Result<ExprId> {
        let start = self.bump().span.start;
        let operand = self.expr_at(power)?;
        Ok(self.expr_node(start, ExprKind::Unary(op, operand)))
    }

    /// The operator that comes next, its power, and whether NOT stands before it.
    #[inline]
    fn next_infix(&self) -> Option<(Infix, Power, bool)> {
        let tok = self.peek();
        let (infix, power) = match tok.kind {
            TokenKind::Equal => (Infix::Compare(BinaryOp::Equal), COMPARISON),
            TokenKind::Operator => self.operator(tok.aux)?,
            TokenKind::Word => match tok.term {
                Term::None => return None,
                Term::And => (Infix::And, AND),
                Term::Or => (Infix::Or, OR),
                Term::Not => {
                    let (infix, power) = word_predicate(self.peek_at(1).term)?;
                    return Some((infix, power, true));
                }
                Term::Member if self.mariadb => return None,
                Term::Sounds if !self.is_at(1, Term::Like) => return None,
                term => word_operator(term)?,
            },
            _ => return None,
        };
        Some((infix, power, false))
    }

    fn operator(&self, aux: u32) -> Option<(Infix, Power)> {
        const TABLE: [(u32, BinaryOp, Power); 18] = [
            (op(b"<=>"), BinaryOp::NullSafeEqual, COMPARISON),
            (op(b"<>"), BinaryOp::NotEqual, COMPARISON),
            (op(b"!="), BinaryOp::NotEqual, COMPARISON),
            (op(b"<"), BinaryOp::Less, COMPARISON),
            (op(b"<="), BinaryOp::LessOrEqual, COMPARISON),
            (op(b">"), BinaryOp::Greater, COMPARISON),
            (op(b">="), BinaryOp::GreaterOrEqual, COMPARISON),
            (op(b"+"), BinaryOp::Add, SUM),
            (op(b"-"), BinaryOp::Subtract, SUM),
            (op(b"*"), BinaryOp::Multiply, PRODUCT),
            (op(b"/"), BinaryOp::Divide, PRODUCT),
            (op(b"%"), BinaryOp::Modulo, PRODUCT),
            (op(b"|"), BinaryOp::BitOr, BIT_EXPR),
            (op(b"&"), BinaryOp::BitAnd, BIT_AND),
            (op(b"^"), BinaryOp::BitXor, BIT_XOR),
            (op(b"<<"), BinaryOp::ShiftLeft, SHIFT),
            (op(b">>"), BinaryOp::ShiftRight, SHIFT),
            (op(b"||"), BinaryOp::Concat, CONCAT),
        ];
        if aux == op(b"&&") {
            return Some((Infix::And, AND));
        }
        if aux == op(b"||") && !self.dialect.pipes_as_concat {
            return Some((Infix::Or, OR));
        }
        let (_, op, power) = TABLE.into_iter().find(|(known, ..)| *known == aux)?;
        Some(match power {
            COMPARISON => (Infix::Compare(op), power),
            _ => (Infix::Binary(op), power),
        })
    }

    /// The operators after `left` that bind at least as close as `min`.
    pub(super) fn infix(&mut self, start: usize, left: ExprId, min: Power) -> Result<ExprId> {
        self.infix_until(start, left, min, COLLATE)
    }

    /// As [`Reader::infix`], with operators that bind at most as close as `max`.
    fn infix_until(
        &mut self,
        start: usize,
        mut left: ExprId,
        min: Power,
        mut max: Power,
    ) -> Result<ExprId> {
        while let Some((infix, power, negated)) = self.next_infix() {
            if power < min || power > max {
                break;
            }
            let adds_interval = power == SUM && self.is_at(1, Term::Interval);
            left = match infix {
                Infix::And => self.chain(start, left, power)?,
                Infix::Or => self.chain(start, left, power)?,
                Infix::Compare(op) => self.comparison(start, left, op)?,
                Infix::Is => self.is_test(start, left)?,
                Infix::Binary(op) => {
                    self.bump();
                    let right = self.right_operand(op, power)?;
                    self.expr_node(start, ExprKind::Binary { op, left, right })
                }
                Infix::Collate => {
                    self.bump();
                    let collation = self.charset_name()?;
                    self.expr_node(start, ExprKind::Collate(left, collation))
                }
                _ => self.predicate(start, left, infix, negated)?,
            };
            max = match power {
                // MySQL's predicate does not take another one as its left operand.
                PREDICATE if !self.mariadb => COMPARISON,
                // The unit ends the interval: `d + INTERVAL 1 DAY * 2` multiplies the sum.
                SUM if adds_interval => BIT_XOR,
                _ => power,
            };
        }
        Ok(left)
    }

    fn right_operand(&mut self, op: BinaryOp, power: Power) -> Result<ExprId> {
        let of_date = matches!(op, BinaryOp::Add | BinaryOp::Subtract);
        if of_date && self.is(Term::Interval) {
            return self.deeper(Self::interval);
        }
        self.expr_at(power + 1)
    }

    /// `left AND b AND c …`, or the same with OR, as one node.
    fn chain(&mut self, start: usize, left: ExprId, power: Power) -> Result<ExprId> {
        let mark = self.mark::<ExprId>();
        self.hold(left);
        while self.next_infix().is_some_and(|(_, next, _)| next == power) {
            self.bump();
            let term = self.expr_at(power + 1)?;
            self.hold(term);
        }
        let terms = self.seal(mark);
        Ok(self.expr_node(
            start,
            match power {
                OR => ExprKind::Or(terms),
                _ => ExprKind::And(terms),
            },
        ))
    }

    fn comparison(&mut self, start: usize, left: ExprId, op: BinaryOp) -> Result<ExprId> {
        self.bump();
        let quantifier = match self.peek().term {
            Term::All => Some(Quantifier::All),
            Term::Any | Term::Some => Some(Quantifier::Any),
            _ => None,
        };
        if let Some(quantifier) = quantifier
            && self.peek_at(1).kind == TokenKind::Open
            && self.is_query_at(2)
        {
            self.bump();
            let query = self.subquery()?;
            let kind = ExprKind::Quantified {
                op,
                quantifier,
                left,
                query,
            };
            return Ok(self.expr_node(start, kind));
        }
        let right = self.expr_at(COMPARISON + 1)?;
        Ok(self.expr_node(start, ExprKind::Binary { op, left, right }))
    }

    fn is_test(&mut self, start: usize, operand: ExprId) -> Result<ExprId> {
        self.bump();
        let negated = self.take(Term::Not);
        let truth = match self.peek().term {
            Term::Null => LiteralKind::Null,
            Term::True => LiteralKind::True,
            Term::False => LiteralKind::False,
            Term::Unknown => LiteralKind::Unknown,
            _ => return Err(self.refuse("NULL, TRUE, FALSE or UNKNOWN")),
        };
        self.bump();
        let kind = ExprKind::Is {
            operand,
            truth,
            negated,
        };
        Ok(self.expr_node(start, kind))
    }

    fn predicate(
        &mut self,
        start: usize,
        operand: ExprId,
        infix: Infix,
        negated: bool,
    ) -> Result<ExprId> {
        if negated {
            self.bump();
        }
        self.bump();
        let kind = match infix {
            Infix::In => {
                let values = self.in_list()?;
                ExprKind::In {
                    operand,
                    values,
                    negated,
                }
            }
            Infix::Between => self.range(operand, negated)?,
            Infix::Like => self.like(operand, negated)?,
            Infix::Member => {
                self.take(Term::Of);
                self.open()?;
                let right = self.expr_at(CONCAT)?;
                self.close()?;
                let op = BinaryOp::MemberOf;
                ExprKind::Binary {
                    op,
                    left: operand,
                    right,
                }
            }
            _ => {
                let op = match infix {
                    Infix::SoundsLike => {
                        self.bump();
                        BinaryOp::SoundsLike
                    }
                    _ if negated => BinaryOp::NotRegexp,
                    _ => BinaryOp::Regexp,
                };
                let right = self.pattern()?;
                ExprKind::Binary {
                    op,
                    left: operand,
                    right,
                }
            }
        };
        Ok(self.expr_node(start, kind))
    }

    /// The bounds of BETWEEN.
    fn range(&mut self, operand: ExprId, negated: bool) -> Result<ExprKind> {
        // MySQL's lower bound is a bit_expr, MariaDB's a predicate.
        let power = match self.mariadb {
            true => PREDICATE,
            false => BIT_EXPR,
        };
        let low = self.expr_at(power)?;
        self.require(Term::And)?;
        let high = self.expr_at(PREDICATE)?;
        let operands = self.seal_all(&[operand, low, high]);
        Ok(ExprKind::Between { operands, negated })
    }

    /// The pattern of LIKE, and its escape character.
    fn like(&mut self, operand: ExprId, negated: bool) -> Result<ExprKind> {
        // MySQL's pattern is a simple_expr, MariaDB's a bit_expr.
        let pattern = match self.mariadb {
            true => self.pattern()?,
            false => self.expr_at(CONCAT)?,
        };
        let operands = if self.take(Term::Escape) {
            let escape = self.expr_at(CONCAT)?;
            self.seal_all(&[operand, pattern, escape])
        } else {
            self.seal_all(&[operand, pattern])
        };
        Ok(ExprKind::Like { operands, negated })
    }

    /// What LIKE, REGEXP and SOUNDS LIKE compare with. In MariaDB a predicate with NOT that follows belongs to it.
    fn pattern(&mut self) -> Result<ExprId> {
        self.deeper(|reader| {
            let start = reader.start();
            let mut pattern = reader.expr_at(BIT_EXPR)?;
            while reader.mariadb
                && let Some((infix, PREDICATE, true)) = reader.next_infix()
            {
                pattern = reader.predicate(start, pattern, infix, true)?;
            }
            Ok(pattern)
        })
    }

    pub(super) fn seal_all(&mut self, exprs: &[ExprId]) -> crate::ast::List<ExprId> {
        let mark = self.mark::<ExprId>();
        for expr in exprs {
            self.hold(*expr);
        }
        self.seal(mark)
    }

    /// `(1, 2)` or `(SELECT …)` after IN.
    fn in_list(&mut self) -> Result<crate::ast::List<ExprId>> {
        if self.is_kind(TokenKind::Open) && self.is_query_at(1) {
            let start = self.start();
            let query = self.subquery()?;
            let node = self.expr_node(start, ExprKind::Subquery(query));
            return Ok(self.seal_all(&[node]));
        }
        self.open()?;
        let start = self.start();
        let first = self.expr()?;
        let subquery = self.ast.expr(first).map(|node| node.kind);
        if let Some(ExprKind::Subquery(query)) = subquery
            && self.continues_query()
        {
            let left = self.parenthesised_query(start, query);
            let query = self.query_from(start, left, None)?;
            let node = self.expr_node(start, ExprKind::Subquery(query));
            self.close()?;
            return Ok(self.seal_all(&[node]));
        }
        let mark = self.mark::<ExprId>();
        self.hold(first);
        while self.comma() {
            let value = self.expr()?;
            self.hold(value);
        }
        let values = self.seal(mark);
        self.close()?;
        Ok(values)
    }

    /// A unit of INTERVAL, EXTRACT, TIMESTAMPADD.
    pub(super) fn interval_unit(&mut self) -> Result<Span> {
        if is_unit(self.peek().term) {
            return Ok(self.bump().span);
        }
        Err(self.refuse("a unit of time"))
    }

    /// `INTERVAL n unit`, or the function INTERVAL.
    pub(super) fn interval(&mut self) -> Result<ExprId> {
        let keyword = self.bump().span;
        let start = keyword.start;
        let value_start = self.start();
        let value = if self.is_kind(TokenKind::Open) && !self.is_query_at(1) {
            self.bump();
            let first = self.expr()?;
            if self.comma() {
                return self.interval_function(keyword, first);
            }
            self.close()?;
            let whole = self.expr_node(value_start, ExprKind::Parenthesised(first));
            self.infix(value_start, whole, OR)?
        } else {
            self.expr()?
        };
        let unit = self.interval_unit()?;
        Ok(self.expr_node(start, ExprKind::Interval(value, unit)))
    }

    /// As the first operand an interval waits for its date: `INTERVAL 1 DAY + d`.
    fn interval_operand(&mut self) -> Result<ExprId> {
        let start = self.start();
        let expr = self.deeper(Self::interval)?;
        let is_interval = matches!(self.ast.expr(expr), Some(node) if matches!(node.kind, ExprKind::Interval(..)));
        if !is_interval {
            return Ok(expr);
        }
        if !self.take_op(op(b"+")) {
            return Err(self.refuse("+ and a date"));
        }
        // As both servers have it, the date takes comparisons along, and leaves AND and OR.
        let (left, right) = (expr, self.expr_at(COMPARISON)?);
        let op = BinaryOp::Add;
        Ok(self.expr_node(start, ExprKind::Binary { op, left, right }))
    }
}

fn word_operator(term: Term) -> Option<(Infix, Power)> {
    Some(match term {
        Term::Xor => (Infix::Binary(BinaryOp::Xor), XOR),
        Term::Is => (Infix::Is, COMPARISON),
        Term::Div => (Infix::Binary(BinaryOp::IntegerDivide), PRODUCT),
        Term::Mod => (Infix::Binary(BinaryOp::Modulo), PRODUCT),
        Term::Collate => (Infix::Collate, COLLATE),
        Term::Member => (Infix::Member, PREDICATE),
        Term::Sounds => (Infix::SoundsLike, PREDICATE),
        term => return word_predicate(term),
    })
}

/// The predicates that NOT may negate.
fn word_predicate(term: Term) -> Option<(Infix, Power)> {
    Some(match term {
        Term::In => (Infix::In, PREDICATE),
        Term::Between => (Infix::Between, PREDICATE),
        Term::Like => (Infix::Like, PREDICATE),
        Term::Regexp | Term::Rlike => (Infix::Regexp, PREDICATE),
        _ => return None,
    })
}

fn is_unit(term: Term) -> bool {
    matches!(
        term,
        Term::Microsecond
            | Term::Second
            | Term::Minute
            | Term::Hour
            | Term::Day
            | Term::Week
            | Term::Month
            | Term::Quarter
            | Term::Year
            | Term::SecondMicrosecond
            | Term::MinuteMicrosecond
            | Term::MinuteSecond
            | Term::HourMicrosecond
            | Term::HourSecond
            | Term::HourMinute
            | Term::DayMicrosecond
            | Term::DaySecond
            | Term::DayMinute
            | Term::DayHour
            | Term::YearMonth
            | Term::SqlTsiSecond
            | Term::SqlTsiMinute
            | Term::SqlTsiHour
            | Term::SqlTsiDay
            | Term::SqlTsiWeek
            | Term::SqlTsiMonth
            | Term::SqlTsiQuarter
            | Term::SqlTsiYear
    )
}
