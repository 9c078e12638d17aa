//! The word lists: sorted, blank-separated, lower case. A word may stand in several.

/// Reserved in MySQL and MariaDB alike; never an unquoted name except after a dot.
pub(super) const RESERVED: &str = "
accessible add all alter analyze and as asc asensitive before between bigint binary blob both by call cascade case
change char character check collate column condition constraint continue convert create cross current_date
current_time current_timestamp current_user cursor database databases day_hour day_microsecond day_minute day_second
dec decimal declare default delayed delete desc describe deterministic distinct distinctrow div double drop dual each
else elseif enclosed escaped except exists exit explain false fetch float float4 float8 for force foreign from
fulltext grant group having high_priority hour_microsecond hour_minute hour_second if ignore in index infile inner
inout insensitive insert int int1 int2 int3 int4 int8 integer intersect interval into is iterate join key keys kill
leading leave left like limit linear lines load localtime localtimestamp lock long longblob longtext loop low_priority
match maxvalue mediumblob mediumint mediumtext middleint minute_microsecond minute_second mod modifies natural
no_write_to_binlog not null numeric on optimize option optionally or order out outer outfile over partition precision
primary procedure purge range read read_write reads real recursive references regexp release rename repeat replace
require resignal restrict return revoke right rlike rows schema schemas second_microsecond select sensitive separator
set show signal smallint spatial specific sql sql_big_result sql_calc_found_rows sql_small_result sqlexception
sqlstate sqlwarning ssl starting straight_join table terminated then tinyblob tinyint tinytext to trailing trigger
true undo union unique unlock unsigned update usage use using utc_date utc_time utc_timestamp values varbinary varchar
varcharacter varying when where while window with write xor year_month zerofill
";

/// Not reserved, yet hardly ever a table's name: the digest folds their case everywhere.
pub(super) const CLAUSES: &str = "
against any begin bernoulli boolean commit committed deallocate dumpfile duplicate escape execute following lateral
locked nowait offset preceding prepare returning rollback rollup row savepoint share skip some sql_buffer_result
sql_cache sql_no_cache start temporary truncate unbounded value
";

/// Not reserved; folded only in SET, SHOW and transaction statements, whose words are mostly keywords.
pub(super) const SOFT_KEYWORDS: &str = "
authors backup bdb binlog cascaded chain charset codes collation columns commit concurrent connection consistent
contributors count deallocate descriptor diagnostics disable enable encryption end engine engines error errors event
events exclusive execute export extended fields flush full global grants handler hosts identified immediate indexes
innodb instance isolation keyring last level local locks logs master migrate mode mutex names no none notfound number
only open partial password persist persist_only phase plugin plugins prepare privileges processlist profile profiles
recover relaylog repeatable replica replicas reset resource resume role rotate routine sequence serializable session
share slave slaves snapshot statement status stop storage suspend tables temporary thread transaction triggers type
uncommitted user variables view warnings within work xa xid
";

/// Not reserved; may stand before `(` without being a function call.
pub(super) const PARENTHESISED: &str = "
any json_table offset preceding returning row some sounds value within
";

/// As above in MySQL; in MariaDB only directly after a name, literal or parenthesis, else a stored function.
pub(super) const PARENTHESISED_MYSQL: &str = "
against array columns cube escape lateral of path rollup sql_buffer_result sql_cache sql_no_cache system_time
temporary
";

/// Type names that take a length and are not reserved; neither server lets a function have such a name.
pub(super) const TYPES: &str = "
bit bool boolean clob date datetime enum fixed geometry inet4 inet6 json national nchar number nvarchar raw serial
signed text time timestamp uuid varchar2 year
";

/// Built-in functions of both servers, keywords that take arguments included.
pub(super) const SHARED_FUNCTIONS: &str = "
abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg benchmark bin bit_and bit_count bit_length
bit_or bit_xor cast ceil ceiling char char_length character_length charset coalesce coercibility collation compress
concat concat_ws connection_id conv convert convert_tz cos cot count crc32 cume_dist curdate current_date current_role
current_time current_timestamp current_user curtime database date date_add date_format date_sub datediff day dayname
dayofmonth dayofweek dayofyear default degrees dense_rank elt exists exp export_set extract extractvalue field
find_in_set first_value floor format found_rows from_base64 from_days from_unixtime geometrycollection get_format
get_lock greatest group_concat hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interval
is_free_lock is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock isnull json_array json_array_append
json_array_insert json_arrayagg json_contains json_contains_path json_depth json_extract json_insert json_keys
json_length json_merge json_merge_patch json_merge_preserve json_object json_objectagg json_overlaps json_pretty
json_quote json_remove json_replace json_search json_set json_type json_unquote json_valid json_value lag last_day
last_insert_id last_value lcase lead least left length linestring ln load_file localtime localtimestamp locate log
log10 log2 lower lpad ltrim make_set makedate maketime master_pos_wait match max mbrcontains mbrdisjoint mbrequals
mbrintersects mbroverlaps mbrtouches mbrwithin md5 microsecond mid min minute mod month monthname multilinestring
multipoint multipolygon name_const now nth_value ntile nullif oct octet_length ord percent_rank period_add period_diff
pi point polygon position pow power quarter quote radians rand random_bytes rank regexp_instr regexp_replace
regexp_substr release_all_locks release_lock repeat replace reverse right round row_count row_number rpad rtrim schema
sec_to_time second session_user sha sha1 sha2 sign sin sleep soundex space sqrt st_area st_asbinary st_asgeojson
st_astext st_aswkb st_aswkt st_buffer st_centroid st_contains st_convexhull st_crosses st_difference st_dimension
st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring st_geomcollfromtext
st_geomcollfromwkb st_geometrycollectionfromtext st_geometrycollectionfromwkb st_geometryfromtext st_geometryfromwkb
st_geometryn st_geometrytype st_geomfromgeojson st_geomfromtext st_geomfromwkb st_interiorringn st_intersection
st_intersects st_isclosed st_isempty st_issimple st_length st_linefromtext st_linefromwkb st_linestringfromtext
st_linestringfromwkb st_mlinefromtext st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext
st_mpolyfromwkb st_multilinestringfromtext st_multilinestringfromwkb st_multipointfromtext st_multipointfromwkb
st_multipolygonfromtext st_multipolygonfromwkb st_numgeometries st_numinteriorrings st_numpoints st_overlaps
st_pointfromtext st_pointfromwkb st_pointn st_polyfromtext st_polyfromwkb st_polygonfromtext st_polygonfromwkb st_srid
st_startpoint st_symdifference st_touches st_union st_within st_x st_y std stddev stddev_pop stddev_samp str_to_date
strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time time_format time_to_sec
timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase uncompress
uncompressed_length unhex unix_timestamp updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short values
var_pop var_samp variance version week weekday weekofyear weight_string year yearweek
";

/// Built-in functions of MySQL alone (8.4–9.x).
pub(super) const MYSQL_FUNCTIONS: &str = "
any_value bin_to_uuid distance etag format_bytes format_pico_time from_vector geomcollection grouping gtid_subset
gtid_subtract icu_version is_uuid json_duality_object json_schema_valid json_schema_validation_report
json_storage_free json_storage_size mbrcoveredby mbrcovers ps_current_thread_id ps_thread_id regexp_like roles_graphml
source_pos_wait st_buffer_strategy st_collect st_frechetdistance st_geohash st_geomcollfromtxt st_hausdorffdistance
st_isvalid st_latfromgeohash st_latitude st_lineinterpolatepoint st_lineinterpolatepoints st_longfromgeohash
st_longitude st_makeenvelope st_numinteriorring st_pointatdistance st_pointfromgeohash st_simplify st_swapxy
st_transform st_validate statement_digest statement_digest_text string_to_vector to_vector uuid_to_bin
validate_password_strength vector_dim vector_distance vector_to_string wait_for_executed_gtid_set
";

/// Built-in functions of MariaDB alone (10.11).
pub(super) const MARIADB_FUNCTIONS: &str = "
add_months area asbinary astext aswkb aswkt binlog_gtid_pos boundary buffer centroid chr column_add column_check
column_create column_delete column_exists column_get column_json column_list concat_operator_oracle contains
convexhull crc32c crosses decode decode_histogram decode_oracle des_decrypt des_encrypt dimension disjoint encode
encrypt endpoint envelope equals exteriorring geomcollfromtext geomcollfromwkb geometrycollectionfromtext
geometrycollectionfromwkb geometryfromtext geometryfromwkb geometryn geometrytype geomfromtext geomfromwkb glength
interiorringn intersects isclosed isempty isring issimple json_compact json_detailed json_equals json_exists
json_loose json_normalize json_query lastval lengthb linefromtext linefromwkb linestringfromtext linestringfromwkb
lpad_oracle ltrim_oracle master_gtid_wait mbrequal median mlinefromtext mlinefromwkb mpointfromtext mpointfromwkb
mpolyfromtext mpolyfromwkb multilinestringfromtext multilinestringfromwkb multipointfromtext multipointfromwkb
multipolygonfromtext multipolygonfromwkb natural_sort_key nextval numgeometries numinteriorrings numpoints nvl nvl2
old_password overlaps password percentile_cont percentile_disc pointfromtext pointfromwkb pointn pointonsurface
polyfromtext polyfromwkb polygonfromtext polygonfromwkb replace_oracle rpad_oracle rtrim_oracle setval sformat srid
st_boundary st_isring st_pointonsurface st_relate startpoint substr_oracle sys_guid to_char touches trim_oracle value
within wsrep_last_seen_gtid wsrep_last_written_gtid wsrep_sync_wait_upto_gtid x y
";

/// Built-in functions that came with MariaDB 11.
pub(super) const MARIADB_11_FUNCTIONS: &str = "
format_bytes format_pico_time json_array_intersect json_key_value json_object_filter_keys json_object_to_array
json_schema_valid kdf mbrcoveredby st_collect st_geohash st_isvalid st_latfromgeohash st_longfromgeohash
st_pointfromgeohash st_simplify st_validate trunc uuid_v4 uuid_v7 vec_distance vec_distance_cosine
vec_distance_euclidean vec_fromtext vec_totext
";

/// Built-ins that are names of stored functions when a blank stands before `(` (unless IGNORE_SPACE).
pub(super) const SPACED_FUNCTIONS: &str = "
adddate bit_and bit_or bit_xor cast count curdate curtime date_add date_sub extract group_concat json_arrayagg
json_duality_object json_objectagg max mid min now position session_user st_collect std stddev stddev_pop stddev_samp
subdate substr substring sum sysdate system_user trim var_pop var_samp variance
";

/// As above, in MariaDB alone.
pub(super) const SPACED_MARIADB_FUNCTIONS: &str = "
cume_dist dense_rank first_value lag lead median nth_value ntile percent_rank percentile_cont percentile_disc rank
trim_oracle
";

/// Built-ins that are keywords: in quotes they are names of stored functions.
pub(super) const KEYWORD_FUNCTIONS: &str = "
adddate ascii avg bit_and bit_or bit_xor cast char charset coalesce collation convert count cume_dist curdate
current_date current_role current_time current_timestamp current_user curtime database date date_add date_sub day
default dense_rank exists extract first_value format geometrycollection get_format group_concat hour if insert
interval json_arrayagg json_objectagg json_value lag last_value lead left linestring localtime localtimestamp match
max microsecond mid min minute mod month multilinestring multipoint multipolygon now nth_value ntile percent_rank
point polygon position quarter rank repeat replace reverse right row_count row_number schema second session_user std
stddev stddev_pop stddev_samp subdate substr substring sum sysdate system_user time timestamp timestampadd
timestampdiff trim truncate user utc_date utc_time utc_timestamp values var_pop var_samp variance week weight_string
year
";

/// Character sets that may introduce a literal.
pub(super) const CHARSETS: &str = "
armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030 gb2312 gbk
geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ucs2 ujis
utf16 utf16le utf32 utf8 utf8mb3 utf8mb4
";
