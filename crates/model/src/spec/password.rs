//! A password, or where to find it.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::secret::Secret;

/// A password as text, or where to find it.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum Password {
    /// The password itself. Warned about: whoever may read the file may log in.
    Plain(Secret),
    /// Where to find it.
    From(PasswordSource),
}

/// Where a password is found.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordSource {
    /// Exactly one place.
    pub value_from: ValueFrom,
}

/// The place of a password; exactly one field.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueFrom {
    /// An environment variable of the proxy.
    pub env: Option<String>,
    /// A file, of which one line end at the end is dropped. A relative path starts at the folder of
    /// the resource file.
    pub file: Option<String>,
    /// A key of a Kubernetes Secret; needs a controller.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A text sealed by a controller; needs a controller.
    pub sealed: Option<String>,
}

/// A key of a Kubernetes Secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// Written by hand: serde's own way for untagged enums keeps a copy of the text.
impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrSource;

        impl<'de> Visitor<'de> for TextOrSource {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a mapping with `valueFrom`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Password, E> {
                Ok(Password::Plain(Secret::from(text)))
            }

            fn visit_string<E>(self, text: String) -> Result<Password, E> {
                Ok(Password::Plain(Secret::new(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Password, A::Error> {
                PasswordSource::deserialize(MapAccessDeserializer::new(map)).map(Password::From)
            }
        }

        deserializer.deserialize_any(TextOrSource)
    }
}
