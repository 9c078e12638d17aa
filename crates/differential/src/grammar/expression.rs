//! Expressions: functions of every kind that a shard, a merge or the one place has to compute alike.
//!
//! Owns their shapes. An expression that can fail for some value (a number out of range, text that is no JSON) stands only
//! where every row of the answer is computed: which rows a condition is computed for is the server's choice.

use super::columns::{Class, Reach};
use super::condition::NUMBERS;
use super::{DEPTH_MAX, Grammar};

const TEXTS: [Class; 2] = [Class::Text, Class::Latin];
const MOMENTS: [Class; 2] = [Class::Day, Class::Moment];

impl Grammar {
    /// Something to select.
    pub(super) fn expression(&mut self, reach: &Reach) -> String {
        match self.draw.below(12) {
            0..=3 => self.computed(reach),
            4..=6 => self.text(reach),
            7..=8 => self.moment(reach),
            9 => self.document(reach),
            10 => self.chosen(reach),
            _ => self.scalar_query(reach),
        }
    }

    /// What groups can be made of: without parameters, as these are never the same expression twice.
    pub(super) fn group_key(&mut self, reach: &Reach) -> String {
        let text = self.column(reach, &TEXTS).name.clone();
        let moment = self.column(reach, &MOMENTS).name.clone();
        let number = self.column(reach, &NUMBERS).name.clone();
        match self.draw.below(8) {
            0 => format!("{number} % 3"),
            1 => format!("UPPER({text})"),
            2 => format!("LEFT({text}, 1)"),
            3 => format!("YEAR({moment})"),
            4 => format!("DATE({moment})"),
            5 => format!("{number} IS NULL"),
            6 => format!("CASE WHEN {number} > 3 THEN 'many' ELSE 'few' END"),
            // Not by 10: MariaDB's sort takes NULL and the least DECIMAL of 20 digits for one group.
            _ => format!("ROUND({number} / 1e1)"),
        }
    }

    /// A condition with a function, that no value makes fail.
    pub(super) fn of_expression(&mut self, reach: &Reach) -> String {
        let number = self.column(reach, &[Class::Int]).name.clone();
        let other = self.column(reach, &[Class::Int]).name.clone();
        let text = self.column(reach, &TEXTS).name.clone();
        let moment = self
            .column_of(reach, &MOMENTS)
            .map(|column| column.name.clone());
        let draw = &mut self.draw;
        let (few, more) = (draw.between(-2, 9), draw.between(1, 40));
        if let Some(moment) = moment.filter(|_| draw.percent(25)) {
            return match draw.below(3) {
                0 => format!("MONTH({moment}) IN ({{=1}}, {{=3}})"),
                1 => format!("{moment} >= {{='2024-02-01'}} + INTERVAL {{={few}}} DAY"),
                _ => format!("DATE({moment}) < {{='2024-03-05'}}"),
            };
        }
        match draw.below(10) {
            0 => format!("({number}, {other}) IN (({{={few}}}, {{={more}}}), ({more}, {few}))"),
            1 => format!("({number}, {other}) >= ({{={few}}}, {{={more}}})"),
            2 => format!("({number} > {{={few}}} XOR {other} < {{={more}}})"),
            3 => format!("({number} > {{={few}}}) IS NOT TRUE"),
            4 => format!("CHAR_LENGTH({text}) > {{={few}}}"),
            5 => format!("{text} NOT LIKE {{='%a%'}}"),
            6 => format!("{text} REGEXP {{='^[a-k]'}}"),
            7 => format!("LEFT({text}, 2) = {{='ap'}}"),
            8 => format!("{number} % {{=3}} = {{=1}}"),
            _ => format!("COALESCE({text}, {{='none'}}) <> {{='none'}}"),
        }
    }

    fn computed(&mut self, reach: &Reach) -> String {
        let exact = self.column(reach, &NUMBERS).name.clone();
        let other = self.column(reach, &NUMBERS).name.clone();
        let int = self.column(reach, &[Class::Int]).name.clone();
        let small = self.number(reach);
        let few = self.draw.between(1, 9);
        match self.draw.below(22) {
            0 => format!("{exact} / {{={few}}}"),
            1 => format!("{exact} / {other}"),
            2 => format!("{int} DIV {{={few}}}"),
            3 => format!("ROUND({exact}, {{={}}})", self.draw.between(-2, 3)),
            4 => format!("TRUNCATE({exact}, 1)"),
            5 => format!("CEIL({exact})"),
            6 => format!("FLOOR({exact})"),
            7 => format!("SIGN({exact})"),
            8 => format!("-{int}"),
            9 => format!("GREATEST({exact}, {other}, {{={few}}})"),
            10 => format!("LEAST({exact}, {other})"),
            11 => format!("CAST({exact} AS DECIMAL(30,4))"),
            12 => format!("CAST({int} AS UNSIGNED)"),
            13 => format!("CAST({exact} AS CHAR)"),
            14 => format!("{int} & {{={few}}}"),
            15 => format!("{int} | 16"),
            16 => format!("{int} ^ {{={few}}}"),
            17 => format!("{int} << 1"),
            18 => format!("~{int}"),
            19 => format!("{int} - {{={few}}}"),
            20 => format!("MOD({small}, {{={few}}})"),
            _ => format!("{int} * {{=1000000000}}"),
        }
    }

    fn text(&mut self, reach: &Reach) -> String {
        let text = self.column(reach, &TEXTS).name.clone();
        let any = self.column(reach, &[]).name.clone();
        let few = self.draw.between(1, 4);
        match self.draw.below(22) {
            0 => format!("UPPER({text})"),
            1 => format!("LOWER({text})"),
            2 => format!("SUBSTRING({text}, {{={few}}}, 3)"),
            3 => format!("CONCAT_WS({{='/'}}, {any}, {text})"),
            4 => format!("TRIM({text})"),
            5 => format!("REPLACE({text}, {{='p'}}, {{='bb'}})"),
            6 => format!("LPAD({text}, {few}, '*')"),
            7 => format!("REVERSE({text})"),
            8 => format!("CHAR_LENGTH({text})"),
            9 => format!("LENGTH({any})"),
            10 => format!("LOCATE({{='a'}}, {text})"),
            11 => format!("HEX({text})"),
            12 => format!("SHA2({text}, 256)"),
            13 => format!("COALESCE({text}, {{='none'}})"),
            14 => format!("NULLIF({text}, {{='apple'}})"),
            15 => format!("FIELD({text}, {{='apple'}}, {{='pear'}}, {{='b'}})"),
            16 => format!("REPEAT({text}, {few})"),
            17 => format!("SUBSTRING_INDEX({text}, {{='a'}}, 1)"),
            18 => format!("{text} LIKE {{='%a%'}}"),
            19 => format!("QUOTE({text})"),
            20 => format!("CONVERT({text} USING utf8mb4)"),
            _ => format!("CRC32({text})"),
        }
    }

    fn moment(&mut self, reach: &Reach) -> String {
        let moment = self.column(reach, &MOMENTS).name.clone();
        let other = self.column(reach, &MOMENTS).name.clone();
        let few = self.draw.between(-20, 20);
        let unit = self.draw.one(&[
            "DAY", "MONTH", "YEAR", "HOUR", "MINUTE", "SECOND", "WEEK", "QUARTER",
        ]);
        match self.draw.below(16) {
            0 => format!("DATE_ADD({moment}, INTERVAL {{={few}}} {unit})"),
            1 => format!("{moment} - INTERVAL 1 {unit}"),
            2 => format!("DATEDIFF({moment}, {other})"),
            3 => format!("TIMESTAMPDIFF({unit}, {moment}, {other})"),
            4 => format!("EXTRACT({unit} FROM {moment})"),
            5 => format!("LAST_DAY({moment})"),
            6 => format!("DATE_FORMAT({moment}, {{='%Y/%m/%d %H'}})"),
            7 => format!("DAYOFWEEK({moment})"),
            8 => format!("WEEK({moment}, 3)"),
            9 => format!("TO_DAYS({moment})"),
            10 => format!("DATE({moment})"),
            11 => format!("CAST({moment} AS DATETIME(3))"),
            12 => format!("TIME({moment})"),
            13 => format!("UNIX_TIMESTAMP({moment})"),
            14 => format!("COALESCE({moment}, {{='2024-01-01'}})"),
            _ => format!("MONTHNAME({moment})"),
        }
    }

    fn document(&mut self, reach: &Reach) -> String {
        let doc = reach
            .columns
            .iter()
            .find(|column| column.class == Class::Json);
        let doc = doc.map(|column| column.name.clone());
        let number = self.column(reach, &[Class::Int]).name.clone();
        let text = self.column(reach, &[Class::Text]).name.clone();
        match (doc, self.draw.below(12)) {
            (Some(doc), 0) => format!("JSON_EXTRACT({doc}, {{='$.a'}})"),
            (Some(doc), 1) => format!("JSON_UNQUOTE(JSON_EXTRACT({doc}, '$.b[0]'))"),
            (Some(doc), 2) => format!("JSON_TYPE({doc})"),
            (Some(doc), 3) => format!("JSON_LENGTH({doc})"),
            (Some(doc), 4) => format!("JSON_SET({doc}, '$.z', {number})"),
            (Some(doc), 5) => format!("JSON_DEPTH({doc})"),
            (Some(doc), 6) => format!("JSON_CONTAINS({doc}, '1')"),
            (_, 7) => format!("JSON_VALID({text})"),
            (_, 8) => format!("JSON_QUOTE({text})"),
            (_, 9) => format!("JSON_ARRAY({number}, {text}, NULL)"),
            _ => format!("JSON_OBJECT('n', {number}, 't', {text})"),
        }
    }

    fn chosen(&mut self, reach: &Reach) -> String {
        let condition = self.of_column(reach);
        let one = self.column(reach, &[]).name.clone();
        let other = self.column(reach, &[]).name.clone();
        match self.draw.below(4) {
            0 => format!("IF({condition}, {one}, {other})"),
            1 => format!("CASE WHEN {condition} THEN {one} END"),
            2 => format!("({condition})"),
            _ => format!("IFNULL({one}, {other})"),
        }
    }

    fn scalar_query(&mut self, reach: &Reach) -> String {
        if self.depth >= DEPTH_MAX {
            return self.computed(reach);
        }
        self.depth += 1;
        let (from, inner) = self.from();
        let own = self.column(&inner, &[Class::Int]).name.clone();
        let link = self.link(reach, &inner);
        let condition = self.condition(&inner);
        self.depth -= 1;
        match self.draw.below(4) {
            0 => format!("(SELECT COUNT(*) FROM {from} WHERE {link})"),
            1 => format!("(SELECT MAX({own}) FROM {from} WHERE {link} AND {condition})"),
            2 => format!("(SELECT SUM({own}) FROM {from} WHERE {condition})"),
            _ => format!("EXISTS (SELECT 1 FROM {from} WHERE {link} AND {condition})"),
        }
    }
}
