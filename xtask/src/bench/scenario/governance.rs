//! What governing and observing cost: the same load through dbmesh bare, with what it does by default, with tracing of one
//! statement in a hundred, with a hundred rules, and with an audit of every statement on disk. Processor time per statement
//! counts. Input: options; loads, rounds and seconds as in the comparison.

use serde_json::json;

use super::Outcome;
use crate::bench::Options;
use crate::bench::compare;
use crate::bench::process::raise_descriptor_limit;
use crate::bench::rig::{Manner, Rig};

/// Descriptors of the clients and of the proxies, with room.
const DESCRIPTORS: u64 = 8_192;

/// Runs it.
///
/// # Errors
/// When a program is missing or a run fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    raise_descriptor_limit(DESCRIPTORS)?;
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    let pool = options.pools.first().copied().unwrap_or(8);
    let mut targets = Vec::new();
    for manner in Manner::ALL {
        targets.push(rig.dbmesh_in(manner, pool, options.workers)?);
    }
    let loads = options.loads();
    let cells = compare::run(&rig, &targets, &loads, options.rounds, options.seconds)?;
    let json = json!({ "cells": cells.iter().map(compare::Cell::json).collect::<Vec<_>>() });
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table: compare::table(&cells),
        json,
    })
}
