//! A thousand clients: straight at the server, each with a connection of its own, and through dbmesh, which serves them over
//! few. It shows what sharing connections does to the server. Input: options; rounds and seconds as in the comparison.

use serde_json::json;

use super::Outcome;
use crate::bench::Options;
use crate::bench::compare::{self, Load};
use crate::bench::process::raise_descriptor_limit;
use crate::bench::rig::Rig;
use crate::bench::sysbench::{Statements, Workload};

/// Clients at the same time.
const CLIENTS: u32 = 1_000;
/// Connections that dbmesh may open to the server.
const POOL: u32 = 32;
/// Descriptors of the clients, of HAProxy and of the server, each with room.
const DESCRIPTORS: u64 = 8_192;

/// Runs it.
///
/// # Errors
/// When a program is missing or a run fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    raise_descriptor_limit(DESCRIPTORS)?;
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    let targets = rig.targets(options, &[POOL])?;
    let load = |statements| Load {
        workload: Workload::PointSelect,
        statements,
        clients: CLIENTS,
    };
    let loads = [load(Statements::Text), load(Statements::Prepared)];
    let cells = compare::run(&rig, &targets, &loads, options.rounds, options.seconds)?;
    let json =
        json!({ "pool": POOL, "cells": cells.iter().map(compare::Cell::json).collect::<Vec<_>>() });
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table: compare::table(&cells),
        json,
    })
}
