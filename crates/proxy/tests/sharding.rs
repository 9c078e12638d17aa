//! Sharded services over real servers: every answer is what one server with all rows gives, or a refusal with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "sharding/abreast.rs"]
mod abreast;
#[path = "sharding/across.rs"]
mod across;
#[path = "sharding/append.rs"]
mod append;
#[path = "sharding/bank.rs"]
mod bank;
#[path = "sharding/begun.rs"]
mod begun;
#[path = "sharding/bounds.rs"]
mod bounds;
#[path = "sharding/branches.rs"]
mod branches;
#[path = "sharding/clauses.rs"]
mod clauses;
#[path = "sharding/define.rs"]
mod define;
#[path = "sharding/dictionary.rs"]
mod dictionary;
#[path = "sharding/doubts.rs"]
mod doubts;
#[path = "sharding/ends.rs"]
mod ends;
#[path = "sharding/exact.rs"]
mod exact;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "sharding/gather.rs"]
mod gather;
#[path = "sharding/generated.rs"]
mod generated;
#[path = "sharding/governed.rs"]
mod governed;
#[path = "sharding/ground.rs"]
mod ground;
#[path = "sharding/hints.rs"]
mod hints;
#[path = "sharding/keyed.rs"]
mod keyed;
#[path = "sharding/large.rs"]
mod large;
#[path = "sharding/layout.rs"]
mod layout;
#[path = "sharding/live.rs"]
mod live;
#[path = "sharding/load.rs"]
mod load;
#[path = "sharding/locks.rs"]
mod locks;
#[path = "sharding/mappers.rs"]
mod mappers;
#[path = "sharding/modules.rs"]
mod modules;
#[path = "sharding/moved.rs"]
mod moved;
#[path = "sharding/pairs.rs"]
mod pairs;
#[path = "sharding/prepared.rs"]
mod prepared;
#[path = "sharding/reload.rs"]
mod reload;
#[path = "sharding/rows.rs"]
mod rows;
#[path = "sharding/scatter.rs"]
mod scatter;
#[path = "sharding/single.rs"]
mod single;
#[path = "sharding/variables.rs"]
mod variables;
#[path = "sharding/waiting.rs"]
mod waiting;
#[path = "sharding/within.rs"]
mod within;
