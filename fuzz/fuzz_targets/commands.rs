//! Commands of a client, under any capabilities.
#![no_main]

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::{
    ChangeUser, FieldList, InitDb, ProcessKill, Query, SetOption, StmtClose, StmtFetch,
    StmtPrepare, StmtReset, StmtSendLongData, put_query, set_stmt_id,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, Vec<u8>)| {
    let (caps, mut payload) = (Capabilities(input.0), input.1);
    let _ = InitDb::decode(&payload);
    let _ = FieldList::decode(&payload);
    let _ = ProcessKill::decode(&payload);
    let _ = SetOption::decode(&payload);
    let _ = StmtClose::decode(&payload);
    let _ = StmtFetch::decode(&payload);
    let _ = StmtPrepare::decode(&payload);
    let _ = StmtReset::decode(&payload);
    let _ = StmtSendLongData::decode(&payload);
    if let Ok(change) = ChangeUser::decode(&payload, caps) {
        let mut out = Vec::new();
        change.encode(&mut out, caps);
        // A name that is no text grows when it is made one, perhaps beyond the limit.
        let plugin = change.auth_plugin.as_deref().unwrap_or_default();
        if !plugin.contains('\u{FFFD}') {
            let again = ChangeUser::decode(&out, caps).expect("what we encode, we decode");
            assert_eq!((change.user, change.database), (again.user, again.database));
        }
    }
    if let Ok(query) = Query::decode(&payload, caps) {
        assert_eq!(payload.get(query.sql_offset..), Some(query.sql));
        for attribute in query.attributes.iter() {
            attribute.expect("attributes are checked when they are decoded");
        }
        let mut out = Vec::new();
        put_query(&mut out, query.sql, &query.attributes, caps);
        let again = Query::decode(&out, caps).expect("what we encode, we decode");
        assert_eq!(again.sql, query.sql);
        assert_eq!(again.attributes.len(), query.attributes.len());
    }
    set_stmt_id(&mut payload, 7);
});
