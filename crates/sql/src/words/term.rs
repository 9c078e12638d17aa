//! The words of the grammar: what the parser acts on.
//!
//! Owns their identities, and which words each flavor reserves beyond those that both do. Must never be consulted by the
//! statement-path scanner, whose reading of a word may not depend on what the parser knows.

macro_rules! terms {
    ($($variant:ident $text:literal)*) => {
        /// A word of the grammar; everything else is [`Term::None`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub(crate) enum Term {
            None,
            $($variant,)*
        }

        pub(super) const TERM_SPELLINGS: &[(&str, Term)] = &[$(($text, Term::$variant),)*];

        impl Term {
            /// The word, in lower case.
            pub(crate) fn text(self) -> &'static str {
                match self {
                    Self::None => "a word",
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

terms! {
    Account "account" Action "action" Add "add" Adddate "adddate" Admin "admin" After "after" Against "against"
    Algorithm "algorithm" All "all" Alter "alter" Always "always" Analyze "analyze" And "and" Any "any"
    AnyValue "any_value" Array "array" As "as" Asc "asc" At "at" AutoIncrement "auto_increment" Avg "avg"
    AvgRowLength "avg_row_length" Before "before" Begin "begin" Bernoulli "bernoulli" Between "between"
    Bigint "bigint" Binary "binary" Binlog "binlog" Bit "bit" BitAnd "bit_and" BitOr "bit_or" BitXor "bit_xor"
    Blob "blob" Both "both" By "by" Cache "cache" Call "call" Cascade "cascade" Cascaded "cascaded" Case "case"
    Cast "cast" Change "change" Char "char" Character "character" Charset "charset" Check "check" Checksum "checksum"
    Coalesce "coalesce" Collate "collate" Column "column" Columns "columns" Comment "comment" Commit "commit"
    Compression "compression" Concurrent "concurrent" Connection "connection" Constraint "constraint"
    Convert "convert" Count "count" Create "create" Cross "cross" Cube "cube" CumeDist "cume_dist" Current "current"
    CurrentDate "current_date" CurrentRole "current_role" CurrentTime "current_time"
    CurrentTimestamp "current_timestamp" CurrentUser "current_user" Cycle "cycle" Data "data" Database "database"
    Databases "databases" Date "date" DateAdd "date_add" DateSub "date_sub" Datetime "datetime" Day "day"
    DayHour "day_hour" DayMicrosecond "day_microsecond" DayMinute "day_minute" DaySecond "day_second"
    Deallocate "deallocate" Dec "dec" Decimal "decimal" Default "default" Definer "definer" Delayed "delayed"
    Delete "delete" DenseRank "dense_rank" Desc "desc" Describe "describe" Directory "directory" Distinct "distinct"
    Distinctrow "distinctrow" Div "div" Do "do" Double "double" Drop "drop" Dual "dual" Dumpfile "dumpfile"
    Duplicate "duplicate" Else "else" Empty "empty" End "end" Enforced "enforced" Engine "engine" Enum "enum"
    Error "error" Escape "escape" Escaped "escaped" Event "event" Except "except" Exclude "exclude" Execute "execute"
    Exists "exists" Expansion "expansion" Explain "explain" Extract "extract" False "false" Fast "fast" Fetch "fetch"
    Fields "fields" First "first" FirstValue "first_value" Fixed "fixed" Float "float" Float4 "float4" Float8 "float8"
    Flush "flush" Following "following" For "for" Force "force" Foreign "foreign" Format "format" From "from"
    Full "full" Fulltext "fulltext" Function "function" Generated "generated" Geometry "geometry"
    Geometrycollection "geometrycollection" GetFormat "get_format" Global "global" Grant "grant" Group "group"
    GroupConcat "group_concat" Grouping "grouping" Groups "groups" Handler "handler" Having "having"
    HighPriority "high_priority" Hour "hour" HourMicrosecond "hour_microsecond" HourMinute "hour_minute"
    HourSecond "hour_second" If "if" Ignore "ignore" Import "import" In "in" Index "index" Infile "infile"
    Inner "inner" Insert "insert" Int "int" Int1 "int1" Int2 "int2" Int3 "int3" Int4 "int4" Int8 "int8"
    Integer "integer" Intersect "intersect" Interval "interval" Into "into" Invisible "invisible" Is "is" Join "join"
    Json "json" JsonArrayagg "json_arrayagg" JsonDualityObject "json_duality_object" JsonObjectagg "json_objectagg"
    JsonTable "json_table" JsonValue "json_value" Key "key" Keys "keys" Kill "kill" Lag "lag" Language "language"
    Last "last" LastValue "last_value" Lateral "lateral" Lead "lead" Leading "leading" Left "left" Like "like"
    Limit "limit" Lines "lines" Linestring "linestring" Load "load" Local "local" Localtime "localtime"
    Localtimestamp "localtimestamp" Lock "lock" Locked "locked" Long "long" Longblob "longblob" Longtext "longtext"
    Loop "loop" LowPriority "low_priority" Match "match" Materialized "materialized" Max "max" MaxRows "max_rows"
    Median "median" Mediumblob "mediumblob" Mediumint "mediumint" Mediumtext "mediumtext" Member "member"
    Merge "merge" Microsecond "microsecond" Mid "mid" Middleint "middleint" Min "min" MinRows "min_rows" Minus "minus"
    Minute "minute" MinuteMicrosecond "minute_microsecond" MinuteSecond "minute_second" Mod "mod" Mode "mode"
    Modify "modify" Month "month" Multilinestring "multilinestring" Multipoint "multipoint"
    Multipolygon "multipolygon" National "national" Natural "natural" Nchar "nchar" Nested "nested" Next "next"
    No "no" Not "not" Now "now" Nowait "nowait" NthValue "nth_value" Ntile "ntile" Null "null" Nulls "nulls"
    Numeric "numeric" Nvarchar "nvarchar" Of "of" Offset "offset" Oj "oj" On "on" Only "only" Optimize "optimize"
    Or "or" Order "order" Ordinality "ordinality" Out "out" Outer "outer" Outfile "outfile" Over "over"
    Overlaps "overlaps" Partition "partition" Partitions "partitions" Password "password" Path "path"
    PercentRank "percent_rank" PercentileCont "percentile_cont" PercentileDisc "percentile_disc" Period "period"
    Persist "persist" PersistOnly "persist_only" Plugin "plugin" Point "point" Polygon "polygon" Portion "portion"
    Position "position" Preceding "preceding" Precision "precision" Prepare "prepare" Previous "previous"
    Primary "primary" Procedure "procedure" Purge "purge" Qualify "qualify" Quarter "quarter" Query "query"
    Quick "quick" Range "range" Rank "rank" Read "read" Real "real" Recursive "recursive" References "references"
    Regexp "regexp" Release "release" Rename "rename" Repair "repair" Repeat "repeat" Replace "replace"
    Replica "replica" Reset "reset" Resignal "resignal" Respect "respect" Restrict "restrict" Return "return"
    Returning "returning" Revoke "revoke" Right "right" Rlike "rlike" Role "role" Rollback "rollback" Rollup "rollup"
    Row "row" RowNumber "row_number" Rows "rows" Savepoint "savepoint" Schema "schema" Second "second"
    SecondMicrosecond "second_microsecond" Select "select" Separator "separator" Serial "serial" Session "session"
    Set "set" Share "share" Show "show" Signal "signal" Signed "signed" Simple "simple" Skip "skip" Slave "slave"
    Smallint "smallint" Some "some" Sounds "sounds" Spatial "spatial" SqlAfterGtids "sql_after_gtids"
    SqlBigResult "sql_big_result" SqlBufferResult "sql_buffer_result" SqlCache "sql_cache"
    SqlCalcFoundRows "sql_calc_found_rows" SqlNoCache "sql_no_cache" SqlSmallResult "sql_small_result"
    SqlTsiDay "sql_tsi_day" SqlTsiFracSecond "sql_tsi_frac_second" SqlTsiHour "sql_tsi_hour"
    SqlTsiMicrosecond "sql_tsi_microsecond" SqlTsiMinute "sql_tsi_minute" SqlTsiMonth "sql_tsi_month"
    SqlTsiQuarter "sql_tsi_quarter" SqlTsiSecond "sql_tsi_second" SqlTsiWeek "sql_tsi_week" SqlTsiYear "sql_tsi_year"
    Srid "srid" StCollect "st_collect" Start "start" Starting "starting" Statement "statement" Std "std"
    Stddev "stddev" StddevPop "stddev_pop" StddevSamp "stddev_samp" Storage "storage" Stored "stored"
    StraightJoin "straight_join" Subdate "subdate" Substr "substr" Substring "substring" Sum "sum" System "system"
    SystemTime "system_time" Table "table" Tables "tables" Tablesample "tablesample" Temporary "temporary"
    Terminated "terminated" Text "text" Then "then" Ties "ties" Time "time" Timestamp "timestamp"
    Timestampadd "timestampadd" Timestampdiff "timestampdiff" Tinyblob "tinyblob" Tinyint "tinyint"
    Tinytext "tinytext" To "to" Trailing "trailing" Transaction "transaction" Trigger "trigger" Trim "trim"
    True "true" Truncate "truncate" Unbounded "unbounded" Undefined "undefined" Union "union" Unique "unique"
    Unknown "unknown" Unlock "unlock" Unsigned "unsigned" Update "update" Use "use" User "user" Using "using"
    UtcDate "utc_date" UtcTime "utc_time" UtcTimestamp "utc_timestamp" Value "value" Values "values" VarPop "var_pop"
    VarSamp "var_samp" Varbinary "varbinary" Varchar "varchar" Varcharacter "varcharacter" Variance "variance"
    Varying "varying" Vector "vector" View "view" Virtual "virtual" Visible "visible" Wait "wait" Week "week"
    WeightString "weight_string" When "when" Where "where" While "while" Window "window" With "with" Within "within"
    Without "without" Work "work" Write "write" Xa "xa" Xml "xml" Xor "xor" Year "year" YearMonth "year_month"
    Zerofill "zerofill" Zone "zone"
}

/// Reserved in MySQL 8.4–9.x and not in MariaDB.
pub(super) const RESERVED_MYSQL: &str = "
cube cume_dist dense_rank empty first_value function generated get grouping groups io_after_gtids io_before_gtids
json_table lag last_value lateral lead library manual nth_value ntile of optimizer_costs parallel percent_rank qualify rank
row row_number sql_after_gtids sql_before_gtids stored system tablesample virtual
";

/// Reserved in MariaDB 10.11 and not in MySQL.
pub(super) const RESERVED_MARIADB: &str = "
current_role do_domain_ids ignore_domain_ids ignore_server_ids offset page_checksum parse_vcol_expr ref_system_id
returning stats_auto_recalc stats_persistent stats_sample_pages master_heartbeat_period
";
