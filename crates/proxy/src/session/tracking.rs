//! `SET session_track_…` of clients.
//!
//! Owns taking such assignments out of a statement: connections keep the proxy's own tracking, on which everything else
//! rests. What not every connection reports is left in, and pins. Input: SET statements that name `session_track_*`.

use dbmesh_plan::Aim;
use dbmesh_sql::{Facts, Lexer, Statement, TokenKind, TrackingSet, Verb, split_tracking_set};
use dbmesh_wire::codec;
use dbmesh_wire::relay::Shape;

use super::exchange::{Command, Lost};
use super::infile::Infile;
use super::leave::Leave;
use super::{Executed, Failure, Session};
use crate::backend::Cell;
use crate::pins::PinReason;
use crate::state::Warnings;
use crate::tracking::Asked;

impl Session {
    /// Executes a SET that chooses what the session reports; `None` when it must go to the server as it is.
    pub(super) async fn set_tracking(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        aim: Aim,
    ) -> Result<Option<Executed>, Failure> {
        let acts = Facts::USER_VARIABLE_ASSIGNED
            | Facts::CALLS_ROUTINE
            | Facts::UNPARSED
            | Facts::UNPARSED_SET
            | Facts::UNTRUSTED_TEXT;
        if statement.verb != Verb::Set || statement.facts.has_any(acts) {
            return Ok(None);
        }
        let is_bound = self.state.pins.has(PinReason::SessionTracking);
        let dialect = self.dialect();
        let Some(TrackingSet { rest, assignments }) = split_tracking_set(sql, &dialect) else {
            return Ok(None);
        };
        if assignments.is_empty() {
            return Ok(None);
        }
        self.acquire(aim).await?;
        let Some(Asked { tracking, reported }) = self.chosen(&assignments).await? else {
            return Ok(None);
        };
        let before = self.client.tracking.clone();
        let (at_server, meanwhile) = match reported && !is_bound {
            true => (rest, before.changing_to(&tracking)),
            // The server changes over too.
            false => (Some(sql.to_vec()), tracking.clone()),
        };
        let executed = match at_server {
            Some(sql) => {
                let statement = self.interpret(&sql);
                let payload = self.backend()?.query_payload(&sql);
                let mut out = Vec::with_capacity(payload.len() + codec::HEADER_BYTES);
                codec::put_packet(&mut out, &mut 0, &payload);
                self.client.tracking = meanwhile;
                let exchanged = self
                    .exchange(
                        Command::Packets(&out),
                        Shape::Results,
                        &Infile::Refused,
                        Leave::NEVER,
                    )
                    .await;
                self.client.tracking = before;
                let outcome = exchanged.map_err(|lost| self.lost(lost, Some(&statement)))?;
                let executed = self.take_in(&statement, &outcome, &sql).await?;
                if outcome.error.is_some() {
                    return Ok(Some(executed));
                }
                executed
            }
            None => {
                self.state.set_row_count(0);
                self.state.diagnostics.warnings = Warnings::None;
                self.answer_ok().await?;
                Executed::LOCAL
            }
        };
        self.client.tracking = tracking;
        Ok(Some(executed))
    }

    /// The tracking that these assignments lead to; the server evaluates what they say.
    async fn chosen(
        &mut self,
        assignments: &[(String, Vec<u8>)],
    ) -> Result<Option<Asked>, Failure> {
        let dialect = self.dialect();
        let mut asked = Asked {
            tracking: self.client.tracking.clone(),
            reported: true,
        };
        let own = format!("'{}'", asked.tracking.variables());
        let mut select = b"SELECT ".to_vec();
        for (index, (_, value)) in assignments.iter().enumerate() {
            if index > 0 {
                select.push(b',');
            }
            let mut tokens = Lexer::new(value, &dialect).filter(|t| !t.kind.is_trivia());
            let word = tokens
                .next()
                .is_some_and(|t| matches!(t.kind, TokenKind::Word | TokenKind::QuotedName));
            if word && tokens.next().is_none() {
                // A bare word is a name elsewhere; DEFAULT is told apart below.
                let name = String::from_utf8_lossy(value).replace(['`', '\'', '\\'], "");
                select.extend_from_slice(format!("'{name}'").as_bytes());
                continue;
            }
            let mut done = 0;
            let variables = Lexer::new(value, &dialect).filter(|t| {
                t.kind == TokenKind::SystemVariable
                    && t.span
                        .of(value)
                        .eq_ignore_ascii_case(b"@@session_track_system_variables")
            });
            for token in variables {
                select.extend_from_slice(value.get(done..token.span.start).unwrap_or_default());
                select.extend_from_slice(own.as_bytes());
                done = token.span.end;
            }
            select.extend_from_slice(value.get(done..).unwrap_or_default());
        }
        let backend = self.backend()?;
        let reported = backend.facts.clone();
        let row: Vec<Cell> = match backend.query(&select).await {
            Ok(Ok(rows)) => rows.into_iter().next().unwrap_or_default(),
            // The server will say the same of the assignment.
            Ok(Err(_)) => return Ok(None),
            Err(e) => return Err(self.lost(Lost::before(e), None)),
        };
        for (index, (name, text)) in assignments.iter().enumerate() {
            let is_default = text.eq_ignore_ascii_case(b"default");
            let value = match (is_default, row.get(index)) {
                (true, _) => None,
                (false, Some(Some(value))) => Some(value.as_slice()),
                (false, _) => return Ok(None),
            };
            match asked.tracking.with(name, value, &reported.tracked) {
                Some(new) => {
                    asked = Asked {
                        reported: asked.reported && new.reported,
                        ..new
                    }
                }
                None => return Ok(None),
            }
        }
        Ok(Some(asked))
    }
}
