//! EXPLAIN of a statement over several shards: the plan of each, one after the other, with the node in a last column.
//!
//! Owns that column. Plans are kept until all came, which is little and bounded. Input: the answers of all shards.

use dbmesh_wire::codec::{self, HEADER_BYTES, Header};
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::Names;
use dbmesh_wire::reply::{self, EofMode};
use dbmesh_wire::result_set::RowFormat;
use dbmesh_wire::status::Status;

use super::rows::flush;
use super::work::{Around, Broken, Work, place};
use crate::client::Unsent;
use crate::fault::Fault;
use dbmesh_merge::Definition;

/// Bytes of all plans together.
const PLANS_BYTES_MAX: usize = 4 << 20;
/// utf8mb4_general_ci, which every client knows.
const COLLATION: u16 = 45;

/// Writes all plans; gives the number of rows. The end of the answer is the caller's.
pub(super) async fn relay(
    work: &mut Work<'_>,
    names: &Names,
    around: &mut Around<'_>,
    status: Status,
) -> Result<u64, Broken> {
    if work.format() == RowFormat::Binary {
        let why = "EXPLAIN of a statement over several shards is served as text only, not prepared";
        return Err(Fault::Sharding(why.into()).into());
    }
    let plans = collect(work, names, around).await?;
    let Some(columns) = plans.iter().find(|plan| !plan.columns.is_empty()) else {
        return Err(Fault::Sharding("no shard said how it would execute it".into()).into());
    };
    if plans
        .iter()
        .any(|plan| plan.columns.len() != columns.columns.len())
    {
        let why = "shards describe their plans differently: their servers are not of one version";
        return Err(Fault::Sharding(why.into()).into());
    }
    let capabilities = around.client.capabilities;
    let (mut out, mut payload) = (Unsent::to(around.client), Vec::new());
    codec::put_lenenc_int(&mut payload, columns.columns.len() as u64 + 1);
    out.put(&payload);
    let node = Column {
        length_bytes: 1024,
        ..Column::text(b"node", COLLATION)
    };
    let heads = columns.columns.iter().map(Definition::as_column);
    for column in heads.chain([node]) {
        payload.clear();
        column.encode(&mut payload, capabilities);
        out.put(&payload);
    }
    if EofMode::of(capabilities) == EofMode::Eof {
        payload.clear();
        let warnings = 0;
        reply::Eof { warnings, status }.encode(&mut payload);
        out.put(&payload);
    }
    let mut rows = 0;
    for plan in &plans {
        let mut rest = plan.rows.as_slice();
        while let Some((row, more)) = next(rest) {
            payload.clear();
            payload.extend_from_slice(row);
            codec::put_lenenc_bytes(&mut payload, plan.node.as_bytes());
            out.put(&payload);
            rows += 1;
            rest = more;
        }
    }
    flush(around, &mut out).await?;
    Ok(rows)
}

/// The first row, and what follows it.
fn next(rows: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = HEADER_BYTES + Header::first(rows)?.len as usize;
    Some((rows.get(HEADER_BYTES..end)?, rows.get(end..)?))
}

/// What one shard said.
#[derive(Debug, Default)]
struct Plan {
    node: String,
    columns: Vec<Definition>,
    /// Packets.
    rows: Vec<u8>,
}

async fn collect(
    work: &mut Work<'_>,
    names: &Names,
    around: &mut Around<'_>,
) -> Result<Vec<Plan>, Broken> {
    let mut plans: Vec<Plan> = work.nodes.iter().map(|_| Plan::default()).collect();
    let mut bytes = 0;
    loop {
        work.begin(names).await?;
        work.read(around, |_| true).await?;
        for leg in &mut work.legs {
            let endpoint = place(
                leg,
                leg.running.as_ref().and_then(|(n, _)| work.nodes.get(*n)),
            );
            let Some((number, part)) = &mut leg.running else {
                continue;
            };
            let Some(plan) = plans.get_mut(*number) else {
                continue;
            };
            if plan.columns.is_empty() && part.is_described() {
                plan.columns = part.columns().to_vec();
                plan.node = endpoint;
            }
            bytes += part.rows().len();
            plan.rows.extend_from_slice(part.rows());
            part.take_rows();
        }
        if bytes > PLANS_BYTES_MAX {
            let why = format!("the plans of all shards take more than {PLANS_BYTES_MAX} bytes");
            return Err(Fault::Sharding(why).into());
        }
        work.reap(names).await?;
        if work.is_done() {
            return Ok(plans);
        }
    }
}
