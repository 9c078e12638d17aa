//! Limits: who waits, who is refused, who has a count of its own.

use std::time::{Duration, Instant};

use dbmesh_testkit::server::Kind;

use crate::ask::assert_error;
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{Ground, KINDS};

#[test]
fn a_number_at_a_time_waits_in_line_and_is_refused_with_the_rule_s_name() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_number");
        let stage = ground.stage(|config| {
            config.strategy(
                "rules:\n\
                 - {name: one-sleeper, match: {regex: [SLEEP]}, concurrencyLimit: {count: 1, maxWaitMs: 15000, maxWaiting: 1}}\n\
                 - {name: no-line, match: {tables: [secrets]}, concurrencyLimit: {count: 1, by: [user]}}",
            )
        });
        let mut clients: Vec<RawClient> = (0..3).map(|_| ground.client(&stage)).collect();
        let waiting = || {
            let waiting = stage
                .proxy
                .metric("dbmesh_rule_waiting", "rule=\"one-sleeper\"");
            waiting.unwrap().unwrap()
        };
        clients[0].begin_query("SELECT SLEEP(2)");
        eventually("it runs", Duration::from_secs(10), || {
            ground.ask("SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(2)'") == "1"
        });
        let begun = Instant::now();
        clients[1].begin_query("SELECT SLEEP(0)");
        eventually("it waits", Duration::from_secs(10), || waiting() == 1.0);
        let refused = clients[2].query("SELECT SLEEP(0)");
        assert_error(&refused, 1203, "'one-sleeper'");
        assert_eq!(clients[2].query("SELECT 1").value(), "1");
        assert_eq!(clients[0].next_reply().value(), "0");
        assert_eq!(clients[1].next_reply().value(), "0");
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "it waited for its turn only"
        );
        assert_eq!(waiting(), 0.0);

        // Who leaves the line leaves it.
        clients[0].begin_query("SELECT SLEEP(2)");
        eventually("it runs", Duration::from_secs(10), || {
            ground.ask("SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(2)'") == "1"
        });
        clients[1].begin_query("SELECT SLEEP(0)");
        eventually("it waits", Duration::from_secs(10), || waiting() == 1.0);
        drop(clients.remove(1));
        eventually("nobody waits", Duration::from_secs(10), || waiting() == 0.0);
        let mut killed = ground.client(&stage);
        let id = client_id(&mut killed);
        killed.begin_query("SELECT SLEEP(0)");
        eventually("it waits", Duration::from_secs(10), || waiting() == 1.0);
        assert_eq!(clients[1].query(&format!("KILL QUERY {id}")), Reply::Ok);
        assert_eq!(killed.next_reply().code(), Some(1317));
        assert_eq!(clients[0].next_reply().value(), "0");
    }
}

fn client_id(client: &mut RawClient) -> String {
    client.query("SELECT CONNECTION_ID()").value()
}

#[test]
fn a_rate_is_kept_and_counted_apart() {
    let ground = Ground::new(Kind::MySql, "gov_rate");
    let stage = ground.stage(|config| {
        config.service("users: [{name: other, password: other-password}]").strategy(
            "rules:\n\
             - {name: few, match: {tables: [t]}, rateLimit: {count: 2, perMs: 600000, burst: 2, by: [user, table]}}\n\
             - {name: slowly, match: {tables: [users]}, rateLimit: {count: 20, burst: 1, maxWaitMs: 20000}}",
        )
    });
    let mut app = ground.client(&stage);
    let mut other = RawClient::logged_in(
        stage.port,
        &crate::faultkit::client::Credentials::of("other", "other-password").schema(&ground.schema),
    );
    for client in [&mut app, &mut other] {
        for _ in 0..2 {
            assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
        }
        let refused = client.query("SELECT v FROM t WHERE id = 2");
        assert_error(&refused, 1226, "'few'");
    }
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(app.query("SELECT name FROM users").value(), "ann");
    }
    // Nine intervals of 50 ms lie between ten statements.
    assert!(
        begun.elapsed() >= Duration::from_millis(440),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn the_older_form_means_what_it_meant() {
    let ground = Ground::new(Kind::MySql, "gov_older");
    let stage = ground.stage(|config| {
        config
            .strategy("circuitBreaks: [{regex: [\"^delete from t$\"]}]")
            .strategy(
                "concurrencyControls: [{regex: [\"sleep\"], duration: 100, maxConcurrency: 1}]",
            )
    });
    let mut client = ground.client(&stage);
    for sql in ["delete from t", " delete  from\tt ", "delete/**/from `t`"] {
        let refused = client.query(sql);
        assert_error(&refused, 1105, "'circuitBreaks[0]'");
    }
    assert_eq!(ground.ask("SELECT COUNT(*) FROM {schema}.t"), "3");
    assert_eq!(client.query("select sleep(0)").value(), "0");
    let refused = client.query("select sleep(0)");
    assert_error(&refused, 1203, "'concurrencyControls[0]'");
    assert_eq!(
        client.query("DELETE FROM t"),
        Reply::Ok,
        "case counts there"
    );
}
