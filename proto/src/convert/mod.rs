//! Messages to domain types, checked, and back.
//!
//! What comes over the wire is not trusted: every conversion into the domain is a `TryFrom` that names the field.

mod cost;
mod finding;
mod job;
mod question;
mod review;
mod study;

use crate::ids::IdError;

/// A message that is not what its proto says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConvertError {
    /// A message field that must be there is not.
    #[error("missing field {0}")]
    Missing(&'static str),
    /// An enumeration value that is not one of the field's.
    #[error("value {value} is not one of {field}'s")]
    Enum {
        /// The field.
        field: &'static str,
        /// What was found.
        value: i32,
    },
    /// A text or number that the field cannot hold.
    #[error("{field}: {found:?} is not allowed")]
    Value {
        /// The field.
        field: &'static str,
        /// What was found.
        found: String,
    },
    /// An identifier that is none.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// The error for a value of `field`.
fn bad(field: &'static str, found: impl std::fmt::Debug) -> ConvertError {
    ConvertError::Value { field, found: format!("{found:?}") }
}

/// The message in `field`, or the error that it is missing.
fn required<T>(field: &'static str, value: Option<T>) -> Result<T, ConvertError> {
    value.ok_or(ConvertError::Missing(field))
}

/// Converts each item.
fn each<T, U: TryFrom<T>>(items: Vec<T>) -> Result<Vec<U>, U::Error> {
    items.into_iter().map(U::try_from).collect()
}

/// Converts each item, where that cannot go wrong.
fn all<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// `From` and `TryFrom<i32>` between a domain enum and its proto enum.
macro_rules! enums {
    ($field:literal, $domain:ty, $proto:ty, { $($variant:ident),* $(,)? }) => {
        impl From<$domain> for $proto {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant,)* }
            }
        }
        impl TryFrom<$proto> for $domain {
            type Error = $crate::convert::ConvertError;
            fn try_from(value: $proto) -> Result<Self, Self::Error> {
                match value {
                    $(<$proto>::$variant => Ok(Self::$variant),)*
                    _ => Err($crate::convert::ConvertError::Enum { field: $field, value: value as i32 }),
                }
            }
        }
    };
}
use enums;

/// The proto enum behind the number in `field`.
fn known<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<E, ConvertError> {
    E::try_from(value).map_err(|_| ConvertError::Enum { field, value })
}
