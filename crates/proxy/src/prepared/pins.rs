//! The types of parameters that a prepared statement keeps on its server.
//!
//! Owns which types decide. MySQL takes the types of parameters whose places leave them open (`SELECT ?`, `CONCAT(?, 'a')`)
//! from an execution, keeps them, and converts what comes later, until a value comes that does not fit into its type: then it
//! takes all of them anew. A statement of one client must not get the types of another's. Strings and NULL decide nothing.
//! Input: types that clients bind.

use dbmesh_wire::column::ColumnType;
use dbmesh_wire::command::ParameterType;

/// The types that parameters have, without the undecided ones at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Box<[Kind]>);

/// Types that the server takes for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Undecided,
    Signed,
    Unsigned,
    Decimal,
    Double,
    Date,
    Time,
    Datetime,
    Other,
}

impl Pins {
    /// Of one execution.
    pub fn of<'a>(types: impl Iterator<Item = ParameterType<'a>>) -> Self {
        let mut kinds: Vec<Kind> = types.map(Kind::of).collect();
        let undecided = kinds.iter().rev().take_while(|k| **k == Kind::Undecided);
        kinds.truncate(kinds.len() - undecided.count());
        Self(kinds.into())
    }

    /// Whether values of these types make the server take all types anew.
    #[must_use]
    pub fn give_way_to(&self, next: &Self) -> bool {
        let mut places = next.0.iter().enumerate();
        places.any(|(place, next)| {
            let kept = self.0.get(place).copied().unwrap_or(Kind::Undecided);
            kept != *next && !kept.holds(*next)
        })
    }
}

impl Kind {
    fn of(bound: ParameterType<'_>) -> Self {
        match bound.column_type {
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::INT24
            | ColumnType::LONG
            | ColumnType::LONGLONG => match bound.unsigned {
                false => Self::Signed,
                true => Self::Unsigned,
            },
            ColumnType::DECIMAL | ColumnType::NEWDECIMAL => Self::Decimal,
            ColumnType::FLOAT | ColumnType::DOUBLE => Self::Double,
            ColumnType::DATE => Self::Date,
            ColumnType::TIME => Self::Time,
            ColumnType::DATETIME | ColumnType::TIMESTAMP => Self::Datetime,
            ColumnType::YEAR | ColumnType::BIT | ColumnType::JSON | ColumnType::VECTOR => {
                Self::Other
            }
            _ => Self::Undecided,
        }
    }

    /// Whether a value of another type is converted to this one.
    fn holds(self, other: Self) -> bool {
        let number = matches!(
            other,
            Self::Signed | Self::Unsigned | Self::Decimal | Self::Double
        );
        match (self, other) {
            (Self::Undecided, _) => false,
            (_, Self::Undecided) => true,
            (Self::Decimal, Self::Signed | Self::Unsigned) => true,
            (Self::Double, Self::Signed | Self::Unsigned | Self::Decimal) => true,
            (Self::Date | Self::Time | Self::Datetime, _) if number => true,
            (Self::Time, Self::Datetime) => true,
            (Self::Datetime, Self::Date | Self::Time) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(types: &[ColumnType]) -> Pins {
        Pins::of(types.iter().map(|column_type| ParameterType {
            column_type: *column_type,
            unsigned: false,
            name: &[],
        }))
    }

    #[test]
    fn strings_and_null_decide_nothing() {
        let texts = pins(&[ColumnType::VAR_STRING, ColumnType::NULL, ColumnType::BLOB]);
        assert_eq!(texts, Pins::default());
        assert_eq!(
            pins(&[ColumnType::LONG, ColumnType::NULL]),
            pins(&[ColumnType::TINY])
        );
        assert!(!pins(&[ColumnType::LONG]).give_way_to(&texts));
        assert!(!texts.give_way_to(&texts));
        assert!(texts.give_way_to(&pins(&[ColumnType::LONG])));
    }

    #[test]
    fn types_give_way_to_those_that_do_not_fit() {
        let one = |kept, next| pins(&[kept]).give_way_to(&pins(&[next]));
        assert!(one(ColumnType::LONG, ColumnType::DOUBLE));
        assert!(!one(ColumnType::DOUBLE, ColumnType::LONG));
        assert!(one(ColumnType::DOUBLE, ColumnType::DATE));
        assert!(!one(ColumnType::DATE, ColumnType::DOUBLE));
        assert!(!one(ColumnType::TIME, ColumnType::DATETIME));
        assert!(!one(ColumnType::LONG, ColumnType::LONGLONG));
        let (kept, next) = (
            [ColumnType::DOUBLE, ColumnType::NULL],
            [ColumnType::NULL, ColumnType::LONG],
        );
        assert!(pins(&kept).give_way_to(&pins(&next)));
    }
}
