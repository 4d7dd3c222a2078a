//! The JSON schema of an answer: the engine turns it into a grammar, so an answer can be nothing else.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{BoxFormat, KindProfile};

impl KindProfile {
    /// The schema of an answer about `images` images.
    ///
    /// Keys come in the order written here and without white space: a grammar that allowed spaces would give the
    /// model choices that mean nothing, and each would take probability from those that do.
    pub fn answer_schema(&self, images: usize) -> Value {
        let mut finding = Map::new();
        finding.insert("finding".into(), one_of(&self.findings));
        if images > 1 {
            finding.insert("image".into(), json!({ "type": "integer", "minimum": 1, "maximum": images }));
        }
        insert_choice(&mut finding, "side", &self.sides);
        insert_choice(&mut finding, "zone", &self.zones);
        insert_choice(&mut finding, "severity", &self.severities);
        if let Some(format) = self.bounds {
            finding.insert("box".into(), box_schema(format));
        }
        let required: &[&str] = if images > 1 { &["finding", "image"] } else { &["finding"] };
        let item = object(finding, required);
        let mut answer = Map::new();
        answer.insert("findings".into(), json!({ "type": "array", "items": item, "maxItems": self.max_findings }));
        if self.impression_chars > 0 {
            answer.insert("impression".into(), json!({ "type": "string", "maxLength": self.impression_chars }));
        }
        let mut schema = object(answer, &["findings"]);
        schema["x-guidance"] = json!({ "whitespace_flexible": false, "item_separator": ",", "key_separator": ":" });
        schema
    }
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn one_of<T: Serialize>(words: &[T]) -> Value {
    json!({ "enum": words })
}

fn insert_choice<T: Serialize>(finding: &mut Map<String, Value>, key: &str, words: &[T]) {
    if !words.is_empty() {
        finding.insert(key.into(), one_of(words));
    }
}

fn box_schema(format: BoxFormat) -> Value {
    let edge = json!({ "type": "integer", "minimum": 0, "maximum": format.maximum, "multipleOf": format.step });
    json!({ "type": "array", "items": edge, "minItems": 4, "maxItems": 4 })
}
