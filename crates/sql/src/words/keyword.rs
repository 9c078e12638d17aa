//! The words the scanner acts on.

macro_rules! keywords {
    ($($variant:ident $text:literal)*) => {
        /// Identity of a word that changes the scanner's state; everything else is [`Keyword::None`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Keyword {
            None,
            $($variant,)*
        }

        pub(super) const SPELLINGS: &[(&str, Keyword)] = &[$(($text, Keyword::$variant),)*];
    };
}

keywords! {
    Add "add" After "after" Against "against" All "all" Alter "alter" Analyze "analyze" And "and" Any "any" As "as"
    Backup "backup" Before "before" Begin "begin" Binlog "binlog" By "by"
    Cache "cache" Call "call" Case "case" Change "change" Character "character" Charset "charset" Check "check"
    Checksum "checksum" Clone "clone" Close "close" Columns "columns" Commit "commit" ConnectionId "connection_id"
    Create "create" Cube "cube" CurrentRole "current_role" CurrentUser "current_user"
    Database "database" Deallocate "deallocate" Declare "declare" Default "default" Delete "delete" Desc "desc"
    Describe "describe" Do "do" Drop "drop" Dumpfile "dumpfile" Duplicate "duplicate"
    Else "else" Elseif "elseif" End "end" Event "event" Except "except" Execute "execute" Explain "explain"
    Fetch "fetch" Flush "flush" For "for" Format "format" FoundRows "found_rows" From "from" Function "function"
    Get "get" GetLock "get_lock" Grant "grant"
    Handler "handler" Having "having" Help "help"
    If "if" Import "import" In "in" Insert "insert" Install "install" Intersect "intersect" Into "into" Is "is"
    IsUsedLock "is_used_lock" Iterate "iterate"
    Kill "kill"
    LastInsertId "last_insert_id" Lastval "lastval" Leave "leave" Limit "limit" Load "load" LoadFile "load_file"
    Local "local" Lock "lock" Loop "loop"
    Next "next" Nextval "nextval" Not "not" Null "null"
    Of "of" Offset "offset" On "on" Open "open" Optimize "optimize" Or "or" Order "order" Outfile "outfile" Over "over"
    Package "package" Partition "partition" Plugin "plugin" Prepare "prepare" PsCurrentThreadId "ps_current_thread_id" Previous "previous" Procedure "procedure"
    Profile "profile" Profiles "profiles" Purge "purge"
    Query "query"
    Recursive "recursive" Release "release" ReleaseAllLocks "release_all_locks" ReleaseLock "release_lock"
    Rename "rename" Repair "repair" Repeat "repeat" Replace "replace" Reset "reset" Resignal "resignal"
    Restart "restart" Return "return" Returning "returning" Revoke "revoke" Rollback "rollback" Rollup "rollup" Row "row"
    RowCount "row_count" Rows "rows"
    Savepoint "savepoint" Schema "schema" Select "select" Server "server" Session "session" SessionUser "session_user"
    Set "set" Setval "setval" Share "share" Show "show" Shutdown "shutdown" Signal "signal"
    SqlCalcFoundRows "sql_calc_found_rows" Start "start" Statement "statement" Stop "stop" SystemUser "system_user"
    Table "table" Temporary "temporary" Then "then" Ties "ties" Trigger "trigger" Truncate "truncate"
    Uninstall "uninstall" Union "union" Unlock "unlock" Until "until" Update "update" Use "use" User "user"
    Using "using"
    Value "value" Values "values" View "view"
    When "when" Where "where" While "while" Window "window" With "with"
    Xa "xa"
}
