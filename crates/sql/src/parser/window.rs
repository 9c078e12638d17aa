//! Windows: OVER, WINDOW, frames.
//!
//! Owns their grammar. Must never read a frame that the server would not.

use super::{Reader, Result};
use crate::ast::{FrameBound, FrameUnits, Id, List, Window, WindowFrame};
use crate::lexer::TokenKind;
use crate::words::Term;

impl Reader<'_> {
    /// `OVER w` or `OVER (…)`, with the words that may stand before it; none where there is no OVER.
    pub(super) fn over(&mut self) -> Result<Option<Id<Window>>> {
        if self.mariadb {
            // It has neither FROM FIRST nor RESPECT NULLS.
        } else if self.is(Term::From) && (self.is_at(1, Term::First) || self.is_at(1, Term::Last)) {
            let over = self.is_at(2, Term::Over)
                || matches!(self.peek_at(2).term, Term::Respect | Term::Ignore);
            if over {
                self.bump();
                self.bump();
            }
        }
        if !self.mariadb
            && !self.take_both(Term::Respect, Term::Nulls)
            && self.is_at(1, Term::Nulls)
        {
            self.take_both(Term::Ignore, Term::Nulls);
        }
        if !self.take(Term::Over) {
            return Ok(None);
        }
        let start = self.start();
        let window = if self.is_kind(TokenKind::Open) {
            self.window_specification(None)?
        } else {
            let name = self.ident()?;
            Window {
                span: self.span_from(start),
                name: Some(name),
                base: None,
                partition_by: List::default(),
                order_by: List::default(),
                frame: None,
            }
        };
        Ok(Some(self.add(window)))
    }

    /// `w AS (…), …`.
    pub(super) fn window_clause(&mut self) -> Result<List<Window>> {
        if !self.take(Term::Window) {
            return Ok(List::default());
        }
        self.list(|reader| {
            let name = reader.ident()?;
            reader.require(Term::As)?;
            reader.window_specification(Some(name))
        })
    }

    fn window_specification(&mut self, name: Option<crate::lexer::Span>) -> Result<Window> {
        let start = name.map_or(self.start(), |name| name.start);
        self.open()?;
        let is_frame = matches!(self.peek().term, Term::Rows | Term::Range | Term::Groups);
        let is_base = self.is_ident() && !is_frame;
        let base = match is_base {
            true => Some(self.ident()?),
            false => None,
        };
        let partition_by = match self.take_both(Term::Partition, Term::By) {
            true => self.list(Self::expr)?,
            false => List::default(),
        };
        let order_by = self.order_by()?.0;
        let frame = self.frame()?;
        self.close()?;
        Ok(Window {
            span: self.span_from(start),
            name,
            base,
            partition_by,
            order_by,
            frame,
        })
    }

    fn frame(&mut self) -> Result<Option<WindowFrame>> {
        let start = self.start();
        let units = match self.take_any(&[Term::Rows, Term::Range, Term::Groups]) {
            Some(Term::Rows) => FrameUnits::Rows,
            Some(Term::Range) => FrameUnits::Range,
            Some(_) if !self.mariadb => FrameUnits::Groups,
            Some(_) => return Err(self.refuse("ROWS or RANGE")),
            None => return Ok(None),
        };
        let (first, end) = if self.take(Term::Between) {
            let first = self.frame_bound()?;
            self.require(Term::And)?;
            (first, Some(self.frame_bound()?))
        } else {
            (self.frame_bound()?, None)
        };
        if self.take_text("exclude") {
            let excluded = self.take_texts(&["current", "row"])
                || self.take_text("group")
                || self.take_text("ties")
                || self.take_texts(&["no", "others"]);
            if !excluded {
                return Err(self.refuse("CURRENT ROW, GROUP, TIES or NO OTHERS"));
            }
        }
        Ok(Some(WindowFrame {
            span: self.span_from(start),
            units,
            start: first,
            end,
        }))
    }

    fn frame_bound(&mut self) -> Result<FrameBound> {
        if self.take_both(Term::Current, Term::Row) {
            return Ok(FrameBound::CurrentRow);
        }
        if self.take_both(Term::Unbounded, Term::Preceding) {
            return Ok(FrameBound::UnboundedPreceding);
        }
        if self.take_both(Term::Unbounded, Term::Following) {
            return Ok(FrameBound::UnboundedFollowing);
        }
        let distance = match !self.mariadb && self.is(Term::Interval) {
            true => self.deeper(Self::interval)?,
            false => self.expr_at(super::expr::BIT_EXPR)?,
        };
        if self.take(Term::Preceding) {
            return Ok(FrameBound::Preceding(distance));
        }
        if self.take(Term::Following) {
            return Ok(FrameBound::Following(distance));
        }
        Err(self.refuse("PRECEDING or FOLLOWING"))
    }
}
