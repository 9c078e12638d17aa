//! What splitting reads off costs, and what it brings: the same load directly, through HAProxy, through dbmesh with one server,
//! and through dbmesh with a primary, two replicas, ten rules by regular expression and session consistency.

use serde_json::json;

use super::Outcome;
use crate::bench::Options;
use crate::bench::compare;
use crate::bench::process::raise_descriptor_limit;
use crate::bench::rig::{Proxy, Reads, Rig};

/// Servers that follow the primary.
const REPLICAS: u32 = 2;
/// Descriptors of the clients and of the proxies, with room.
const DESCRIPTORS: u64 = 8_192;

/// Runs it.
///
/// # Errors
/// When a program is missing or a run fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    raise_descriptor_limit(DESCRIPTORS)?;
    let mut rig = Rig::with_replicas(options.server.into(), REPLICAS)?;
    rig.load_tables()?;
    let mut targets = rig.targets(options, &options.pools)?;
    for pool in &options.pools {
        targets.push(rig.dbmesh(Proxy {
            pool: *pool,
            workers: options.workers,
            reads: Reads::SplitOff,
        })?);
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
