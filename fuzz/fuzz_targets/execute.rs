//! COM_STMT_EXECUTE: parameters, remembered types, and the way to a server with other capabilities.
#![no_main]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::{ExecuteTarget, StmtExecute, insert_types, put_execute};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Execution<'a> {
    params: u16,
    client: u64,
    backend: u64,
    remembered: Option<&'a [u8]>,
    long_data: BTreeSet<u16>,
    payload: &'a [u8],
}

fuzz_target!(|input: Execution| {
    let params = input.params % 512;
    let _ = StmtExecute::stmt_id_of(input.payload);
    let Ok(execute) = StmtExecute::decode(input.payload, params, Capabilities(input.client)) else {
        return;
    };
    let own = execute.types(input.payload);
    let types = own.or(input.remembered).unwrap_or_default();
    let all = execute.parameters.as_ref().map_or(0, |block| block.count);
    let mut whole = true;
    for (n, parameter) in execute
        .values(input.payload, types, &input.long_data)
        .enumerate()
    {
        assert!(n < all, "more parameters than counted");
        whole &= parameter.is_ok();
        if !whole {
            break;
        }
    }
    if let Some(block) = &execute.parameters {
        let inserted = insert_types(input.payload, block, types);
        assert!(inserted.len() <= input.payload.len() + types.len());
    }
    let mut out = Vec::new();
    let target = ExecuteTarget {
        stmt_id: 9,
        num_params: params,
        types,
        long_data: &input.long_data,
        caps: Capabilities(input.backend),
    };
    if put_execute(&mut out, input.payload, &execute, target).is_ok() {
        assert_eq!(StmtExecute::stmt_id_of(&out), Ok(9));
        let again = StmtExecute::decode(&out, params, Capabilities(input.backend));
        assert!(again.is_ok(), "what we write, a server reads: {again:?}");
    }
});
