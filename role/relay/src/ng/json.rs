//! JSON, the other way to write an NG message.

use bytes::Bytes;
use serde_json::{Map, Number, Value as Json};

use super::value::Value;

/// Reads a message. Booleans become 0 and 1, `null` an empty string, fractions their whole part.
///
/// # Errors
/// Where the JSON is wrong.
pub fn read(input: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(input).map(from_json)
}

/// Writes a message. Bytes that are not UTF-8 cannot be written in JSON: they become U+FFFD.
pub fn write(value: &Value) -> Bytes {
    Bytes::from(to_json(value).to_string())
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::text(""),
        Json::Bool(yes) => Value::Integer(yes.into()),
        Json::Number(n) => Value::Integer(whole(&n)),
        Json::String(text) => Value::text(text),
        Json::Array(members) => Value::List(members.into_iter().map(from_json).collect()),
        Json::Object(entries) => {
            let entry = |(key, value): (String, Json)| (Bytes::from(key), from_json(value));
            Value::Dictionary(entries.into_iter().map(entry).collect())
        }
    }
}

fn whole(n: &Number) -> i64 {
    n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).unwrap_or(0)
}

fn to_json(value: &Value) -> Json {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::Integer(n) => Json::Number((*n).into()),
        Value::String(bytes) => Json::String(text(bytes)),
        Value::List(members) => Json::Array(members.iter().map(to_json).collect()),
        Value::Dictionary(entries) => {
            let entry = |(key, value): &(Bytes, Value)| (text(key), to_json(value));
            Json::Object(Map::from_iter(entries.iter().map(entry)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_through_json_and_back() {
        let text = br#"{"command":"offer","flags":["a","b"],"n":-7,"yes":true,"none":null}"#;
        let value = read(text).unwrap();
        assert_eq!(value.get("command").and_then(Value::str), Some("offer"));
        assert_eq!(value.get("flags").unwrap().words().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(value.get("n").and_then(Value::number), Some(-7));
        assert_eq!(value.get("yes").and_then(Value::number), Some(1));
        assert_eq!(read(&write(&value)).unwrap(), value);
        assert!(read(b"{\"command\":").is_err());
    }
}
