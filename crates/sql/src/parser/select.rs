//! A query block: SELECT to QUALIFY.
//!
//! Owns the order of its clauses. Must never take a clause for an alias.

use super::{Reader, Result};
use crate::ast::{
    Clause, Distinct, From, GroupBy, Id, List, Name, OrderItem, Query, QueryBody, Select,
    SelectItem, SelectItemKind,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

/// Options between SELECT and the list.
struct Options {
    distinct: Distinct,
    calc_found_rows: bool,
    straight_join: bool,
    span: Span,
}

impl Reader<'_> {
    /// `SELECT …` up to its last own clause, as a query without a tail.
    pub(super) fn select(&mut self) -> Result<Id<Query>> {
        let start = self.bump().span.start;
        let block = self.next_block();
        let options = self.select_options();
        let items_start = self.start();
        let items = self.select_items()?;
        let items_span = self.span_from(items_start);
        let into = self.into()?;
        let from = self.tables_of_select()?;
        let selection = self.clause(Term::Where)?;
        let group_by = self.group_by()?;
        let having = self.clause(Term::Having)?;
        let windows = self.window_clause()?;
        let qualify = match self.mariadb {
            true => None,
            false => self.clause(Term::Qualify)?,
        };
        let select = Select {
            span: self.span_from(start),
            block,
            distinct: options.distinct,
            options: options.span,
            calc_found_rows: options.calc_found_rows,
            straight_join: options.straight_join,
            items,
            items_span,
            from,
            selection,
            group_by,
            having,
            windows,
            qualify,
        };
        let select = self.add(select);
        Ok(self.query_node(start, QueryBody::Select(select), into))
    }

    fn select_options(&mut self) -> Options {
        let start = self.start();
        let mut options = Options {
            distinct: Distinct::All,
            calc_found_rows: false,
            straight_join: false,
            span: Span { start, end: start },
        };
        loop {
            match self.peek().term {
                Term::All | Term::HighPriority | Term::SqlSmallResult | Term::SqlBigResult => {}
                Term::SqlBufferResult | Term::SqlNoCache => {}
                Term::SqlCache if self.mariadb => {}
                Term::Distinct | Term::Distinctrow => options.distinct = Distinct::Distinct,
                Term::Unique if self.mariadb => options.distinct = Distinct::Distinct,
                Term::StraightJoin => options.straight_join = true,
                Term::SqlCalcFoundRows => options.calc_found_rows = true,
                _ => return options,
            }
            options.span.end = self.bump().span.end;
        }
    }

    /// The select list. `*` without a table comes first or not at all.
    fn select_items(&mut self) -> Result<List<SelectItem>> {
        let mark = self.mark::<SelectItem>();
        if self.is_star_at(0) {
            let span = self.bump().span;
            self.hold(SelectItem {
                span,
                kind: SelectItemKind::Star,
                alias: None,
            });
            if !self.comma() {
                return Ok(self.seal(mark));
            }
        }
        loop {
            let item = self.select_item()?;
            self.hold(item);
            if !self.comma() {
                return Ok(self.seal(mark));
            }
        }
    }

    /// An element of a select list or of RETURNING.
    fn select_item(&mut self) -> Result<SelectItem> {
        let start = self.start();
        if let Some(table) = self.table_star()? {
            return Ok(SelectItem {
                span: self.span_from(start),
                kind: SelectItemKind::TableStar(table),
                alias: None,
            });
        }
        let expr = self.expr()?;
        // Not reserved in MariaDB; elsewhere the clause of that name is meant.
        if self.mariadb && self.is(Term::Window) && self.is_at(1, Term::From) {
            let alias = Some(self.bump().span);
            return Ok(SelectItem {
                span: self.span_from(start),
                kind: SelectItemKind::Expr(expr),
                alias,
            });
        }
        let alias = if self.take(Term::As) || self.is_ident() || self.is_kind(TokenKind::String) {
            Some(self.ident_or_text()?)
        } else {
            None
        };
        Ok(SelectItem {
            span: self.span_from(start),
            kind: SelectItemKind::Expr(expr),
            alias,
        })
    }

    /// `t.*`, `db.t.*`: the name before the last dot.
    fn table_star(&mut self) -> Result<Option<Name>> {
        let dot = |ahead: usize| self.peek_at(ahead).kind == TokenKind::Dot;
        let is_star =
            self.is_ident() && dot(1) && (self.is_star_at(2) || (dot(3) && self.is_star_at(4)));
        if !is_star {
            return Ok(None);
        }
        let name = self.name(2)?;
        self.bump();
        self.bump();
        Ok(Some(name))
    }

    /// MariaDB's RETURNING.
    pub(super) fn returning(&mut self) -> Result<List<SelectItem>> {
        match self.mariadb && self.take(Term::Returning) {
            true => self.select_items(),
            false => Ok(List::default()),
        }
    }

    fn tables_of_select(&mut self) -> Result<Option<From>> {
        let start = self.start();
        if !self.take(Term::From) {
            return Ok(None);
        }
        let tables = match self.take(Term::Dual) {
            true => List::default(),
            false => self.table_references()?,
        };
        let span = self.span_from(start);
        Ok(Some(From { span, tables }))
    }

    /// A clause of one expression.
    pub(super) fn clause(&mut self, keyword: Term) -> Result<Option<Clause>> {
        let start = self.start();
        if !self.take(keyword) {
            return Ok(None);
        }
        let expr = self.expr()?;
        let span = self.span_from(start);
        Ok(Some(Clause { span, expr }))
    }

    /// MySQL's GROUP BY has no directions.
    fn group_item(&mut self) -> Result<OrderItem> {
        let start = self.start();
        let expr = self.expr()?;
        Ok(OrderItem {
            span: self.span_from(start),
            expr,
            descending: false,
        })
    }

    fn group_by(&mut self) -> Result<Option<GroupBy>> {
        let start = self.start();
        if !self.take_both(Term::Group, Term::By) {
            return Ok(None);
        }
        let modified = !self.mariadb
            && matches!(self.peek().term, Term::Rollup | Term::Cube)
            && self.peek_at(1).kind == TokenKind::Open;
        let (items, rollup) = if modified {
            self.bump();
            (self.parenthesised_list(Self::order_item)?, true)
        } else {
            let items = match self.mariadb {
                true => self.list(Self::order_item)?,
                false => self.list(Self::group_item)?,
            };
            (items, self.take_both(Term::With, Term::Rollup))
        };
        Ok(Some(GroupBy {
            span: self.span_from(start),
            items,
            rollup,
        }))
    }
}
