//! What the user's rights and the firewall say of the statement at hand.
//!
//! Owns the errors for what is not granted, in a server's words, and the text of a SHOW that leaves out what the user may
//! not see. Must never let a rule that allows outdo a right that is missing. Input: the walk through a text.

use dbmesh_model::topology::{FirewallMode, RuleMode};
use dbmesh_plan::rights::{self, Denial};
use dbmesh_plan::{Judge, Proof, Subject, explain, mesh, plan};
use dbmesh_sql::literal::quote_identifier;
use dbmesh_sql::{Dialect, Digest, Verb, analyze_guarded};
use dbmesh_wire::command::FieldList;

use super::{Hit, Occasion, Walk};
use crate::fault::Fault;
use crate::firewall::Firewall;
use crate::login::may_enter;
use crate::session::{Failure, Session};

impl Session {
    /// The client's host, as errors name it.
    pub(in crate::session) fn host(&self) -> &str {
        match self.handle().address.rsplit_once(':') {
            Some((host, _)) => host.trim_matches(['[', ']']),
            None => "localhost",
        }
    }

    /// Whether the user may choose a schema.
    pub(in crate::session) fn may_enter(&mut self, schema: &[u8]) -> Result<(), Fault> {
        self.follow_rules();
        if self.governed.rights.is_none() {
            return Ok(());
        }
        let now = self.process.current.find(&self.serving.service);
        let serving = now.unwrap_or_else(|| self.serving.clone());
        may_enter(&serving.service, &self.handle().user, self.host(), schema)
    }

    /// COM_FIELD_LIST, judged as what it is: SHOW COLUMNS.
    pub(in crate::session) async fn may_list_fields(&mut self) -> Result<(), Failure> {
        if self.guard_key().is_none() {
            return Ok(());
        }
        let table = FieldList::decode(&self.packet)
            .map_err(|_| Fault::Malformed("COM_FIELD_LIST"))?
            .table
            .to_vec();
        let mut sql = b"SHOW COLUMNS FROM ".to_vec();
        sql.extend_from_slice(&quote_identifier(&table));
        let statement = self.interpret(&sql);
        self.judge(&statement, &sql, None, Occasion::Runs);
        let plan = plan(&statement, &sql, self.view(Proof::NotProved));
        self.govern(plan).await.map(drop)
    }
}

impl Walk<'_> {
    /// The first thing that refuses the statement is what it is told.
    pub(super) fn refuse(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            self.verdict
                .get_or_insert_default()
                .refusal
                .get_or_insert(fault);
        }
    }

    /// The user's rights refuse it: who records statements hears of that as of a rule.
    pub(super) fn forbid(&mut self, denial: &Denial) {
        let verdict = self.verdict.get_or_insert_default();
        verdict.hits.push(Hit {
            rule: "rights".into(),
            mode: RuleMode::Enforce,
            action: "deny",
        });
        self.refuse(Some(forbidden(denial, self.user, self.host)));
    }

    /// Whether the user's rights permit the statement; of a SHOW of names, what of it.
    pub(super) fn permitted(&mut self, judge: &mut Judge, subject: &Subject<'_>, own: bool) {
        let Some((rights, id)) = self.rights else {
            return;
        };
        let (verb, sql) = (subject.statement.verb, subject.sql);
        if verb == Verb::Show && mesh::show(sql).is_some() {
            // Operators have the right to it, whatever they may do at servers.
            return;
        }
        let dialect = Dialect::default();
        let explained = (verb == Verb::Explain).then(|| explain::subject(sql, &dialect));
        if let Some(text) = explained.flatten() {
            // Who may execute a statement may hear where it would go.
            let sql = text.of(sql);
            let inner = Subject {
                statement: &analyze_guarded(sql, &dialect, self.rules.key()),
                sql,
                dialect: &dialect,
                schema: subject.schema,
            };
            if let Some(denial) = judge.denial(rights, id, &inner) {
                self.forbid(&denial);
            }
            return;
        }
        if let Some(denial) = judge.denial(rights, id, subject) {
            return self.forbid(&denial);
        }
        let Some(grants) = &rights.grants else { return };
        if rights::listing(subject).is_none() {
            return;
        }
        match rights::filtered(grants, subject) {
            Some(text) if own && self.occasion == Occasion::Runs => self.filtered = Some(text),
            _ => {
                let denial = Denial::Other("SHOW of names other than as one statement in text");
                self.forbid(&denial);
            }
        }
    }

    /// Whether the firewall has the statement on its list.
    pub(super) fn listed(&mut self, judge: &mut Judge, subject: &Subject<'_>) {
        let Some((firewall, id)) = self.firewall else {
            return;
        };
        let user = self.user;
        if !judge.is_listed(id, subject, |text| firewall.lists(user, text)) {
            self.unlisted(firewall, subject.statement.digest);
        }
    }

    pub(super) fn unlisted(&mut self, firewall: &Firewall, digest: Digest) {
        let mode = match firewall.mode {
            FirewallMode::Learn => return,
            FirewallMode::Warn => RuleMode::Warn,
            FirewallMode::Enforce => RuleMode::Enforce,
        };
        firewall.note_refused();
        let verdict = self.verdict.get_or_insert_default();
        verdict.hits.push(Hit {
            rule: "firewall".into(),
            mode,
            action: "deny",
        });
        match mode {
            RuleMode::Enforce => self.refuse(Some(Fault::NotListed(digest.to_string()))),
            RuleMode::Warn | RuleMode::Off => verdict.warn("deny", "firewall"),
        }
    }
}

/// What is missing, in a server's words.
pub(super) fn forbidden(denial: &Denial, user: &str, host: &str) -> Fault {
    let (code, message) = match denial {
        Denial::Table { verb, table } => (
            1142,
            format!("{verb} command denied to user '{user}'@'{host}' for table '{table}'"),
        ),
        Denial::Column { column, table } => (
            1143,
            format!(
                "SELECT command denied to user '{user}'@'{host}' for column '{column}' in table '{table}'"
            ),
        ),
        Denial::Schema(schema) => (
            1044,
            format!("Access denied for user '{user}'@'{host}' to database '{schema}'"),
        ),
        Denial::Other(what) => (
            1227,
            format!("Access denied for user '{user}'@'{host}'; dbmesh: not granted: {what}"),
        ),
    };
    Fault::Forbidden { code, message }
}
