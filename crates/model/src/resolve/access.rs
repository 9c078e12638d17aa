//! What a user may do, and the firewall of a service → topology.

use super::findings::{At, Findings};
use super::rules::{each, network};
use crate::spec::{FirewallModeSpec, FirewallSpec, GrantSpec, RightSpec, UserSpec};
use crate::topology::{FIREWALL_DIGESTS_DEFAULT, Firewall, FirewallMode, Grant, Right, Rights};

/// What a user's login must meet, and what the user may do.
pub fn rights(at: &At<'_>, spec: &UserSpec, findings: &mut Findings) -> Option<Rights> {
    let networks = each(at, "networks", &spec.networks, findings, network);
    let from = time(at, "validFrom", spec.valid_from.as_deref(), findings);
    let until = time(at, "validUntil", spec.valid_until.as_deref(), findings);
    let grants = match &spec.grants {
        None => Some(None),
        Some(specs) => {
            let at = at.field("grants");
            let grants = specs.iter().enumerate();
            let all: Vec<Option<Grant>> = grants
                .map(|(index, spec)| grant(&at.item(index), spec, findings))
                .collect();
            all.into_iter().collect::<Option<Vec<Grant>>>().map(Some)
        }
    };
    let (valid_from, valid_until) = (from?, until?);
    if let (Some(from), Some(until)) = (valid_from, valid_until)
        && from >= until
    {
        findings.error(
            &at.field("validUntil"),
            "`validUntil` is not after `validFrom`",
        );
        return None;
    }
    Some(Rights {
        networks: networks?,
        require_tls: spec.require_tls.unwrap_or(false),
        valid_from,
        valid_until,
        read_only: spec.read_only.unwrap_or(false),
        grants: grants?,
    })
}

fn grant(at: &At<'_>, spec: &GrantSpec, findings: &mut Findings) -> Option<Grant> {
    let tables = each(at, "tables", &Some(spec.tables.clone()), findings, |text| {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [schema, table] if !schema.is_empty() && !table.is_empty() => {
                Ok(((*schema).to_owned(), (*table).to_owned()))
            }
            _ => {
                let meant = Some("as in `shop.orders` or `shop.*`".to_owned());
                Err((format!("{text:?} names no table of a schema"), meant))
            }
        }
    })?;
    let lower = |names: &Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
    let grant = Grant {
        tables,
        allow: spec.allow.iter().map(|right| right_of(*right)).collect(),
        columns: spec.columns.as_ref().map(lower),
    };
    let of_servers = grant
        .allow
        .iter()
        .any(|r| matches!(r, Right::Call | Right::Admin));
    if of_servers && !grant.is_of_all() {
        let reason =
            "`call` and `admin` are not of tables: they need `tables: [\"*.*\"]`, and no `columns`";
        findings.error(&at.field("allow"), reason);
        return None;
    }
    if grant.columns.is_some() && grant.allow.contains(&Right::Ddl) {
        findings.error(&at.field("columns"), "`ddl` is not of columns");
        return None;
    }
    Some(grant)
}

fn right_of(spec: RightSpec) -> Right {
    match spec {
        RightSpec::Read => Right::Read,
        RightSpec::Write => Right::Write,
        RightSpec::Ddl => Right::Ddl,
        RightSpec::Call => Right::Call,
        RightSpec::Admin => Right::Admin,
    }
}

fn time(
    at: &At<'_>,
    field: &str,
    text: Option<&str>,
    findings: &mut Findings,
) -> Option<Option<u64>> {
    let Some(text) = text else { return Some(None) };
    let seconds = seconds_of(text);
    if seconds.is_none() {
        let reason = format!("{text:?} is no time");
        let meant = "as in `2026-12-31T23:00:00Z`, in UTC".to_owned();
        findings.error_with(&at.field(field), reason, meant);
    }
    seconds.map(Some)
}

/// Seconds since 1970 of `2026-12-31T23:00:00Z`, or of a date alone.
fn seconds_of(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let numbers = |text: &str, sign: char, widths: [usize; 3]| -> Option<[u64; 3]> {
        let parts: Vec<&str> = text.split(sign).collect();
        let digits = |(part, width): (&&str, usize)| {
            let sound = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
            sound.then(|| part.parse::<u64>().ok()).flatten()
        };
        let numbers: Option<Vec<u64>> = parts.iter().zip(widths).map(digits).collect();
        if parts.len() == 3 {
            numbers?.try_into().ok()
        } else {
            None
        }
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [
        31,
        if leap { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let sound = (1970..=9999).contains(&year) && (1..=length).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = |year: u64| year * 365 + year / 4 - year / 100 + year / 400;
    let in_year: u64 = lengths.iter().take(usize::try_from(month - 1).ok()?).sum();
    let days = before(year - 1) - before(1969) + in_year + day - 1;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The firewall of a service.
pub fn firewall(spec: Option<&FirewallSpec>) -> Option<Firewall> {
    let spec = spec?;
    Some(Firewall {
        mode: match spec.mode {
            FirewallModeSpec::Learn => FirewallMode::Learn,
            FirewallModeSpec::Warn => FirewallMode::Warn,
            FirewallModeSpec::Enforce => FirewallMode::Enforce,
        },
        file: spec.file.clone().into(),
        max_digests: spec.max_digests.unwrap_or(FIREWALL_DIGESTS_DEFAULT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29T12:30:15Z", 951_827_415),
            ("2024-01-01T00:00:00Z", 1_704_067_200),
            ("2024-12-31", 1_735_603_200),
        ] {
            assert_eq!(seconds_of(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01T24:00:00Z",
            "2024-01-01T10:00",
        ] {
            assert_eq!(seconds_of(text), None, "{text}");
        }
    }
}
